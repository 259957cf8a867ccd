package benchmarks

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
)

// BenchmarkAdmitted is a handshake with a token seen before, through to the end
// of its session, beside coder/websocket with the duties of any real server.
func BenchmarkAdmitted(b *testing.B) {
	b.Run("beside coder, cut", func(b *testing.B) {
		judge(b, "1 admitted, token seen before / coder with duties", compare(b, coderWithDuties(b), admitted(b)).ratio)
	})
	b.Run("beside coder, closed", func(b *testing.B) {
		judge(b, "1 admitted, token seen before / coder with duties, closed properly", compare(b, coderClosing(b), admitted(b)).ratio)
	})
}

// BenchmarkAdmittedAlone is the same without its baseline, for profiles.
func BenchmarkAdmittedAlone(b *testing.B) {
	run := admitted(b)
	b.ReportAllocs()
	b.ResetTimer()
	run(b.N)
}

// BenchmarkAdmittedTLS is a whole admission over TLS 1.3 with a full handshake,
// in the server's time on the processors, beside bare coder's. The client is a
// process of its own, and leaves at once: both sides read until then.
func BenchmarkAdmittedTLS(b *testing.B) {
	g, token := newGuard(b, slog.DiscardHandler)
	ours := g.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
		_, _, err := c.Read(ctx)
		return err
	})
	theirs := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := acceptCoder(w, r); err == nil {
			_ = s.idle()
			_ = s.close()
		}
	})
	bare := dialled(b, theirs, token)
	b.Run("beside coder", func(b *testing.B) {
		judge(b, "14 TLS 1.3 admission, server CPU / coder", compareBy(b, cpuTime, bare, dialled(b, ours, token)).ratio)
	})
	// What of it any server has to pay that frees the handler's goroutine.
	b.Run("coder with duties", func(b *testing.B) {
		note("TLS 1.3 admission, coder with duties, server CPU / coder", "ratio", compareBy(b, cpuTime, bare, dialled(b, http.HandlerFunc(dutiful), token)).ratio)
	})
}

// dutiful is coder/websocket with user code on a goroutine of its own, a context
// to cancel it, and a timer.
func dutiful(w http.ResponseWriter, r *http.Request) {
	s, err := acceptCoder(w, r)
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	timer := time.AfterFunc(time.Hour, cancel)
	go func() {
		_ = s.idle()
		_ = ctx.Err() // what user code would do with it
		cancel()
		timer.Stop()
		_ = s.close()
	}()
}

// dialled serves h over TLS to a dialler.
func dialled(b *testing.B, h http.Handler, token string) func(n int) {
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(b)}} // httptest's own is of RSA
	srv.StartTLS()
	b.Cleanup(srv.Close)
	client := start(b, "dialler", diallerArguments{To: srv.Listener.Addr().String(), Token: token})
	return func(n int) {
		var done int
		client.ask(b, strconv.Itoa(n), &done)
	}
}

func certificate(b *testing.B) tls.Certificate {
	cert, err := newCertificate()
	if err != nil {
		b.Fatal(err)
	}
	return cert
}

// TestAdmittedAllocatesLittle keeps what a handshake and its session's end
// allocate from growing: 38 of the allocations, and 2.1 KB, are coder's own.
func TestAdmittedAllocatesLittle(t *testing.T) {
	const allocs, bytes = 56, 4750
	run := admitted(t)
	run(1000) // the pools are filled, the token is seen
	var before, after runtime.MemStats
	const n = 5000
	runtime.ReadMemStats(&before)
	run(n)
	runtime.ReadMemStats(&after)
	if each := float64(after.Mallocs-before.Mallocs) / n; each > allocs+0.5+3*spilled { // it takes from many pools
		t.Errorf("%.1f allocations, want at most %d", each, allocs)
	}
	if each := float64(after.TotalAlloc-before.TotalAlloc) / n; each > bytes*(1+spilled) {
		t.Errorf("%.0f bytes, want at most %d", each, bytes)
	}
}
