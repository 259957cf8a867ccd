package wssecure_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// knocks are handshakes that leave as much as can be in the attempt that judges
// them: an identity, a reason, a status of their own, a time to wait, a hint.
func knocks(issuer *wssecuretest.Issuer) map[string]func(*http.Request) {
	token := func(sub string, claims ...map[string]any) func(*http.Request) {
		return bearer(issuer.Sign("ES256", issuer.Claims(sub, claims...)))
	}
	alice := token("alice", map[string]any{"scope": "chat"})
	with := func(changes ...func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			for _, change := range changes {
				change(r)
			}
		}
	}
	return map[string]func(*http.Request){
		"alice":              alice,
		"bob by subprotocol": header("Sec-Websocket-Protocol", "chat.v2", "bearer", issuer.Sign("ES256", issuer.Claims("bob", map[string]any{"scope": "chat"}))),
		"star":               with(alice, from("https://a.example.net")),
		"nobody":             func(*http.Request) {},
		"another scope":      token("carol", map[string]any{"scope": "read"}),
		"expired":            token("dave", map[string]any{"scope": "chat", "exp": time.Now().Add(-time.Hour).Unix()}),
		"another audience":   token("erin", map[string]any{"aud": "else"}),
		"junk":               bearer("junk"),
		"no token":           bearer("a b"),
		"two tokens":         with(alice, header("Sec-Websocket-Protocol", "bearer", "other")),
		"other page":         with(alice, from("https://evil.example")),
		"own page":           with(alice, from("http://"+wssecuretest.Host)),
		"no page":            func(r *http.Request) { delete(r.Header, "Origin") },
		"two pages":          header("Origin", "https://a.example", "https://b.example"),
		"navigation":         with(alice, header("Sec-Fetch-Mode", "navigate")),
		"other host":         func(r *http.Request) { r.Host = "other.example" },
		"no host":            func(r *http.Request) { r.Host = "a b" },
		"HTTP/2":             func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 },
		"HTTP/1.0":           func(r *http.Request) { r.Proto, r.ProtoMinor = "HTTP/1.0", 0 },
		"POST":               func(r *http.Request) { r.Method = http.MethodPost },
		"body":               func(r *http.Request) { r.ContentLength = 1 },
		"two versions":       header("Sec-Websocket-Version", "13", "8"),
		"version 8":          header("Sec-Websocket-Version", "8"),
		"no key":             header("Sec-Websocket-Key", "short"),
		"no upgrade":         header("Connection", "close"),
		"no address":         func(r *http.Request) { r.RemoteAddr = "@" },
		"unknown ticket":     func(r *http.Request) { r.URL.RawQuery = "ticket=" + longTicket },
		"wait":               with(alice, path("/wait")),
		"undecided":          with(alice, path("/undecided")),
		"own reason":         with(alice, path("/own")),
		"panic":              with(alice, path("/panic")),
	}
}

const longTicket = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// pooledCheck refuses by path, in every way that a check can.
func pooledCheck(_ context.Context, h *wssecure.Handshake) error {
	switch h.Request.URL.Path {
	case "/wait":
		return &wssecure.Rejection{Reason: wssecure.ReasonRate, RetryAfter: 47 * time.Second, Err: errors.New("later")}
	case "/undecided":
		return errors.New("no answer")
	case "/own":
		return wssecure.Reason("own")
	case "/panic":
		panic("oops")
	}
	return nil
}

// TestNoAttemptShowsAnother: attempts are used again, and nothing of one shows in
// the answer or the event of another, whatever came before it and beside it. Each
// is held to those of a guard that has judged nothing else.
func TestNoAttemptShowsAnother(t *testing.T) {
	for name, opts := range map[string][]wssecure.Option{
		"ours alone":       nil, // no function of the application holds an attempt back
		"checks":           {wssecure.RequireCheck("path", pooledCheck)},
		"browser refusals": {wssecure.SetBrowserRefusals()},
		"late tokens":      {wssecure.AllowLateToken(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := wssecuretest.NewIssuer(t, "")
			open := func() *gate {
				g := &gate{t: t, issuer: issuer}
				g.start(quiet, append([]wssecure.Option{
					issuer.Option(wssecure.FromBearer(), wssecure.FromSubprotocol("bearer"), wssecure.FromTicket()),
					wssecure.RequireScopes("chat"), wssecure.AllowHosts(wssecuretest.Host), wssecure.LimitConns(wssecure.BySubject(), 10_000),
				}, opts...))
				return g
			}
			kinds := knocks(issuer)
			want := map[string]string{}
			for kind, change := range kinds {
				g := open()
				told := g.tell([]knocked{{kind, "198.51.100.1", g.knock("198.51.100.1", change)}})
				want[kind] = told[0]
			}
			busy, names := open(), slices.Sorted(maps.Keys(kinds))
			const workers, each = 8, 200
			var group sync.WaitGroup
			var mu sync.Mutex
			var all []knocked
			for w := range workers {
				group.Go(func() {
					for i := range each {
						kind := names[(i*(2*w+1)+w)%len(names)]
						from := fmt.Sprintf("20.%d.%d.1", w, i)
						a := busy.knock(from, kinds[kind])
						mu.Lock()
						all = append(all, knocked{kind, from, a})
						mu.Unlock()
					}
				})
			}
			group.Wait()
			for i, got := range busy.tell(all) {
				if kind := all[i].kind; got != want[kind] {
					t.Fatalf("%s\n  beside others %s\n  alone         %s", kind, got, want[kind])
				}
			}
		})
	}
}

// knocked is a handshake that has its answer.
type knocked struct {
	kind, from string
	answer     answer
}

var (
	namedEvent = regexp.MustCompile(`"instance":"([0-9a-f]{32})"`)
	pointer    = regexp.MustCompile(`0x[0-9a-f]+`)
)

// tell writes down what each handshake was answered and what was told of it,
// without what differs from one to the next: id, times, session and address.
func (g *gate) tell(all []knocked) []string {
	g.t.Helper()
	decided := func() (found []wssecure.Event) {
		return append(g.seen(wssecure.EventRefused), g.seen(wssecure.EventOpened)...)
	}
	g.until(func() bool { return len(decided()) >= len(all) }, "handshakes without an event")
	byID, byAddress := map[string]wssecure.Event{}, map[string]wssecure.Event{}
	for _, e := range decided() {
		byID[e.ID], byAddress[e.PeerIP.String()] = e, e
	}
	if n := len(decided()); n != len(all) || len(byID) != n {
		g.t.Errorf("%d handshakes, %d events with %d ids", len(all), n, len(byID))
	}
	told := make([]string, len(all))
	for i, k := range all {
		e, body := byAddress[k.from], k.answer.body
		if named := namedEvent.FindStringSubmatch(body); named != nil {
			e, body = byID[named[1]], namedEvent.ReplaceAllString(body, "")
		}
		if e.PeerIP.IsValid() && (e.PeerIP.String() != k.from || e.ClientIP != e.PeerIP) {
			g.t.Errorf("%s from %s: event of %s, %s", k.kind, k.from, e.PeerIP, e.ClientIP)
		}
		e.ID, e.SessionID, e.Time, e.Took, e.PeerIP, e.ClientIP = "", "", time.Time{}, 0, netip.Addr{}, netip.Addr{}
		if e.Reason == wssecure.ReasonUnavailable && k.answer.header["Retry-After"] != nil {
			k.answer.header["Retry-After"] = []string{"at random"}
		}
		said := cmp.Or(e.Err, errors.New("no error")).Error()
		e.Err = nil
		told[i] = pointer.ReplaceAllString(fmt.Sprintf("%d %v %s event %+v: %s", k.answer.status, k.answer.header, body, e, said), "")
	}
	return told
}
