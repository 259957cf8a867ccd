package wssecure_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/wssecuretest"
)

// This file is guards whose shared store is away.

func TestAHangingStoreHoldsNoHandshake(t *testing.T) {
	inFleet(t, 2, func(s *fleet) {
		x := s.nodes[0]
		x.cut()
		for i := range 20 {
			c, r, took := x.knock(s.issuer.Token(fmt.Sprint("user", i)))
			if r.Status != 101 {
				t.Fatalf("handshake %d: %d %s", i, r.Status, r.Body)
			}
			// Two phases, and nothing once the breaker is open.
			if took > 50*time.Millisecond || i >= 5 && took > 0 {
				t.Errorf("handshake %d took %v", i, took)
			}
			defer c.Close()
		}
		for i, e := range x.of(wssecure.EventOpened) {
			if !e.Local {
				t.Errorf("session %d does not say that this node alone decided", i)
			}
		}
		time.Sleep(10 * time.Second)
		if down := x.of(wssecure.EventStoreDown); len(down) != 1 {
			t.Errorf("%d events of the loss", len(down))
		}
		x.link.Heal()
		time.Sleep(5 * time.Second)
		if up := x.of(wssecure.EventStoreUp); len(up) != 1 {
			t.Errorf("%d events of the return", len(up))
		}
		c, r, _ := x.knock(s.issuer.Token("later"))
		defer c.Close()
		opened := x.of(wssecure.EventOpened)
		if r.Status != 101 || opened[len(opened)-1].Local {
			t.Errorf("status %d, local %v, when the store is back", r.Status, opened[len(opened)-1].Local)
		}
		if line := x.book.String(); !strings.Contains(line, "store.down") || !strings.Contains(line, "store.local=true") {
			t.Error("the log does not say so")
		}
	})
}

func TestTicketsOfAStoreThatIsAway(t *testing.T) {
	inFleet(t, 2, func(s *fleet) {
		x, y := s.nodes[0], s.nodes[1]
		id := &wssecure.Identity{Issuer: s.issuer.URL, Subject: "alice", IssuedAt: time.Now()}
		ticket, err := x.guard.IssueTicket(context.Background(), id, wssecure.TicketFor{Origin: wssecuretest.Origin})
		if err != nil {
			t.Fatal(err)
		}
		show := func(n *fleetNode) int {
			hs := freshHandshake("")
			hs.Target = "/?ticket=" + ticket
			c := n.dial()
			defer c.Close()
			return sendHandshake(t, c, hs).Status
		}
		x.cut()
		for range 7 {
			if got := show(x); got != http.StatusServiceUnavailable {
				t.Errorf("cut off: %d", got)
			}
			if _, err := x.guard.IssueTicket(context.Background(), id, wssecure.TicketFor{}); err == nil {
				t.Error("issued what nobody can redeem")
			}
		}
		if got := show(y); got != 101 {
			t.Errorf("on another node: %d", got)
		}
		x.link.Heal()
		time.Sleep(5 * time.Second)
		if got := show(x); got != http.StatusUnauthorized {
			t.Errorf("spent: %d", got)
		}
	})
}

func TestFailuresNeverHoldAnAnswer(t *testing.T) {
	inFleet(t, 1, func(s *fleet) {
		x := s.nodes[0]
		x.cut()
		for i := range 60 {
			if _, _, took := x.knock(madeUp(s.issuer, i)); i >= 5 && took > 0 {
				t.Fatalf("failure %d took %v", i, took)
			}
		}
		time.Sleep(3 * time.Second) // a Mark waits for two
		if _, r, took := x.knock(madeUp(s.issuer, 100)); r.Status != http.StatusForbidden || took > 0 {
			t.Errorf("status %d after %v: the ban does not hold here", r.Status, took)
		}
	})
}

// madeUp is a token with a wrong signature, each a new one.
func TestS29AStaleFeedIsNotReady(t *testing.T) {
	inFleet(t, 1, func(s *fleet) {
		x := s.nodes[0]
		ready := func() error { return x.guard.Ready(context.Background()) }
		if err := ready(); err != nil {
			t.Error(err)
		}
		x.cut()
		time.Sleep(50 * time.Second)
		if err := ready(); err != nil {
			t.Errorf("too early: %v", err)
		}
		if _, r, _ := x.knock(s.issuer.Token("alice")); r.Status != 101 {
			t.Errorf("status %d on fresh knowledge", r.Status)
		}
		time.Sleep(20 * time.Second)
		if err := ready(); err == nil || !strings.Contains(err.Error(), "feed") {
			t.Errorf("Ready = %v", err)
		}
		if _, r, _ := x.knock(s.issuer.Token("alice")); r.Status != http.StatusServiceUnavailable {
			t.Errorf("status %d on stale knowledge", r.Status)
		}
		x.link.Heal()
		time.Sleep(5 * time.Second)
		if err := ready(); err != nil {
			t.Error(err)
		}
		down := s.addBehind(hanging, nil)
		if err := down.guard.Ready(context.Background()); err == nil {
			t.Error("ready before the feed was read")
		}
	})
}

func TestClosePolicyEndsWhatThisNodeCanNoLongerKnow(t *testing.T) {
	for name, row := range map[string]struct {
		policy []store.NodeOption
		least  time.Duration
		most   time.Duration // zero: stays
	}{
		"default":       {nil, 0, 0},
		"cap":           {[]store.NodeOption{store.OnError(store.RuleCap, store.Close)}, 2 * time.Second, 5 * time.Second},
		"cap of others": {[]store.NodeOption{store.OnError(store.RuleCap, store.Close, "tenant")}, 0, 0},
		"revocation":    {[]store.NodeOption{store.OnError(store.RuleRevocation, store.Close)}, 58 * time.Second, 62 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 0, func(s *fleet) {
				x := s.add(row.policy)
				time.Sleep(2500 * time.Millisecond)
				p := listen(x.open(s.issuer.Sign("ES256", s.issuer.Claims("alice", lasting()))), true)
				defer leave(p)
				time.Sleep(time.Minute) // a healthy one ends nobody
				start := time.Now()
				x.cut()
				if row.most > 0 {
					p.wantEnd(t, start, 1011, "unavailable", row.least, row.most)
					return
				}
				time.Sleep(10 * time.Minute)
				if n := len(x.of(wssecure.EventClosed)); n > 0 {
					t.Error("ended")
				}
			})
		})
	}
}
