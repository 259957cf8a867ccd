package attack_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/probe"
)

// upgrading completes every handshake and then does as end says with those whose Origin is not the good one.
func upgrading(end func(c net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", probe.Accept(r.Header.Get("Sec-WebSocket-Key")))
		if r.Header.Get("Origin") != "https://app.example.com" {
			end(c)
			return
		}
		bufio.NewReader(c).ReadByte() // until the client goes
	}
}

func closing(code int, reason string) func(c net.Conn) {
	return func(c net.Conn) {
		c.Write(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Close, Payload: append([]byte{byte(code >> 8), byte(code)}, reason...)}))
	}
}

// A 101 with a close frame behind it is how some servers say no. One that ends well, or after a message, is none.
func TestA101ThatIsTakenBackIsARefusal(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(c net.Conn)
		want attack.State
	}{
		{"1008", closing(1008, "no"), attack.Held},
		{"3000", closing(3000, ""), attack.Held},
		{"4401", closing(4401, "\x1b[2J"), attack.Held},
		{"cut", func(net.Conn) {}, attack.Held},
		{"try again later", closing(1013, ""), attack.Unclear},
		{"1000", closing(1000, ""), attack.Broken},
		{"1001", closing(1001, ""), attack.Broken},
		{"1002: it reads frames", closing(1002, ""), attack.Broken},
		{"1011: user code failed", closing(1011, ""), attack.Broken},
		{"no code", func(c net.Conn) { c.Write([]byte{0x88, 0}) }, attack.Broken},
		{"a message first", func(c net.Conn) {
			c.Write(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Text, Payload: []byte("secret")}))
			closing(1008, "")(c)
		}, attack.Broken},
		{"open", func(c net.Conn) { bufio.NewReader(c).ReadByte() }, attack.Broken},
	} {
		t.Run(row.name, inFakeTime(func(t *testing.T) {
			v := try(t, prepared(t, served(t, upgrading(row.end))), "origin-foreign")
			if v.State != row.want || strings.ContainsRune(v.Got, 0x1b) {
				t.Errorf("%s, want %s: %+v", v.State, row.want, v)
			}
		}))
	}
}

// Where even the honest one is taken back, nobody was admitted.
func TestAnHonest101ThatIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := served(t, upgrading(closing(3000, "another token")))
		target.Origin = "https://other.example.com"
		prepared(t, target)
		if ok, got := target.Admitted(); ok || !strings.Contains(got, "closed with 3000 another token") {
			t.Errorf("admitted %v: %s", ok, got)
		}
		if v := try(t, target, "origin-null"); v.State != attack.Unclear {
			t.Errorf("%+v", v)
		}
	})
}
