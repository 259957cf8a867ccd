package benchmarks

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/wssecuretest"
)

// A refusal is one handshake that both sides turn away.
type refusal struct {
	name   string
	goal   string // its name in targets.go
	status int    // ours
	theirs int
	option wssecure.Option // for the guard, which else bans and cuts who asks so often
	once   bool            // both sides have admitted one a while ago
	change func(r *http.Request)
	each   func(r *http.Request) // before each one
}

var unlimited = wssecure.TrustNetworks("many refusals from one address", "203.0.113.0/24")

var refusals = []refusal{
	{name: "origin", goal: "4 refused, origin / composed", status: 403, theirs: 403, option: unlimited,
		change: func(r *http.Request) { r.Header["Origin"] = []string{"https://evil.example"} }},
	{name: "no token", goal: "4 refused, no token / composed", status: 401, theirs: 400, option: noBan,
		change: func(r *http.Request) { delete(r.Header, "Authorization") }},
	{name: "over the limit", goal: "4 refused, over the limit / composed", status: 429, theirs: 429,
		option: wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.PerMinute(1)), once: true,
		change: func(r *http.Request) { delete(r.Header, "Authorization") }},
	{name: "bad signature", goal: "5 bad signature / composed", status: 401, theirs: 401, option: noBan, each: (&forger{}).forge},
	{name: "bad signature again", goal: "5 the same bad token again / composed", status: 401, theirs: 401, option: noBan,
		change: func(r *http.Request) { (&forger{}).forge(r) }},
}

// noBan lets forged tokens come as quickly as they can.
var noBan = wssecure.LimitFailures(wssecure.ByIP(), lots, time.Second)

// A forger gives each handshake another wrong signature under the same claims.
type forger struct{ n uint64 }

func (f *forger) forge(r *http.Request) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	f.n++
	token := []byte(r.Header["Authorization"][0])
	at := strings.LastIndexByte(string(token), '.') + 1
	for i, n := 0, f.n; i < 10; i++ {
		token[at+i] = alphabet[n%64]
		n /= 64
	}
	r.Header["Authorization"] = []string{string(token)}
}

// BenchmarkRefused is a handshake that is refused, beside the composed stack
// that refuses the same one.
func BenchmarkRefused(b *testing.B) {
	for _, x := range refusals {
		b.Run(x.name, func(b *testing.B) {
			ours, theirs := x.sides(b)
			judge(b, x.goal, compare(b, theirs, ours).ratio)
		})
	}
}

// BenchmarkRefusedAlone is the same without its baseline, for profiles.
func BenchmarkRefusedAlone(b *testing.B) {
	for _, x := range refusals {
		b.Run(x.name, func(b *testing.B) {
			ours, _ := x.sides(b)
			b.ReportAllocs()
			b.ResetTimer()
			ours(b.N)
		})
	}
}

func (x refusal) sides(tb testing.TB) (ours, theirs func(n int)) {
	tb.Helper()
	issuer := wssecuretest.NewIssuer(tb, testIssuer)
	options, perHour := []wssecure.Option{x.option, manyHandshakes}, plenty
	if x.once {
		options, perHour = options[:1], 1
	}
	g, token := guardOf(tb, issuer, slog.DiscardHandler, options...)
	guarded := g.ConnHandler(func(context.Context, *wssecure.Conn) error { return nil })
	return x.again(tb, guarded, token, x.status), x.again(tb, composed(tb, issuer, perHour), token, x.theirs)
}

// again sends the handshake that x is about, over TLS as far as h can tell.
func (x refusal) again(tb testing.TB, h http.Handler, token string, status int) func(n int) {
	r, w := memnet.Request(token), memnet.NewWriter(&memnet.Conn{})
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	h.ServeHTTP(w.Again(), r) // a good one has been seen, as everywhere
	if x.change != nil {
		x.change(r)
	}
	if x.once {
		h.ServeHTTP(w.Again(), r)
	}
	return func(n int) {
		for range n {
			if x.each != nil {
				x.each(r)
			}
			h.ServeHTTP(w.Again(), r)
			if w.Status != status {
				tb.Fatalf("%s: answered with %d, want %d", x.name, w.Status, status)
			}
		}
	}
}

// TestRefusedAllocatesLittle: of two allocations, both are the writer's: its map
// of headers, and the map's first group of eight keys.
func TestRefusedAllocatesLittle(t *testing.T) {
	for _, x := range refusals {
		if x.each != nil {
			continue // crypto/rsa allocates what it does
		}
		t.Run(x.name, func(t *testing.T) {
			ours, _ := x.sides(t)
			ours(100)
			const n = 2000
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			ours(n)
			runtime.ReadMemStats(&after)
			allocs, bytes := float64(after.Mallocs-before.Mallocs)/n, float64(after.TotalAlloc-before.TotalAlloc)/n
			most, mostBytes := 2.1+spilled, 405.0+1000*spilled
			if x.name == "bad signature again" { // an error says so
				most, mostBytes = most+1, mostBytes+50
			}
			if allocs > most || bytes > mostBytes {
				t.Errorf("%.2f allocations of %.0f bytes in all, want at most %.1f of %.0f", allocs, bytes, most, mostBytes)
			}
		})
	}
}
