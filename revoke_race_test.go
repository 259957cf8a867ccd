package wssecure_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// point is a place of a handshake where a revocation may come in: each is a door
// to the application or the network.
type point int

const (
	atVerifier point = iota
	atCheck
	atKey     // of a rule by function: the session is about to be registered, and the marks to be asked
	atContext // they have
	atHijack
	atHead // the 101 goes out
	atUserCode
	points
)

// identified is the first point at which a session's id can be known.
const identified = atContext

// gauntlet is a handshake that a revocation comes in at one point of: before the
// handshake goes on, or while it does.
type gauntlet struct {
	guard *wssecure.Guard

	mu        sync.Mutex
	at        point
	meanwhile bool
	target    func() wssecure.Target
	session   string // the id, once it can be known
	done      chan error
	reached   [points]int
}

func (g *gauntlet) reach(p point) {
	g.mu.Lock()
	come := p == g.at && g.done == nil
	if !come {
		g.mu.Unlock()
		return
	}
	g.reached[p]++
	done := make(chan error, 1)
	g.done = done
	target, late := g.target(), 0
	if g.meanwhile {
		late = rand.IntN(64)
	}
	g.mu.Unlock()
	revoke := func() {
		for range late {
			runtime.Gosched()
		}
		_, err := g.guard.Revoke(context.Background(), target, "S-09")
		done <- err
	}
	if g.meanwhile {
		go revoke()
		return
	}
	revoke()
}

// watchedHead tells of the first bytes of the server.
type watchedHead struct {
	net.Conn
	once *sync.Once
	g    *gauntlet
}

func (c watchedHead) Write(p []byte) (int, error) {
	c.once.Do(func() { c.g.reach(atHead) })
	return c.Conn.Write(p)
}

func (g *gauntlet) watch(w *gateWriter) http.ResponseWriter {
	return unlucky{w, func() (net.Conn, *bufio.ReadWriter, error) {
		g.reach(atHijack)
		conn, buffers, err := w.Hijack()
		return watchedHead{conn, new(sync.Once), g}, buffers, err
	}}
}

func (g *gauntlet) options() []wssecure.Option {
	verify := func(_ context.Context, name string) (*wssecure.Identity, error) {
		g.reach(atVerifier)
		now := time.Now()
		return &wssecure.Identity{
			Issuer: "iss", Subject: "s-" + name, TokenID: "t-" + name, OIDCSession: "o-" + name, IssuedAt: now, Expiry: now.Add(time.Hour),
		}, nil
	}
	return []wssecure.Option{
		wssecure.RequireToken(wssecure.VerifierFunc(verify)),
		wssecure.RequireCheck("own", func(context.Context, *wssecure.Handshake) error { g.reach(atCheck); return nil }),
		wssecure.LimitConns(wssecure.ByFunc("own", func(*wssecure.Handshake) string { g.reach(atKey); return "all" }), 1),
		wssecure.SetContext(func(ctx context.Context, _ *wssecure.Handshake) context.Context {
			if s, ok := wssecure.SessionFrom(ctx); ok {
				g.mu.Lock()
				g.session = s.ID()
				g.mu.Unlock()
			}
			g.reach(atContext)
			return ctx
		}),
	}
}

// ownLibrary hijacks, writes its own 101 and reads to the end.
func (g *gauntlet) ownLibrary(w http.ResponseWriter, r *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		probe.Accept(r.Header.Get("Sec-Websocket-Key")))
	g.reach(atUserCode)
	conn.Read(make([]byte, 1))
}

// TestRevokeRacesAdmission is S-09 and T13: a revocation at any point of a
// handshake, of each kind of target, under ConnHandler and under another
// library, leaves no session: either it is refused or it is ended.
func TestRevokeRacesAdmission(t *testing.T) {
	const rounds = 10_000
	for _, row := range []struct {
		name   string
		first  point
		target func(g *gauntlet, name string) wssecure.Target
	}{
		{"Subject", 0, func(_ *gauntlet, name string) wssecure.Target { return wssecure.Subject("iss", "s-"+name) }},
		{"TokenID", 0, func(_ *gauntlet, name string) wssecure.Target { return wssecure.TokenID("iss", "t-"+name) }},
		{"OIDCSession", 0, func(_ *gauntlet, name string) wssecure.Target { return wssecure.OIDCSession("iss", "o-"+name) }},
		{"Network", 0, func(*gauntlet, string) wssecure.Target {
			return wssecure.Network(netip.MustParsePrefix("203.0.112.0/22"))
		}},
		{"Everyone", 0, func(*gauntlet, string) wssecure.Target { return wssecure.Everyone() }},
		{"SessionID", identified, func(g *gauntlet, _ string) wssecure.Target { return wssecure.SessionID(g.session) }},
	} {
		t.Run("S-09 T13 "+row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				run := &gauntlet{}
				g := &gate{t: t}
				g.start(func(ctx context.Context, c *wssecure.Conn) error {
					run.reach(atUserCode)
					return stay(ctx, c)
				}, run.options())
				run.guard = g.guard
				handlers := []http.Handler{g.serve, g.guard.Handler(http.HandlerFunc(run.ownLibrary))}
				for i := range rounds {
					name := fmt.Sprint(i)
					run.mu.Lock()
					run.at = row.first + point(rand.IntN(int(points-row.first)))
					run.meanwhile = rand.IntN(2) == 0
					run.target = func() wssecure.Target { return row.target(run, name) }
					run.done = nil
					run.mu.Unlock()
					handler, answered := handlers[rand.IntN(len(handlers))], make(chan answer, 1)
					go func() { answered <- g.knockThrough(handler, run.watch, nil, attacker, bearer(name)) }()
					synctest.Wait() // whatever moves has come to its end, or waits for the peer
					run.mu.Lock()
					at, meanwhile, done := run.at, run.meanwhile, run.done
					run.mu.Unlock()
					if done == nil {
						t.Fatalf("round %d: point %d was not reached", i, at)
					}
					if err := <-done; err != nil {
						t.Fatal(err)
					}
					for s := range g.guard.Sessions() {
						t.Fatalf("round %d: revoked at point %d (meanwhile: %v), session %s lives", i, at, meanwhile, s.ID)
					}
					time.Sleep(2 * time.Second) // the grace; and a login of the next second is no revoked one
					if open := g.guard.Stats().Open; open != 0 {
						t.Fatalf("round %d: %d places are taken", i, open)
					}
					<-answered
				}
				ends := map[wssecure.EventKind]int{}
				for _, e := range g.all() {
					if e.Kind != wssecure.EventRefused && e.Kind != wssecure.EventClosed {
						continue
					}
					if ends[e.Kind]++; e.Reason != wssecure.ReasonRevoked {
						t.Fatalf("%s: %s (%v)", e.Kind, e.Reason, e.Err)
					}
				}
				if refused, closed := ends[wssecure.EventRefused], ends[wssecure.EventClosed]; refused+closed != rounds || refused == 0 || closed == 0 {
					t.Errorf("of %d handshakes %d were refused and %d sessions ended", rounds, refused, closed)
				}
				for p := row.first; p < points; p++ {
					if run.reached[p] == 0 {
						t.Errorf("no revocation at point %d", p)
					}
				}
			})
		})
	}
}
