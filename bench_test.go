package wssecure_test

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
)

// floods are handshakes that a guard refuses before it looks at a token.
var floods = []struct {
	name   string
	status int
	option wssecure.Option
	change func(*http.Request)
}{
	// Trusted networks have no budget of refused origins, which would cut the answers.
	{"Origin", 403, wssecure.TrustNetworks("many floods", "203.0.113.0/24"), func(r *http.Request) { r.Header["Origin"] = []string{"https://evil.example"} }},
	{"Version", 426, fastHandshakes, func(r *http.Request) { r.Header["Sec-Websocket-Version"] = []string{"8"} }},
	{"NoToken", 401, fastHandshakes, func(r *http.Request) { delete(r.Header, "Authorization") }},
	{"Rate", 429, wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.PerMinute(1)), func(r *http.Request) { delete(r.Header, "Authorization") }},
}

// runRefused makes a guard and runs one refusal through it, again and again.
func runRefused(tb testing.TB, i int) func() {
	row := floods[i]
	g, token := memGuard(tb, memnet.DeafLog{}, row.option)
	handler := g.ConnHandler(func(context.Context, *wssecure.Conn) error { return nil })
	r, w := memnet.Request(token), memnet.NewWriter(&memnet.Conn{})
	row.change(r)
	once := func() {
		w.Again()
		handler.ServeHTTP(w, r)
	}
	once() // spends the one token of "Rate"
	return func() {
		if once(); w.Status != row.status {
			tb.Fatalf("status %d, want %d", w.Status, row.status)
		}
	}
}

func BenchmarkRefused(b *testing.B) {
	for i, row := range floods {
		b.Run(row.name, func(b *testing.B) {
			once := runRefused(b, i)
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}

// BenchmarkOrdinaryHeaders is a request that is no upgrade on its way through
// Handler.
func BenchmarkOrdinaryHeaders(b *testing.B) {
	g, _ := memGuard(b, memnet.DeafLog{})
	handler := g.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	r, w := memnet.Request(""), memnet.NewWriter(&memnet.Conn{})
	for name := range r.Header {
		if name == "Upgrade" || len(name) > 4 && name[:4] == "Sec-" {
			delete(r.Header, name)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Again()
		handler.ServeHTTP(w, r)
	}
}

var memSizes = []struct {
	name string
	n    int
}{{"64B", 64}, {"1KiB", 1 << 10}, {"64KiB", 64 << 10}}

// memSession opens a session whose peer sends feed again and again, and gives
// its connection out of user code.
func memSession(tb testing.TB, feed []byte) *wssecure.Conn {
	tb.Helper()
	peer := &memnet.Conn{Feed: feed}
	return memSessionOver(tb, peer, &peer.Over)
}

// memSessionOver is memSession over a connection that over brings to its end.
func memSessionOver(tb testing.TB, peer net.Conn, over *atomic.Bool) *wssecure.Conn {
	tb.Helper()
	g, token := memGuard(tb, memnet.DeafLog{})
	opened, done := make(chan *wssecure.Conn), make(chan struct{})
	handler := g.ConnHandler(func(_ context.Context, c *wssecure.Conn) error {
		opened <- c
		<-done
		return nil
	})
	tb.Cleanup(func() {
		over.Store(true)
		close(done)
	})
	go handler.ServeHTTP(memnet.NewWriter(peer), memnet.Request(token))
	return <-opened
}
