package attack

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/quote"
)

// This file is single-use tickets in the query.

func ticketAttacks() []Attack {
	return each(Attack{
		Group: "ticket", Refs: []string{"ATTACKS S2", "CWE-294"}, Severity: High, Needs: NeedTicket, Active: true,
		Why:    "tickets stand in the logs of proxies and in histories: whoever reads one opens a socket with it",
		Fix:    "make a ticket good once, for seconds, for pages of one origin",
		Option: "FromTicket, Guard.TicketHandler",
	},
		ticket("ticket-replay", "a ticket for a second time", func(ctx context.Context, t *Target, shown func(string) *probe.Handshake, ticket string) Verdict {
			if a := t.askTwice(ctx, shown(ticket)); !a.admitted() {
				return unclear("a fresh ticket", t.got(a), "it was not admitted the first time")
			}
			return t.mustRefuseToken(ctx, "the same ticket again", shown(ticket))
		}),
		ticket("ticket-race", "one ticket by twenty clients at once", raceTicket),
		ticket("ticket-forged", "a ticket that nobody has issued", func(ctx context.Context, t *Target, shown func(string) *probe.Handshake, ticket string) Verdict {
			return t.mustRefuseToken(ctx, "a ticket of which one character was changed", shown(flipped(ticket)))
		}),
		ticket("ticket-no-origin", "the ticket of a page, shown by a client that is none", func(ctx context.Context, t *Target, shown func(string) *probe.Handshake, ticket string) Verdict {
			return t.mustRefuseToken(ctx, "a good ticket without the Origin that it is for", shown(ticket).Del("Origin"))
		}),
		Attack{ID: "ticket-foreign", Title: "a ticket for pages of another origin, shown by a good one", Run: func(ctx context.Context, t *Target) Verdict {
			const sent = "a ticket for " + evilOrigin + ", shown by the good Origin"
			other, err := t.Ticket(ctx, evilOrigin)
			if err != nil {
				return held(sent, "none is issued for that origin")
			}
			t.hide(other)
			h := t.anonymous()
			h.Target = withParameter(h.Target, ticketParameter, other)
			return t.mustRefuseToken(ctx, sent, h)
		}},
		ticket("ticket-two", "two tickets in one query", func(ctx context.Context, t *Target, shown func(string) *probe.Handshake, ticket string) Verdict {
			h := shown(ticket)
			h.Target = withParameter(h.Target, ticketParameter, strings.Repeat("A", len(ticket)))
			return t.mustRefuseToken(ctx, "a good ticket and a bad one", h)
		}),
	)
}

// ticket is an attack that starts with a fresh ticket for the good origin; shown makes handshakes of one.
func ticket(id, title string, run func(ctx context.Context, t *Target, shown func(string) *probe.Handshake, ticket string) Verdict) Attack {
	return Attack{ID: id, Title: title, Run: func(ctx context.Context, t *Target) Verdict {
		fresh, err := t.Ticket(ctx, t.Origin)
		if err != nil {
			return unclear("", "", "Ticket: %s", quote.Cut(t.redact(err.Error()), longestGot))
		}
		t.hide(fresh)
		shown := func(ticket string) *probe.Handshake {
			h := t.anonymous()
			h.Target = withParameter(h.Target, ticketParameter, ticket)
			return h
		}
		return run(ctx, t, shown, fresh)
	}}
}

func raceTicket(ctx context.Context, t *Target, shown func(string) *probe.Handshake, ticket string) Verdict {
	const racers = 20
	var admitted atomic.Int32
	links := make(chan *link, racers)
	var racing sync.WaitGroup
	start := make(chan struct{})
	for range racers {
		racing.Go(func() {
			<-start
			l, a := t.open(ctx, shown(ticket))
			if l == nil {
				return
			}
			if l.farewell(a).admitted() {
				admitted.Add(1)
			}
			links <- l
		})
	}
	close(start)
	racing.Wait()
	close(links)
	defer func() {
		for l := range links {
			l.Close()
		}
	}()
	sent, got := fmt.Sprintf("one ticket in %d handshakes at once", racers), fmt.Sprintf("%d were admitted", admitted.Load())
	switch admitted.Load() {
	case 0:
		return unclear(sent, got, "the ticket is no good")
	case 1:
		return held(sent, got)
	}
	// The winner has spent it: one more shows what becomes of those who came second.
	return t.taken(ctx, Verdict{State: Broken, Sent: sent, Got: got}, shown(ticket), 0)
}
