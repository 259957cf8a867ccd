package wssecure_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/internal/origin"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestRefusedOriginsHaveTheirOwnBudget is a hostile page that dials without
// pause from its visitor's browser: it ends in silence, and costs the visitor
// nothing.
func TestRefusedOriginsHaveTheirOwnBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var events []wssecure.Event
		g, token := memGuard(t, memnet.DeafLog{}, wssecure.LimitFailures(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 1}, time.Hour),
			wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 1}),
			wssecure.OnEvent(func(e wssecure.Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, e)
			}))
		refused := func() (cut []wssecure.Event) {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.DeleteFunc(slices.Clone(events), func(e wssecure.Event) bool { return e.Kind != wssecure.EventRefused })
		}
		h := g.ConnHandler(wssecuretest.Echo)
		hostile := []func(*http.Request){
			func(r *http.Request) { r.Header["Origin"] = []string{"https://evil.example"} },
			func(r *http.Request) { delete(r.Header, "Origin"); delete(r.Header, "Authorization") },
			func(r *http.Request) { r.Header["Origin"] = []string{"https://a.example", "https://b.example"} },
			func(r *http.Request) { r.Header["Sec-Fetch-Mode"] = []string{"no-cors"} },
		}
		dial := func(i int) (status int, sent string) {
			r := memnet.Request(token)
			hostile[i%len(hostile)](r)
			return answered(h, r)
		}
		for i := range 1200 {
			if status, _ := dial(i); status != 403 && status != 400 {
				t.Fatalf("O-38 refusal %d: status %d", i+1, status)
			}
		}
		if n := len(refused()); n != 1200 {
			t.Fatalf("%d events, want 1200", n)
		}
		for i := range 50 {
			if status, sent := dial(i); status != 0 || sent != "" {
				t.Fatalf("O-38 beyond the budget: status %d, %q; want a cut", status, sent)
			}
		}
		if all := refused(); len(all) != 1201 || !strings.Contains(all[1200].Hint, "answers are cut") {
			t.Errorf("L-39: %d events after the cut, want one more: %+v", len(all), all[len(all)-1])
		}
		var counted uint64
		for _, n := range g.Stats().Refused {
			counted += n
		}
		if counted != 1250 {
			t.Errorf("L-39: Stats has %d, want each of 1250", counted)
		}

		other := memnet.Request(token)
		other.RemoteAddr = "203.0.113.10:1"
		hostile[0](other)
		if status, _ := answered(h, other); status != 403 {
			t.Errorf("another address: status %d, want 403", status)
		}
		if status, sent := answered(h, memnet.Request(token)); status != 0 || !strings.HasPrefix(sent, "HTTP/1.1 101 ") {
			t.Errorf("O-38 then a good one: status %d, %q, want a 101", status, sent)
		}

		time.Sleep(time.Minute)
		if status, _ := dial(0); status != 403 {
			t.Errorf("a minute later: status %d, want 403", status)
		}
		_ = g.Shutdown(context.Background())
	})
}

// answered gives the status that went through net/http, or what was written into
// the hijacked connection before it ended or fell silent.
func answered(h http.Handler, r *http.Request) (status int, sent string) {
	client, server := net.Pipe()
	w := memnet.NewWriter(server)
	read := make(chan string)
	go func() {
		line, _ := bufio.NewReader(client).ReadString('\n')
		read <- line
	}()
	h.ServeHTTP(w, r)
	if w.Status != 0 {
		server.Close()
	}
	sent = <-read
	client.Close()
	return w.Status, sent
}

// TestOriginSetReplace changes the list under a thousand handshakes: an origin
// that both lists have is always admitted, one that neither has never.
func TestOriginSetReplace(t *testing.T) {
	older := []string{"https://older.example", "https://both.example", "https://*.older.example"}
	newer := []string{"https://newer.example", "https://both.example", "https://*.newer.example"}
	set, err := wssecure.NewOriginSet(older...)
	if err != nil {
		t.Fatal(err)
	}
	g, err := wssecure.New(wssecure.AllowOriginSet(set), wssecure.InsecureAllowAnonymous(why), wssecure.InsecureAllowPlaintext(why),
		wssecure.TrustNetworks(why, "203.0.113.9/32"),
		// Whom the origin does not stop is stopped here, so that no session opens.
		wssecure.RequireCheck("stop", func(context.Context, *wssecure.Handshake) error { return wssecure.ReasonForbidden }))
	if err != nil {
		t.Fatal(err)
	}
	h := g.ConnHandler(wssecuretest.Echo)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			list := [][]string{older, newer}[i%2]
			if err := set.Replace(list...); err != nil {
				t.Errorf("Replace: %v", err)
			}
		}
	})
	judge := func(origin string) (admitted bool) {
		r := memnet.Request("")
		r.Header["Origin"] = []string{origin}
		w := serveInMemory(h, r)
		return strings.Contains(w.body.String(), "#forbidden")
	}
	for range 250 {
		for origin, want := range map[string]bool{"https://both.example": true, "https://neither.example": false, "https://newer.example.older.org": false} {
			if got := judge(origin); got != want {
				t.Fatalf("O-43 %s admitted = %v", origin, got)
			}
		}
		judge("https://a.newer.example")
	}
	close(stop)
	wg.Wait()

	if err := set.Replace(newer...); err != nil {
		t.Fatal(err)
	}
	if judge("https://older.example") || !judge("https://newer.example") || !judge("https://a.newer.example") {
		t.Error("O-43: the new list does not hold")
	}
	for _, bad := range badOrigins {
		if err := set.Replace("https://other.example", bad); err == nil || !strings.HasPrefix(err.Error(), "Replace: ") {
			t.Errorf("O-43 Replace with %q: %v", bad, err)
		}
	}
	if err := set.Replace(); err == nil {
		t.Error("O-43 Replace with an empty list is no error")
	}
	if !judge("https://newer.example") || judge("https://other.example") {
		t.Error("O-43: a list with a fault has changed the set")
	}
}

func TestNewOriginSetFaults(t *testing.T) {
	for _, bad := range badOrigins {
		if s, err := wssecure.NewOriginSet(bad); s != nil || err == nil || !strings.HasPrefix(err.Error(), "NewOriginSet: ") {
			t.Errorf("O-44 %q: %v, %v", bad, s, err)
		}
	}
	if s, err := wssecure.NewOriginSet(); s != nil || err == nil {
		t.Errorf("O-44 empty: %v, %v", s, err)
	}
	s, err := wssecure.NewOriginSet(badOrigins...)
	if s != nil || err == nil || len(strings.Split(err.Error(), "\n")) != len(badOrigins) {
		t.Errorf("O-44 all at once: %v, %v", s, err)
	}
}

// TestOneSetForTwoRoutes is P-19: Replace reaches every guard that uses the set.
func TestOneSetForTwoRoutes(t *testing.T) {
	set, err := wssecure.NewOriginSet("https://older.example")
	if err != nil {
		t.Fatal(err)
	}
	var s *wssecuretest.Server
	issuer := wssecuretest.NewIssuer(t, "")
	s = wssecuretest.Start(t, wssecuretest.Config{
		Options: opts(issuer.Option(), wssecure.AllowOriginSet(set)),
		Handler: func(g *wssecure.Guard) http.Handler {
			child, err := g.With(wssecure.RequireSubprotocol(), wssecure.AllowSubprotocols("chat"))
			if err != nil {
				t.Fatal(err)
			}
			mux := http.NewServeMux()
			mux.Handle("/ws", g.ConnHandler(wssecuretest.Echo))
			mux.Handle("/chat", child.ConnHandler(wssecuretest.Echo))
			return mux
		},
	})
	s.Issuer = issuer
	for _, target := range []string{"/ws", "/chat"} {
		if err := set.Replace("https://older.example"); err != nil {
			t.Fatal(err)
		}
		dial := func(origin string) int {
			hs := page(s, origin).Add("Sec-WebSocket-Protocol: chat")
			hs.Target = target
			r, _ := ask(t, s, hs)
			return r.Status
		}
		if old, new := dial("https://older.example"), dial("https://newer.example"); old != 101 || new != 403 {
			t.Errorf("%s: %d, %d; want 101, 403", target, old, new)
		}
		if err := set.Replace("https://newer.example"); err != nil {
			t.Fatal(err)
		}
		if old, new := dial("https://older.example"), dial("https://newer.example"); old != 403 || new != 101 {
			t.Errorf("%s after Replace: %d, %d; want 403, 101", target, old, new)
		}
	}
}

// TestJudgingOriginsAllocatesNothing: what a request can multiply must be free.
func TestJudgingOriginsAllocatesNothing(t *testing.T) {
	l, errs := origin.NewList("https://app.example.com", "https://*.tenant.example.com")
	if errs != nil {
		t.Fatal(errs)
	}
	long := "https://app.example.com" + strings.Repeat("a", 60<<10)
	for _, tc := range []struct {
		name, input string
		want        origin.Verdict
	}{
		{"O-38 exact", "https://app.example.com", origin.Exact},
		{"O-38 star", "https://a.b.tenant.example.com", origin.Star},
		{"O-04", "https://app.example.com:8443", origin.None},
		{"O-32", long, origin.None},
		{"O-30", "https://app.example.com, https://evil.net", origin.None},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := l.Match(tc.input)
			if n := testing.AllocsPerRun(100, func() { got = l.Match(tc.input) }); n != 0 || got != tc.want {
				t.Errorf("%.0f allocations, verdict %v, want %v", n, got, tc.want)
			}
		})
	}

	// At the guard an Origin of 60 KB costs what a short one costs.
	cost := func(origin string) float64 {
		g, token := memGuard(t, memnet.DeafLog{}, wssecure.TrustNetworks(why, "203.0.113.0/24"))
		h, r := g.ConnHandler(wssecuretest.Echo), memnet.Request(token)
		r.Header["Origin"] = []string{origin}
		w := memnet.NewWriter(&memnet.Conn{})
		return testing.AllocsPerRun(100, func() { h.ServeHTTP(w.Again(), r) })
	}
	if short, long := cost("https://evil.example"), cost(long); long != short {
		t.Errorf("O-32: %.0f allocations for 60 KB, %.0f for a short one", long, short)
	}
}
