package benchmarks

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/wssecuretest"
)

// politeConn is a peer that says nothing until it is sent a close frame, and
// answers that at once.
type politeConn struct {
	memnet.Conn
	asked  chan struct{} // a close frame has come
	once   sync.Once
	given  atomic.Bool
	closed func()
}

// goodbye is a client's close frame of code 3000.
var goodbye = []byte{0x88, 0x82, 0, 0, 0, 0, 0x0B, 0xB8}

func (c *politeConn) Read(p []byte) (int, error) {
	<-c.asked
	if c.given.Swap(true) {
		return 0, io.EOF
	}
	return copy(p, goodbye), nil
}

func (c *politeConn) Write(p []byte) (int, error) {
	if p[0] == 0x88 {
		c.once.Do(func() { close(c.asked) })
	}
	return len(p), nil
}

func (c *politeConn) Close() error {
	c.closed()
	return nil
}

// BenchmarkRevoke is how long a revocation takes, from its call to the last
// socket's end, beside many that it is not about.
func BenchmarkRevoke(b *testing.B) {
	const subjects, each, revoked = 1_000, 50, 20
	if b.N > 1 {
		return // once is enough
	}
	issuer := wssecuretest.NewIssuer(b, testIssuer)
	g, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(issuer.JWKS(), testIssuer, wssecuretest.Audience)),
		wssecure.InsecureAllowPlaintext("measured without a network"),
		wssecure.LimitHandshakes(wssecure.ByIP(), lots),
		wssecure.LimitHandshakes(wssecure.BySubject(), lots),
		wssecure.SetLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		b.Fatal(err)
	}
	var opened atomic.Int64
	handler := g.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
		opened.Add(1)
		_, _, err := c.Read(ctx)
		return err
	})
	ended := make([]sync.WaitGroup, subjects)
	keys := &memnet.Nonces{}
	for s := range subjects {
		token := issuer.Sign("ES256", issuer.Claims(subject(s), nil))
		for range each {
			r := memnet.Request(token)
			keys.Set(r)
			ended[s].Add(1)
			conn := &politeConn{asked: make(chan struct{})}
			conn.closed = sync.OnceFunc(ended[s].Done)
			w := memnet.NewWriter(conn)
			if handler.ServeHTTP(w, r); w.Status != 0 {
				b.Fatalf("refused with %d", w.Status)
			}
		}
	}
	for opened.Load() < subjects*each {
		time.Sleep(time.Millisecond)
	}
	var took []float64
	for s := range revoked {
		start := time.Now()
		n, err := g.Revoke(context.Background(), wssecure.Subject(testIssuer, subject(s)), "measured")
		if err != nil || n != each {
			b.Fatalf("%d sessions were revoked, want %d; %v", n, each, err)
		}
		ended[s].Wait()
		took = append(took, float64(time.Since(start))/1e6)
	}
	start := time.Now()
	n, err := g.Revoke(context.Background(), wssecure.Everyone(), "measured")
	if err != nil || n != (subjects-revoked)*each {
		b.Fatalf("%d sessions were revoked, want %d; %v", n, (subjects-revoked)*each, err)
	}
	returned := float64(time.Since(start)) / 1e6
	for s := range ended {
		ended[s].Wait()
	}
	all := float64(time.Since(start)) / 1e6
	b.ReportMetric(quantile(took, 0.5), "one-median-ms")
	b.ReportMetric(quantile(took, 1), "one-slowest-ms")
	b.ReportMetric(returned, "everyone-call-ms")
	b.ReportMetric(all, "everyone-ms")
	judge(b, "revoking one subject's 50 of 50,000 sockets, the slowest of 20", quantile(took, 1))
	note("revoking everyone's 49,000 sockets", "ms", all)
}

func subject(i int) string { return fmt.Sprint("subject-", i) }
