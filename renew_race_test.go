package wssecure_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
)

// TestRenewRaces is S-17: one wins, an end is final, and each renewal tells once.
func TestRenewRaces(t *testing.T) {
	for round := range 80 {
		raceRenewal(t, round)
	}
}

// raceRenewal lets the verifier return at the very moment of an end.
func raceRenewal(t *testing.T, round int) {
	synctest.Test(t, func(t *testing.T) {
		const moment = 5 * time.Second
		var first atomic.Bool
		start := time.Now()
		verify := wssecure.VerifierFunc(func(context.Context, string) (*wssecure.Identity, error) {
			if !first.Swap(true) {
				return &wssecure.Identity{Issuer: "x", Subject: "alice", TokenID: "t1", Expiry: start.Add(moment)}, nil
			}
			time.Sleep(time.Until(start.Add(moment)))
			return &wssecure.Identity{Issuer: "x", Subject: "alice", TokenID: "t2", Expiry: start.Add(time.Hour)}, nil
		})
		s := newTimed(t, wssecure.RequireToken(verify))
		results := make(chan error, 1)
		s.pipeServer = newPipeServer(t, s.guard.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
			at := func(f func()) { time.AfterFunc(time.Until(start.Add(moment)), f) }
			switch round % 4 {
			case 1:
				at(func() { s.guard.Revoke(context.Background(), wssecure.Subject("x", "alice"), "race") })
			case 2:
				at(func() { s.guard.Revoke(context.Background(), wssecure.TokenID("x", "t2"), "race") })
			case 3:
				at(func() { c.Session().Close(4000, "race") })
			}
			results <- c.Session().Renew(ctx, "second")
			<-ctx.Done()
			return nil
		}))
		p := listen(s.open("first"), true)
		err := <-results
		synctest.Wait()
		if err == nil {
			if _, revoked := s.guard.Revoke(t.Context(), wssecure.TokenID("x", "t2"), "found"); revoked != nil {
				t.Error(revoked)
			}
		}
		<-p.over
		e := s.closed(t)
		if err != nil && !errors.Is(err, e.Reason) {
			t.Errorf("round %d: Renew: %v; closed for %s", round, err, e.Reason)
		}
		if renewed := s.count(wssecure.EventRenewed); (err == nil) != (renewed == 1) {
			t.Errorf("round %d: Renew: %v, %d renewed events", round, err, renewed)
		}
		if err == nil && e.Reason == wssecure.ReasonTokenExpired {
			t.Errorf("round %d: the old deadline ended a session that was renewed", round)
		}
		if open := s.guard.Stats().Open; open != 0 {
			t.Errorf("round %d: %d open", round, open)
		}
	})
}

// TestRenewInParallel: whatever order they come in, the last expiry stays, each
// index names the identity, and nothing of an ended session is left.
func TestRenewInParallel(t *testing.T) {
	const rounds, tokens = 300, 6
	start := time.Now().Truncate(time.Second)
	verify := wssecure.VerifierFunc(func(_ context.Context, token string) (*wssecure.Identity, error) {
		n := time.Duration(token[len(token)-1]-'0') * time.Hour
		return &wssecure.Identity{Issuer: "x", Subject: "alice", TokenID: token, Expiry: start.Add(n)}, nil
	})
	g := &gate{t: t}
	sessions := make(chan *wssecure.Session, 1)
	g.start(func(ctx context.Context, c *wssecure.Conn) error {
		sessions <- c.Session()
		<-ctx.Done()
		return nil
	}, []wssecure.Option{wssecure.RequireToken(verify), fastHandshakes})
	var won atomic.Int64
	for round := range rounds {
		wantAnswer(t, g.knock(attacker, bearer("t1")), 101, "")
		s := next(t, sessions)
		var all sync.WaitGroup
		for i := range tokens {
			all.Go(func() {
				if s.Renew(t.Context(), "t"+string(rune('2'+i))) == nil {
					won.Add(1)
				}
			})
		}
		if round%2 == 1 {
			all.Go(func() { s.Close(4000, "race") })
		}
		all.Wait()
		if round%2 == 1 {
			if s.Renew(t.Context(), "t9") == nil {
				t.Fatal("S-17 an ended session was renewed")
			}
			continue
		}
		if id := s.Identity(); id.TokenID != "t7" {
			t.Fatalf("the session is %s's, want t7's", id.TokenID)
		}
		if n, _ := g.guard.Revoke(t.Context(), wssecure.SessionID(s.ID()), "found"); n != 1 {
			t.Fatalf("%d sessions found by their id", n)
		}
	}
	g.hangUp()
	g.settled(0)
	g.await(wssecure.EventRenewed, int(won.Load()))
	if n := int64(len(g.seen(wssecure.EventRenewed))); n != won.Load() {
		t.Errorf("%d renewed events for %d renewals", n, won.Load())
	}
}

// TestRenewOvertaken: a renewal that another one has overtaken is judged against
// that one.
func TestRenewOvertaken(t *testing.T) {
	d := newRenewDesk(t, nil)
	m, asked := markingStore(d.guard), 0
	early, later := d.token(2*time.Hour), d.token(3*time.Hour, members{"jti": "later"})
	m.before = func([]store.Op) {
		if asked++; asked != 1 {
			return
		}
		if err := d.session.Renew(t.Context(), later); err != nil {
			t.Error(err)
		}
	}
	if err := d.session.Renew(t.Context(), early); !errors.Is(err, wssecure.ReasonTokenInvalid) {
		t.Errorf("S-17 Renew: %v, want that it does not expire later", err)
	}
	if id := d.session.Identity(); id.TokenID != "later" {
		t.Error("S-17 the last expiry was lost")
	}
}
