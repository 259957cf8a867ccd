package wssecure_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
)

// crowd opens n sessions that answer pings.
func crowd(s *timed, n int) []*peer {
	var peers []*peer
	for i := range n {
		peers = append(peers, listen(s.open(s.issuer.Token(fmt.Sprint(i))), true))
	}
	synctest.Wait()
	return peers
}

// drained runs Shutdown and gives how long it took.
func drained(t *testing.T, s *timed, ctx context.Context, want error) time.Duration {
	t.Helper()
	start := time.Now()
	if err := s.guard.Shutdown(ctx); !errors.Is(err, want) {
		t.Errorf("Shutdown: %v, want %v", err, want)
	}
	return time.Since(start)
}

func within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

func TestDrainIsSpread(t *testing.T) {
	for _, row := range []struct {
		name string
		ctx  func() context.Context
		span time.Duration
	}{
		{"80 % of ctx's time", func() context.Context { return within(100 * time.Second) }, 80 * time.Second},
		{"of 30 s without a deadline", context.Background, 24 * time.Second},
	} {
		t.Run("S-11 evenly over "+row.name, func(t *testing.T) {
			inTime(t, echo, func(t *testing.T, s *timed) {
				const n = 40
				peers := crowd(s, n)
				goroutines := runtime.NumGoroutine()
				start, done := time.Now(), make(chan error, 1)
				ctx := row.ctx()
				go func() { done <- s.guard.Shutdown(ctx) }()
				synctest.Wait()
				// The first one is ending, and Shutdown has its caller's goroutine.
				if more := runtime.NumGoroutine() - goroutines; more > 3 {
					t.Errorf("%d goroutines more", more)
				}
				var ends []time.Duration
				inOrder := true
				for i, p := range peers {
					p.wantEnd(t, start, 1012, "restart", 0, row.span)
					ends = append(ends, p.at.Sub(start))
					inOrder = inOrder && (i == 0 || ends[i] > ends[i-1])
				}
				if inOrder {
					t.Error("they end in the order in which they came")
				}
				slices.Sort(ends)
				for i, at := range ends {
					if want := row.span * time.Duration(i) / n; (at - want).Abs() > 50*time.Millisecond {
						t.Errorf("end %d after %v, want %v", i, at, want)
					}
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took > row.span+time.Second { // the peers answer no close frame
					t.Errorf("it took %v", took)
				}
			})
		})
	}
	t.Run("S-11 many are told together where their turns are close", func(t *testing.T) {
		inTime(t, echo, func(t *testing.T, s *timed) {
			peers := crowd(s, 600)
			start := time.Now()
			drained(t, s, within(6*time.Second), nil) // 8 ms for each
			for _, p := range peers {
				p.wantEnd(t, start, 1012, "restart", 0, 4800*time.Millisecond)
			}
		}, fastHandshakes)
	})
}

func TestDrainReturnsEarly(t *testing.T) {
	t.Run("S-11 nobody is there", func(t *testing.T) {
		inTime(t, echo, func(t *testing.T, s *timed) {
			if took := drained(t, s, context.Background(), nil); took != 0 {
				t.Errorf("it took %v", took)
			}
		})
	})
	t.Run("S-11 nobody is there, nor time", func(t *testing.T) {
		inTime(t, echo, func(t *testing.T, s *timed) {
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			drained(t, s, ended, nil)
		})
	})
	t.Run("S-11 all leave before their turns", func(t *testing.T) {
		inTime(t, echo, func(t *testing.T, s *timed) {
			peers := crowd(s, 20)
			time.AfterFunc(10*time.Second, func() {
				for _, p := range peers {
					p.Close()
				}
			})
			if took := drained(t, s, within(1000*time.Second), nil); took > 12*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	})
}

// S-11: what has had no turn when the time is over is told so, and cut.
func TestDrainCutsShort(t *testing.T) {
	t.Run("S-11 ctx is cancelled", func(t *testing.T) {
		inTime(t, echo, func(t *testing.T, s *timed) {
			peers := crowd(s, 10)
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
			time.AfterFunc(20*time.Second, cancel)
			start := time.Now()
			// Peers that answer their close frames need no more than that.
			if took := drained(t, s, ctx, context.Canceled); took < 20*time.Second || took > 20*time.Second+250*time.Millisecond {
				t.Errorf("it took %v", took)
			}
			told := 0
			for _, p := range peers {
				<-p.over
				if p.code == 1012 {
					told++
					continue
				}
				p.wantEnd(t, start, 1001, "draining", 20*time.Second, 20*time.Second+250*time.Millisecond)
			}
			if told != 3 { // at 0, 8 and 16 s
				t.Errorf("%d of 10 had their turn in a quarter of the time", told)
			}
			synctest.Wait()
			if n := s.guard.Stats().Open; n != 0 {
				t.Errorf("%d places are taken", n)
			}
		})
	})
	t.Run("S-11 no time at all", func(t *testing.T) {
		inTime(t, echo, func(t *testing.T, s *timed) {
			peers := crowd(s, 10)
			start := time.Now()
			drained(t, s, within(-time.Second), context.DeadlineExceeded)
			for _, p := range peers {
				p.wantEnd(t, start, 1001, "draining", 0, 250*time.Millisecond)
			}
		})
	})
	t.Run("S-11 a peer that reads nothing is cut", func(t *testing.T) {
		inTime(t, echo, func(t *testing.T, s *timed) {
			s.open(s.issuer.Token("alice")) // a pipe holds no close frame
			synctest.Wait()
			if took := drained(t, s, within(100*time.Millisecond), context.DeadlineExceeded); took > 350*time.Millisecond {
				t.Errorf("it took %v", took)
			}
			synctest.Wait()
			if n := s.guard.Stats().Open; n != 0 {
				t.Errorf("%d places are taken", n)
			}
		})
	})
}

func TestSecondShutdown(t *testing.T) {
	t.Run("S-21 waits for the first, and adds no stages", func(t *testing.T) {
		inTime(t, echo, func(t *testing.T, s *timed) {
			peers := crowd(s, 10)
			start, first := time.Now(), make(chan error, 1)
			go func() { first <- s.guard.Shutdown(within(50 * time.Second)) }()
			time.Sleep(time.Second)
			if took := drained(t, s, within(500*time.Second), nil); took < 34*time.Second || took > 40*time.Second {
				t.Errorf("the second took %v", took)
			}
			if err := <-first; err != nil {
				t.Error(err)
			}
			for _, p := range peers {
				p.wantEnd(t, start, 1012, "restart", 0, 40*time.Second)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			oneEvent(t, s.events, wssecure.EventDraining)
		})
	})
	t.Run("S-21 its ctx ends earlier", func(t *testing.T) {
		inTime(t, echo, func(t *testing.T, s *timed) {
			peers := crowd(s, 10)
			start, first := time.Now(), make(chan error, 1)
			go func() { first <- s.guard.Shutdown(within(500 * time.Second)) }()
			time.Sleep(time.Second)
			drained(t, s, within(time.Second), context.DeadlineExceeded)
			if err := <-first; err != nil || time.Since(start) > 3*time.Second {
				t.Errorf("the first: %v after %v", err, time.Since(start))
			}
			rest := 0
			for _, p := range peers {
				<-p.over
				if p.code == 1001 && p.reason == "draining" {
					rest++
				}
			}
			if rest != 9 {
				t.Errorf("%d of 9 were told 1001", rest)
			}
		})
	})
}

// S-21: a drain that comes in the middle of a handshake, which is refused, at
// whatever point it is.
func TestDrainDuringHandshake(t *testing.T) {
	var s *timed
	drain := func() {
		go s.guard.Shutdown(context.Background())
		synctest.Wait()
	}
	for name, when := range map[string]wssecure.Option{
		"before it is registered": wssecure.RequireCheck("drain", func(context.Context, *wssecure.Handshake) error {
			drain()
			return nil
		}),
		"between the last check and the 101": wssecure.SetContext(func(ctx context.Context, _ *wssecure.Handshake) context.Context {
			drain()
			return ctx
		}),
	} {
		t.Run("S-21 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s = newTimed(t, when)
				s.pipeServer = newPipeServer(t, s.guard.ConnHandler(echo))
				r := sendHandshake(t, s.dial(), freshHandshake(s.issuer.Token("alice")))
				if r.Status != http.StatusServiceUnavailable || r.Get("Retry-After") == "" {
					t.Errorf("status %d: %s", r.Status, r.Body)
				}
				synctest.Wait()
				s.mu.Lock()
				defer s.mu.Unlock()
				if e := oneEvent(t, s.events, wssecure.EventRefused); e.Reason != wssecure.ReasonDraining {
					t.Errorf("refused for %s", e.Reason)
				}
			})
		})
	}
}

// S-11: while a drain goes on handshakes come in by the thousand, and none of
// them outlives it.
func TestNoSessionSlipsThroughADrain(t *testing.T) {
	for range 20 {
		g := newTokenGate(t, stay, fastHandshakes)
		token := bearer(g.issuer.Token("alice"))
		var admitted, over atomic.Int64
		for range 4 {
			go func() {
				defer over.Add(1)
				for range 200 {
					if a := g.knock(attacker, token); a.status == 101 {
						admitted.Add(1)
					}
				}
			}()
		}
		for admitted.Load() < 8 {
			runtime.Gosched()
		}
		g.guard.Shutdown(within(50 * time.Millisecond)) // on a slow machine that is too short
		g.until(func() bool { return over.Load() == 4 }, "the knocking goes on")
		g.settled(0)
		for range g.guard.Sessions() {
			t.Error("a session is left")
		}
	}
}
