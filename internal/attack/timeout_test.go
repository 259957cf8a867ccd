package attack_test

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/attack"
)

// A server that answers honest handshakes and hangs at everything else costs each attack the steps that it makes.
func TestTimeoutBoundsEveryStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		target := served(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "GET" && r.Proto == "HTTP/1.1" && len(r.Header) == 5 && r.Header.Get("Origin") == "https://app.example.com" {
				admit(w, r)
				return
			}
			<-done
		})
		t.Cleanup(func() { close(done) })
		target.Timeout = 300 * time.Millisecond
		prepared(t, target)
		began, unclear := time.Now(), 0
		attack.Run(t.Context(), target, attack.All(), func(r attack.Result) {
			if r.Verdict.State == attack.Unclear {
				unclear++
			}
			if r.Took > 8*target.Timeout {
				t.Errorf("%s took %v", r.Attack.ID, r.Took)
			}
		})
		if took := time.Since(began); took > 15*time.Second || unclear < 40 {
			t.Errorf("%d of which nothing can be said, after %v", unclear, took)
		}
	})
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
	began := time.Now()
	if err := target.Prepare(t.Context()); err == nil {
		t.Error("it passes for an endpoint")
	}
	if took := time.Since(began); took > time.Minute || dialled.Load() != 1 {
		t.Errorf("%d connections, %v", dialled.Load(), took)
	}
}
