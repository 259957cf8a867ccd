package benchmarks

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/wssecuretest"
)

// lots is a rate that does not hold up a benchmark.
var lots = wssecure.Rate{N: 1_000_000_000, Per: time.Millisecond, Burst: 1_000_000_000}

// newGuard is a guard as in the package's first example, with the rates raised
// that would hold up a benchmark, and a token that it has not seen yet.
func newGuard(tb testing.TB, log slog.Handler, more ...wssecure.Option) (*wssecure.Guard, string) {
	tb.Helper()
	return guardOf(tb, wssecuretest.NewIssuer(tb, testIssuer), log, append([]wssecure.Option{manyHandshakes}, more...)...)
}

var manyHandshakes = wssecure.LimitHandshakes(wssecure.ByIP(), lots)

// guardOf is newGuard with the default rate of handshakes, and with an issuer whose keys another side has too.
func guardOf(tb testing.TB, issuer *wssecuretest.Issuer, log slog.Handler, more ...wssecure.Option) (*wssecure.Guard, string) {
	tb.Helper()
	options := append([]wssecure.Option{
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(issuer.JWKS(), issuer.URL, wssecuretest.Audience)),
		wssecure.InsecureAllowPlaintext("measured without a network"),
		wssecure.LimitConns(wssecure.BySubject(), 10_000),
		wssecure.SetLogger(slog.New(log)),
	}, more...)
	g, err := wssecure.New(options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { // nothing of one benchmark runs in the next
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = g.Shutdown(ctx)
	})
	return g, issuer.Sign("RS256", issuer.Claims("alice", memnet.Claims()))
}

// admitted runs whole sessions through a guard, one after the other: user code
// returns at once, and the next handshake comes when the guard is done with it.
func admitted(tb testing.TB) func(n int) {
	ended := make(chan struct{}, 1)
	g, token := newGuard(tb, memnet.DeafLog{Ended: ended})
	handler := g.ConnHandler(func(context.Context, *wssecure.Conn) error { return nil })
	r, w, keys := memnet.Request(token), memnet.NewWriter(&memnet.Conn{}), &memnet.Nonces{}
	return func(n int) {
		for range n {
			keys.Set(r)
			handler.ServeHTTP(w.Again(), r)
			if w.Status != 0 {
				tb.Fatalf("refused with %d", w.Status)
			}
			<-ended
		}
	}
}

// coderWithDuties is coder/websocket with what a server without a guard needs
// as well: user code on a goroutine of its own, a context to cancel it, a timer
// and a list of who is there. The connection is cut.
func coderWithDuties(tb testing.TB) func(n int) { return duties(tb, (*coder.Conn).CloseNow) }

// coderClosing is coderWithDuties that says goodbye, as the guard does.
func coderClosing(tb testing.TB) func(n int) {
	return duties(tb, func(c *coder.Conn) error { return c.Close(coder.StatusNormalClosure, "") })
}

func duties(tb testing.TB, hangUp func(*coder.Conn) error) func(n int) {
	var mu sync.Mutex
	live := map[*coder.Conn]struct{}{}
	ended := make(chan struct{}, 1)
	handler := func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, &coder.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			tb.Error(err)
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		timer := time.AfterFunc(time.Hour, cancel)
		mu.Lock()
		live[c] = struct{}{}
		mu.Unlock()
		go func() {
			_ = ctx.Err() // what user code would do with it
			cancel()
			timer.Stop()
			_ = hangUp(c)
			mu.Lock()
			delete(live, c)
			mu.Unlock()
			ended <- struct{}{}
		}()
	}
	r, w, keys := memnet.Request(""), memnet.NewWriter(&memnet.Conn{}), &memnet.Nonces{}
	return func(n int) {
		for range n {
			keys.Set(r)
			handler(w.Again(), r)
			<-ended
		}
	}
}
