package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/wssecure/wssecure"
)

// eventFeed shows the guard's decisions as they are made. It is a secured socket like any other: RequireScopes guards it,
// and its own sessions appear in it.
type eventFeed struct {
	events *board[wssecure.Event]
}

func newEventFeed() *eventFeed {
	return &eventFeed{events: newBoard[wssecure.Event]()}
}

// publish is the guard's OnEvent hook.
func (f *eventFeed) publish(e wssecure.Event) {
	f.events.post(e)
}

func (f *eventFeed) serve(ctx context.Context, c *wssecure.Conn) error {
	events, leave := f.events.watch()
	defer leave()
	c.CloseRead() // this session only sends: anything the peer says ends it
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-events:
			if err := wssecure.WriteJSON(ctx, c, view(e)); err != nil {
				return err
			}
		}
	}
}

// eventView is an event as the page shows it. Attacker's text in it is already quoted and cut by the guard; the page
// treats it as text all the same.
type eventView struct {
	Time      time.Time  `json:"time"`
	Kind      string     `json:"kind"`
	ID        string     `json:"id,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Check     string     `json:"check,omitempty"`
	Status    int        `json:"status,omitempty"`
	CloseCode int        `json:"close_code,omitempty"`
	By        string     `json:"by,omitempty"`
	Path      string     `json:"path,omitempty"`
	Subject   string     `json:"subject,omitempty"`
	ClientIP  netip.Addr `json:"client_ip,omitzero"`
	Seen      string     `json:"seen,omitempty"`
	Wanted    string     `json:"wanted,omitempty"`
	Hint      string     `json:"hint,omitempty"`
	Err       string     `json:"error,omitempty"`
}

func view(e wssecure.Event) eventView {
	v := eventView{
		Time: e.Time, Kind: string(e.Kind), ID: e.ID, Reason: string(e.Reason), Check: e.Check,
		Status: e.Status, CloseCode: int(e.CloseCode), By: string(e.By),
		Path: e.Path, Subject: e.Subject, ClientIP: e.ClientIP,
		Seen: e.Seen, Wanted: e.Wanted, Hint: e.Hint,
	}
	if e.Err != nil {
		v.Err = e.Err.Error()
	}
	return v
}
