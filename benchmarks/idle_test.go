package benchmarks

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/wssecure/wssecure/wssecuretest"
)

const idleConns = 9000

// BenchmarkIdle is what a socket costs that says nothing: a process for each
// mode, since a heap does not forget what it was before.
func BenchmarkIdle(b *testing.B) {
	baseline := sync.OnceValue(func() perConn { return idlePer(b, "coder in the handler", idleConns) })
	for _, mode := range []string{"coder in the handler", "coder on its own", "gorilla in the handler", "gws on its own", "gobwas on its own", "guard, anonymous", "guard, a token each"} {
		b.Run(mode, func(b *testing.B) {
			if b.N > 1 {
				return // it has been measured: times are not what this is about
			}
			m := baseline()
			if mode != "coder in the handler" {
				m = idlePer(b, mode, idleConns)
			}
			b.ReportMetric(m.rss, "RSS-B")
			b.ReportMetric(m.heap, "heap-B")
			b.ReportMetric(m.stack, "stack-B")
			b.ReportMetric(m.goroutines, "goroutines")
			b.ReportMetric(m.rss/baseline().rss, "ratio")
			if mode != "guard, anonymous" {
				note("idle, "+mode+", RSS", "B", m.rss)
				note("idle, "+mode+", heap", "B", m.heap)
				return
			}
			judge(b, "12 idle session, RSS", m.rss)
			judge(b, "12 idle session, RSS / coder in the handler", m.rss/baseline().rss)
			judge(b, "12 idle session, heap", m.heap)
			judge(b, "12 idle session, goroutines", m.goroutines)
		})
	}
}

// perConn is what one of many connections costs.
type perConn struct{ rss, heap, stack, goroutines float64 }

func idlePer(tb testing.TB, mode string, conns int) perConn {
	tb.Helper()
	issuer := wssecuretest.NewIssuer(tb, testIssuer)
	server := start(tb, "server", idleServerArguments{Mode: mode, Conns: conns, JWKS: issuer.JWKS()})
	defer server.stop()
	var to string
	server.ask(tb, "", &to)
	var before, after memory
	server.ask(tb, "measure", &before)

	tokens := []string{""}
	if mode == "guard, a token each" {
		tokens = tokens[:0]
		for i := range conns {
			tokens = append(tokens, issuer.Sign("ES256", issuer.Claims(fmt.Sprintf("subject-%d", i), map[string]any{
				"scope": "openid profile ws:read ws:write", "client_id": "web", "email": "alice@example.com", "roles": []string{"user", "editor"},
			})))
		}
	}
	line, err := json.Marshal(tokens)
	if err != nil {
		tb.Fatal(err)
	}
	clients := start(tb, "idlers", idlersArguments{To: to, Conns: conns})
	defer clients.stop()
	var open int
	clients.ask(tb, string(line), &open)
	server.ask(tb, "measure", &after)
	if n := after.Goroutines - before.Goroutines; n < conns {
		tb.Fatalf("%s: %d goroutines for %d connections: they are not open", mode, n, conns)
	}
	per := func(before, after int) float64 { return float64(after-before) / float64(conns) }
	return perConn{
		rss: per(before.RSS, after.RSS), heap: per(before.Heap, after.Heap),
		stack: per(before.Stack, after.Stack), goroutines: per(before.Goroutines, after.Goroutines),
	}
}

// TestIdleSession keeps the heap and the goroutines of an idle session from
// growing. The goals, which are lower, and resident memory are the benchmark's.
func TestIdleSession(t *testing.T) {
	const conns, most = 500, 4500 // about 4,390 now; one measure differs from the next by some twenty, more with the race detector
	ours := idlePer(t, "guard, anonymous", conns)
	t.Logf("%.0f bytes of heap", ours.heap)
	if ours.heap > most {
		t.Errorf("an idle session holds %.0f bytes of heap, want at most %d", ours.heap, most)
	}
	if ours.goroutines > 1.01 {
		t.Errorf("an idle session holds %.2f goroutines, want one", ours.goroutines)
	}
	if coder := idlePer(t, "coder in the handler", conns); ours.heap > 0.31*coder.heap {
		t.Errorf("%.0f bytes of heap, and %.0f with bare coder in the handler", ours.heap, coder.heap)
	}
}
