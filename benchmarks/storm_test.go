package benchmarks

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/wssecure/wssecure/wssecuretest"
)

const (
	stormConns = 10_000
	stormPairs = 5
)

// BenchmarkStorm is how many handshakes a second a server takes when everybody
// comes back at once over TLS 1.3, each with a token of its own that was seen
// before, beside coder alone. Each round has fresh processes.
func BenchmarkStorm(b *testing.B) {
	for _, resumed := range []bool{false, true} {
		name := map[bool]string{false: "full", true: "resumed"}[resumed]
		b.Run(name, func(b *testing.B) {
			if b.N > 1 {
				return // it has been measured
			}
			ratio, rate := stormRatio(b, resumed, stormConns, stormPairs)
			b.ReportMetric(ratio, "ratio")
			b.ReportMetric(rate, "handshakes/s")
			note("reconnect storm, "+name+" handshakes", "1/s", rate)
			judge(b, "15 reconnect storm, "+name+" / coder", ratio)
		})
	}
}

// stormRatio is the median of the pairs, and that of the guard's handshakes a second.
func stormRatio(tb testing.TB, resumed bool, conns, pairs int) (ratio, rate float64) {
	issuer := wssecuretest.NewIssuer(tb, testIssuer)
	tokens := make([]string, conns)
	for i := range tokens {
		tokens[i] = issuer.Sign("ES256", issuer.Claims(fmt.Sprintf("subject-%d", i), map[string]any{"scope": "ws:read ws:write", "client_id": "web"}))
	}
	line, err := json.Marshal(tokens)
	if err != nil {
		tb.Fatal(err)
	}
	seconds := func(guarded bool) (took float64) {
		server := start(tb, "stormed", stormServerArguments{guarded, conns, issuer.JWKS()})
		defer server.stop()
		var to string
		server.ask(tb, "", &to)
		clients := start(tb, "storm", stormArguments{to, resumed})
		defer clients.stop()
		clients.ask(tb, string(line), &took)
		return took
	}
	var ratios, rates []float64
	for i := range pairs {
		var took [2]float64 // of coder, and of the guard
		for _, side := range [2]int{i % 2, 1 - i%2} {
			took[side] = seconds(side == 1)
		}
		ratios, rates = append(ratios, took[0]/took[1]), append(rates, float64(conns)/took[1])
	}
	return quantile(ratios, 0.5), quantile(rates, 0.5)
}

// TestStorm: what all of them must come through is default.
func TestStorm(t *testing.T) {
	for _, resumed := range []bool{false, true} {
		stormRatio(t, resumed, 64, 1)
	}
}
