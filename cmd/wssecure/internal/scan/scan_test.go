package scan_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/report"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/scan"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

func options() scan.Options {
	return scan.Options{Timeout: time.Minute, MaxTime: 10 * time.Minute, Conns: 8, Rate: 1000, Count: 2000, Version: "test"}
}

// refuses is an endpoint that admits nobody.
func refuses(t *testing.T) *endpoint.URL {
	t.Helper()
	addr := testbed.Serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) })})
	return parsed(t, "ws://"+addr+"/")
}

func parsed(t *testing.T, text string) *endpoint.URL {
	t.Helper()
	u, err := endpoint.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestProgressHearsOfEachCheckOnce(t *testing.T) {
	seen, last := map[string]bool{}, 0
	r := scan.Target(t.Context(), refuses(t), options(), func(done, all int, id string) {
		if done != last+1 || all != len(scan.Rules()) || seen[id] {
			t.Errorf("%d of %d, %s", done, all, id)
		}
		last, seen[id] = done, true
	})
	if last != len(scan.Rules()) || len(r.Findings) != last {
		t.Errorf("%d steps, %d findings, %d rules", last, len(r.Findings), len(scan.Rules()))
	}
}

func TestAnInterruptedScanHasNoGrade(t *testing.T) {
	for _, after := range []int{1, 30, 60} {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		r := scan.Target(ctx, refuses(t), options(), func(done, _ int, _ string) {
			if done == after {
				cancel()
			}
		})
		cancel()
		if r.Error != "interrupted" || r.Grade != "" {
			t.Errorf("after %d: error %q, grade %q", after, r.Error, r.Grade)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("after %d: took %v", after, took)
		}
	}
}

func TestMaxTimeEndsAScan(t *testing.T) {
	o := options()
	o.MaxTime, o.Rate = time.Second, 5
	r := scan.Target(t.Context(), refuses(t), o, func(int, int, string) {})
	if !strings.Contains(r.Error, "--max-time") || r.Grade != "" || r.Took > time.Minute {
		t.Errorf("error %q, grade %q, took %v", r.Error, r.Grade, r.Took)
	}
}

// A server that knows handshakes only answers no page, and is an endpoint all the same.
func TestAServerWithoutPages(t *testing.T) {
	addr := testbed.Listen(t, func(c net.Conn) {
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		if strings.Contains(string(b[:n]), "Upgrade") {
			c.Write([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
		}
	})
	r := scan.Target(t.Context(), parsed(t, "ws://"+addr+"/"), options(), func(int, int, string) {})
	if r.Error != "" || r.Grade == "" || state(r, "page-csp") != "left" {
		t.Errorf("error %q, grade %q, page-csp %s", r.Error, r.Grade, state(r, "page-csp"))
	}
}

func state(r report.Target, id string) string {
	for _, f := range r.Findings {
		if f.ID == id {
			return f.State.String()
		}
	}
	return "nowhere"
}
