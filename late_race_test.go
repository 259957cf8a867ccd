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
)

// TestLateTokenRaces: of calls in parallel one wins, and an end is final.
func TestLateTokenRaces(t *testing.T) {
	t.Run("S-34 twice in parallel", func(t *testing.T) {
		var won, lost atomic.Int32
		s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
			_, token, err := c.Read(ctx)
			if err != nil {
				return err
			}
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if c.Session().Authenticate(ctx, string(token)) == nil {
						won.Add(1)
					} else {
						lost.Add(1)
					}
				})
			}
			wg.Wait()
			return c.Write(ctx, wssecure.MessageText, []byte(c.Identity().Subject))
		}, late())
		c := anonymous(t, s)
		send(t, c, text(s.Issuer.Token("alice")))
		wantText(t, c, "alice")
		if won.Load() != 1 || lost.Load() != 7 {
			t.Errorf("%d won, %d lost", won.Load(), lost.Load())
		}
		s.WaitEvent(wssecure.EventRenewed)
		oneEvent(t, s.Events(), wssecure.EventRenewed)
	})
	t.Run("S-34 against its deadline, a revocation, an end", func(t *testing.T) {
		for round := range 60 {
			raceLateToken(t, round)
		}
	})
}

// raceLateToken lets the verifier return at the very moment of another event.
func raceLateToken(t *testing.T, round int) {
	synctest.Test(t, func(t *testing.T) {
		verify := wssecure.VerifierFunc(func(ctx context.Context, _ string) (*wssecure.Identity, error) {
			time.Sleep(5 * time.Second) // until the deadline
			return &wssecure.Identity{Issuer: "x", Subject: "alice", TokenID: "t"}, nil
		})
		s := newTimed(t, wssecure.RequireToken(verify), wssecure.AllowLateToken(5*time.Second), wssecure.LimitConns(wssecure.BySubject(), 1))
		results := make(chan error, 1)
		s.pipeServer = newPipeServer(t, s.guard.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
			switch round % 3 {
			case 1:
				time.AfterFunc(5*time.Second, func() { s.guard.Revoke(ctx, wssecure.Subject("x", "alice"), "race") })
			case 2:
				time.AfterFunc(5*time.Second, func() { c.Session().Close(4000, "race") })
			}
			results <- c.Session().Authenticate(ctx, "token")
			<-ctx.Done()
			return nil
		}))
		p := listen(s.open(""), true)
		err := <-results
		synctest.Wait()
		if err == nil { // whatever lost has changed nothing
			s.guard.Revoke(t.Context(), wssecure.TokenID("x", "t"), "found")
		}
		<-p.over
		e := s.closed(t)
		if err != nil && !errors.Is(err, e.Reason) {
			t.Errorf("Authenticate: %v; closed for %s", err, e.Reason)
		}
		if renewed := s.count(wssecure.EventRenewed); (err == nil) != (renewed == 1) {
			t.Errorf("Authenticate: %v, %d renewed events", err, renewed)
		}
		if err == nil && e.Reason == wssecure.ReasonTokenMissing {
			t.Error("the deadline ended a session that has its token")
		}
		held := 0
		for range s.guard.Sessions() {
			held++
		}
		if open := s.guard.Stats().Open; open != 0 || held != 0 {
			t.Errorf("%d open, %d listed", open, held)
		}
	})
}
