package attack_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/probe"
)

// A server that ends sessions whose token does not come has no hole that could be seen; one that lets them be, or ends them
// as any other, has.
func TestATokenMayComeLate(t *testing.T) {
	const never = time.Hour
	closeFrame := func(code int) []byte {
		return probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Close, Payload: []byte{byte(code >> 8), byte(code)}})
	}
	for _, row := range []struct {
		name              string
		code              int // of sessions that end; 0: without a close frame
		anonymous, honest time.Duration
		want              attack.State
		detail            string
	}{
		{"3000, and honest ones stay", 3000, 500 * time.Millisecond, never, attack.Unclear, "the token may come in the first message"},
		{"1008, and honest ones stay", 1008, 500 * time.Millisecond, never, attack.Unclear, "the token may come in the first message"},
		{"everybody who is silent", 4408, 500 * time.Millisecond, 500 * time.Millisecond, attack.Unclear, "so is an honest one"},
		{"everybody, honest ones later", 4408, 500 * time.Millisecond, 700 * time.Millisecond, attack.Unclear, "so is an honest one"},
		{"nobody", 0, never, never, attack.Broken, ""},
		{"later than anybody waits", 3000, 3 * time.Second, never, attack.Broken, ""},
		{"as any session ends", 1000, 500 * time.Millisecond, never, attack.Broken, ""},
		{"the server goes", 1001, 500 * time.Millisecond, never, attack.Broken, ""},
		{"cut", 0, 500 * time.Millisecond, never, attack.Broken, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			done := make(chan struct{})
			t.Cleanup(func() { close(done) })
			target := served(t, func(w http.ResponseWriter, r *http.Request) {
				c, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					return
				}
				defer c.Close()
				fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", probe.Accept(r.Header.Get("Sec-WebSocket-Key")))
				patience := row.anonymous
				if r.Header.Get("Authorization") == "Bearer good" {
					patience = row.honest
				}
				select {
				case <-time.After(patience):
					if row.code != 0 {
						c.Write(closeFrame(row.code))
					}
				case <-done:
				}
			})
			target.Token, target.Patience = func() string { return "good" }, 1200*time.Millisecond
			v := try(t, prepared(t, target), "token-missing")
			if v.State != row.want || !strings.Contains(v.Detail, row.detail) {
				t.Errorf("%s, want %s: %+v", v.State, row.want, v)
			}
		})
	}
}
