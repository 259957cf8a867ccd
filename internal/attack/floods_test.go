package attack_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/probe"
)

// A server that takes its time for the first messages as for the last is slow: whether it has a bound nobody can say. One
// that takes it behind a burst has one. Who answers no ping, not even behind a few messages, has shown no lack of one.
func TestASlowServerHasShownNoBound(t *testing.T) {
	const worked = 5 * time.Second
	const slow = 400 * time.Millisecond // for each twentieth: more in all than a flood takes a server at rest
	for _, row := range []struct {
		name  string
		pings []time.Duration // how long it takes for each
		want  attack.State
	}{
		{"at rest", []time.Duration{0, worked - time.Millisecond}, attack.Broken},
		{"bounded, and done in the end", []time.Duration{0, worked + time.Millisecond}, attack.Held},
		{"bounded, and not quick", []time.Duration{slow, 38*slow + time.Millisecond}, attack.Held},
		{"slow", []time.Duration{slow, 19 * slow}, attack.Unclear},
		{"slow beyond measure", []time.Duration{2 * slow}, attack.Unclear},
		{"bounded", []time.Duration{0}, attack.Held},
		{"silent", nil, attack.Held},
	} {
		t.Run(row.name, inFakeTime(func(t *testing.T) {
			done := make(chan struct{})
			t.Cleanup(func() { close(done) })
			target := served(t, func(w http.ResponseWriter, r *http.Request) {
				c, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					return
				}
				defer c.Close()
				fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", probe.Accept(r.Header.Get("Sec-WebSocket-Key")))
				peer := probe.New(c)
				for _, took := range row.pings {
					ping, err := nextPing(peer)
					if err != nil {
						return
					}
					select {
					case <-time.After(took):
					case <-done:
						return
					}
					c.Write(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Pong, Payload: ping}))
				}
				io.Copy(io.Discard, c)
			})
			target.Active = true
			if v := try(t, prepared(t, target), "flood-messages"); v.State != row.want {
				t.Errorf("%s, want %s: %+v", v.State, row.want, v)
			}
		}))
	}
}

// nextPing is the payload of the next ping that comes.
func nextPing(c *probe.Conn) ([]byte, error) {
	for {
		f, err := c.SkimFrame(time.Now().Add(time.Minute))
		if err != nil || f.Opcode == probe.Ping {
			return f.Payload, err
		}
	}
}
