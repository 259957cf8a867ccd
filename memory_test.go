package wssecure_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/wssecuretest"
)

// lots is a rate that does not hold up a benchmark.
var lots = wssecure.Rate{N: 1_000_000_000, Per: time.Millisecond, Burst: 1_000_000_000}

// fastHandshakes is for those that are not about the rate of handshakes.
var fastHandshakes = wssecure.LimitHandshakes(wssecure.ByIP(), lots)

// memGuard is a guard as in the package's first example, with the limits of its
// sessions raised, and a token that it has not seen yet.
func memGuard(tb testing.TB, log memnet.DeafLog, more ...wssecure.Option) (*wssecure.Guard, string) {
	tb.Helper()
	issuer := wssecuretest.NewIssuer(tb, "https://id.example.com")
	options := append([]wssecure.Option{
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(issuer.JWKS(), "https://id.example.com", wssecuretest.Audience)),
		wssecure.InsecureAllowPlaintext("measured without a network"),
		wssecure.LimitConns(wssecure.BySubject(), 10_000),
		wssecure.LimitSession(wssecure.Limits{Messages: lots, Bytes: lots}),
		wssecure.SetLogger(slog.New(log)),
	}, more...)
	g, err := wssecure.New(options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { // nothing of one test runs in the next
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = g.Shutdown(ctx)
	})
	return g, issuer.Sign("RS256", issuer.Claims("alice", memnet.Claims()))
}
