package attack_test

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/attack"
)

// A server that answers honest handshakes and hangs at everything else costs each attack the steps that it makes.
func TestTimeoutBoundsEveryStep(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	target := served(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" && r.Proto == "HTTP/1.1" && len(r.Header) == 5 && r.Header.Get("Origin") == "https://app.example.com" {
			admit(w, r)
			return
		}
		<-done
	})
	t.Cleanup(func() { close(done) })
	prepared(t, target)
	target.Timeout = 300 * time.Millisecond
	unclear := 0
	var late []attack.Attack
	attack.Run(t.Context(), target, attack.All(), func(r attack.Result) {
		if r.Verdict.State == attack.Unclear {
			unclear++
		}
		if r.Took > 12*target.Timeout { // eight steps
			late = append(late, r.Attack)
		}
	})
	if unclear < 40 {
		t.Errorf("nothing can be said of %d", unclear)
	}
	for _, a := range late {
		wantWithin(t, a.ID, 12*target.Timeout, func() { a.Try(t.Context(), target) })
	}
}

// wantWithin wants f to be as quick as that once: a busy machine makes some calls late, what waits too long is late each
// time.
func wantWithin(t *testing.T, what string, most time.Duration, f func()) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		began := time.Now()
		f()
		took := time.Since(began)
		if took <= most {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s took %v, want %v", what, took, most)
			return
		}
	}
}

// So does one that takes connections and ends no TLS handshake, from the first on or later.
func TestTimeoutBoundsDialling(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var dialled atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			dialled.Add(1)
			go io.Copy(io.Discard, c)
		}
	}()
	target := &attack.Target{URL: "wss://" + l.Addr().String(), Timeout: 200 * time.Millisecond}
	tried := int32(0)
	wantWithin(t, "dialling", 2*time.Second, func() {
		if err := target.Prepare(t.Context()); err == nil {
			t.Error("it passes for an endpoint")
		}
		tried++
	})
	if n := dialled.Load(); n > tried {
		t.Errorf("%d connections, want %d", n, tried)
	}
}
