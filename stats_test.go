package wssecure_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
)

// U-14: the counters are exact after many decisions in parallel, and each has had
// its event, or is counted among the dropped.
func TestStatsAreExact(t *testing.T) {
	const each, workers = 250, 8
	g := newTokenGate(t, quiet, fastHandshakes, wssecure.LimitConns(wssecure.BySubject(), 10_000))
	alice := bearer(g.issuer.Token("alice"))
	ways := map[wssecure.Reason]func(*http.Request){
		"":                           alice,
		wssecure.ReasonMethod:        func(r *http.Request) { r.Method = "PUT" },
		wssecure.ReasonVersion:       func(r *http.Request) { r.Header["Sec-Websocket-Version"] = []string{"8"} },
		wssecure.ReasonKey:           func(r *http.Request) { r.Header["Sec-Websocket-Key"] = nil },
		wssecure.ReasonOrigin:        from("https://evil.example"),
		wssecure.ReasonTokenMissing:  func(*http.Request) {},
		wssecure.ReasonTokenInvalid:  bearer("a.b.c"),
		wssecure.ReasonCredential:    func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer"} },
		wssecure.ReasonHost:          func(r *http.Request) { r.Host = "a b" },
		wssecure.ReasonFetchMetadata: func(r *http.Request) { r.Header["Sec-Fetch-Mode"] = []string{"navigate"} },
		wssecure.ReasonOriginMissing: func(r *http.Request) { delete(r.Header, "Origin") },
		wssecure.ReasonOriginDuplicate: func(r *http.Request) {
			r.Header["Origin"] = []string{"https://app.example.com", "https://app.example.com"}
		},
	}
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for range each {
				for _, way := range ways {
					g.knock(fmt.Sprintf("203.0.113.%d", worker), way)
				}
			}
		})
	}
	all.Wait()
	g.settled(0)
	g.until(func() bool { return g.guard.Stats().Closed[wssecure.ReasonDone] >= each*workers }, "sessions are missing")
	s := g.guard.Stats()
	if s.Admitted != each*workers || s.Closed[wssecure.ReasonDone] != each*workers || len(s.Closed) != 1 || s.Open != 0 {
		t.Errorf("%d admitted, closed %v, %d open; want %d, all done, 0", s.Admitted, s.Closed, s.Open, each*workers)
	}
	for reason := range ways {
		if n := s.Refused[reason]; reason != "" && n != each*workers {
			t.Errorf("%d of %s, want %d", n, reason, each*workers)
		}
	}
	if len(s.Refused) != len(ways)-1 {
		t.Errorf("reasons %v, want %d", s.Refused, len(ways)-1)
	}
	events := each * workers * (len(ways) + 1) // an admitted one has two
	told := func() int {
		return len(g.seen(wssecure.EventOpened)) + len(g.seen(wssecure.EventClosed)) + len(g.seen(wssecure.EventRefused))
	}
	g.until(func() bool { return told()+int(g.guard.Stats().EventsDropped) >= events }, "events are missing")
	if n := told() + int(g.guard.Stats().EventsDropped); n != events {
		t.Errorf("%d events told or dropped, want %d", n, events)
	}
}

// L-29: the table of remembered keys forgets the oldest, never refuses an unseen
// one, and Stats tells.
func TestReplayTableForgetsTheOldest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const kept = 100_000
		g, token := memGuard(t, memnet.DeafLog{}, fastHandshakes)
		served := make(chan struct{})
		handler := g.ConnHandler(func(context.Context, *wssecure.Conn) error { served <- struct{}{}; return nil })
		r := memnet.Request(token)
		admitted := func(nonce uint64) bool {
			var key [16]byte
			binary.LittleEndian.PutUint64(key[:], nonce)
			r.Header["Sec-Websocket-Key"] = []string{base64.StdEncoding.EncodeToString(key[:])}
			w := memnet.NewWriter(&memnet.Conn{})
			handler.ServeHTTP(w, r)
			if w.Status == 0 {
				<-served
			}
			return w.Status == 0
		}
		for nonce := range uint64(kept) {
			if !admitted(nonce) {
				t.Fatalf("nonce %d refused, and never seen", nonce)
			}
		}
		if admitted(0) || admitted(kept/2) || g.Stats().Evictions != 0 {
			t.Fatalf("a nonce within the table is forgotten; %d evictions", g.Stats().Evictions)
		}
		if !admitted(kept) || g.Stats().Evictions != 1 {
			t.Fatalf("one more has %d evictions, want 1", g.Stats().Evictions)
		}
		if !admitted(0) || admitted(kept/2) {
			t.Error("not the oldest was forgotten")
		}
	})
}

// LimitReplay's window is how long a key is remembered.
func TestReplayWindow(t *testing.T) {
	for _, window := range []time.Duration{0, 10 * time.Second} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var options []wssecure.Option
				want := 5 * time.Minute
				if window > 0 {
					options, want = append(options, wssecure.LimitReplay(window)), window
				}
				g := newTokenGate(t, quiet, options...)
				token := g.issuer.Token("alice")
				same := func(r *http.Request) { r.Header["Sec-Websocket-Key"] = []string{"dGhlIHNhbXBsZSBub25jZQ=="} }
				wantAnswer(t, g.knock(attacker, bearer(token), same), 101, "")
				time.Sleep(want - time.Nanosecond)
				wantAnswer(t, g.knock(attacker, bearer(token), same), 400, "key")
				wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token("bob")), same), 101, "")
				time.Sleep(time.Nanosecond)
				wantAnswer(t, g.knock(attacker, bearer(token), same), 101, "")
			})
		})
	}
}

// L-36: without an address nothing can be counted, so nothing is admitted.
func TestNoClientAddress(t *testing.T) {
	for _, remote := range []string{"", "@", "/run/app.sock", "pipe", "example.com:80"} {
		t.Run("L-36 "+remote, func(t *testing.T) {
			g := newGate(t, stay, wssecure.TrustProxies("X-Forwarded-For", "private"))
			a := g.knock(attacker, func(r *http.Request) {
				r.RemoteAddr = remote
				r.Header["X-Forwarded-For"] = []string{"203.0.113.9"}
			})
			wantAnswer(t, a, 500, wssecure.ReasonInternal)
			g.await(wssecure.EventRefused, 1)
			if e := g.seen(wssecure.EventRefused)[0]; e.Err == nil || !strings.Contains(e.Err.Error(), "listener must supply addresses") || e.ClientIP.IsValid() {
				t.Errorf("event says %v of %s", e.Err, e.ClientIP)
			}
		})
	}
}

// L-30, R8: forged tokens are no lever. One /64 sends thousands of them while
// honest clients connect from elsewhere.
func TestForgedTokenFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTokenGate(t, quiet, wssecure.LimitConns(wssecure.BySubject(), 10_000))
		forged := make([]string, 2000)
		for i := range forged {
			forged[i] = g.forged()
		}
		token := g.issuer.Token("alice")
		var flood sync.WaitGroup
		flood.Go(func() {
			for i, token := range forged {
				g.knock(fmt.Sprintf("2001:db8::%x", i+1), bearer(token))
			}
		})
		for i := range 500 {
			wantAnswer(t, g.knock(fmt.Sprintf("203.0.113.%d", i%250), bearer(token)), 101, "")
		}
		flood.Wait()
		s := g.guard.Stats()
		if s.Refused[wssecure.ReasonTokenForged] != 21 || s.Refused[wssecure.ReasonBanned] != uint64(len(forged)-21) {
			t.Errorf("%v: want 21 judged and the others banned", s.Refused)
		}
	})
}
