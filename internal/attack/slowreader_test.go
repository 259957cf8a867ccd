package attack_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/probe"
)

// What is not read piles up only where much is sent: a server that answers little has nothing to end a session for, and one
// that reads slowly is not seen to wait for its peer.
func TestSlowReadersOfLittle(t *testing.T) {
	t.Parallel()
	little := probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Text, Payload: []byte("ok")})
	for _, row := range []struct {
		name    string
		serve   func(c *probe.Conn) // a session
		patient time.Duration
		want    attack.State
	}{
		{"an answer of two bytes to each message", func(c *probe.Conn) {
			for c.Timeout = time.Minute; ; {
				f, err := c.ReadFrame()
				if err != nil || c.Send(little) != nil {
					return
				}
				if f.Opcode == probe.Ping {
					c.SendFrame(probe.Frame{FIN: true, Opcode: probe.Pong, Payload: f.Payload})
				}
			}
		}, time.Minute, attack.Held},
		{"an answer to the first message, and nothing read behind it", func(c *probe.Conn) {
			c.ReadFrame()
			c.Send(little)
			<-t.Context().Done()
		}, time.Second, attack.Unclear},
		{"no answers", func(c *probe.Conn) { io.Copy(io.Discard, c.NetConn()) }, time.Second, attack.Left},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			target := overTCP(t, func(w http.ResponseWriter, r *http.Request) {
				nc, rw, err := w.(http.Hijacker).Hijack()
				if err != nil {
					return
				}
				defer nc.Close()
				io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+probe.Accept(r.Header.Get("Sec-WebSocket-Key"))+"\r\n\r\n")
				if rw.Reader.Buffered() > 0 {
					return // no client of this test is so early
				}
				row.serve(probe.New(nc))
			})
			target.Active, target.Patience = true, row.patient
			prepared(t, target)
			target.Timeout = row.patient
			if v := try(t, target, "slow-reader"); v.State != row.want {
				t.Errorf("%s, want %s: %+v", v.State, row.want, v)
			}
		})
	}
}
