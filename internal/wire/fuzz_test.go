package wire_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/wssecure/wssecure/internal/wire"
)

// FuzzOutbound: however a library cuts its frames into Writes, the same bytes
// go out, in the same order, with the same counts and the same verdict.
func FuzzOutbound(f *testing.F) {
	f.Add(join(plain(fin|opText, []byte("a")), plain(opBinary, make([]byte, 600)), plain(fin, nil)), uint16(3))
	f.Add(join(plain(fin|opPing, nil), plain(fin|opClose, closing(1000, "bye")), plain(fin|opText, nil)), uint16(1))
	f.Add(plain(fin|opBinary, make([]byte, 70000)), uint16(513))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"), uint16(4))
	f.Fuzz(func(t *testing.T, stream []byte, size uint16) {
		write := func(size int) ([]byte, wire.Counters, wire.Violation) {
			raw := &tape{}
			s := newSession(raw, nil, open(), nil)
			s.code = 0
			for p := range slices.Chunk(stream, size) {
				if n, err := s.conn.Write(p); err != nil || n != len(p) {
					break
				}
			}
			v := s.violation()
			s.conn.Cut()
			<-s.done
			return raw.wrote, s.conn.Counters(), v
		}
		whole, counters, v := write(len(stream) + 1)
		cut, counters2, v2 := write(int(size) + 1)
		if v != v2 {
			t.Fatalf("verdicts %d and %d", v, v2)
		}
		for _, wrote := range [][]byte{whole, cut} {
			if !bytes.HasPrefix(stream, wrote) {
				t.Fatal("other bytes on the wire than were written")
			}
			if held := len(stream) - len(wrote); v == 0 && held > 512 {
				t.Errorf("%d bytes held back", held)
			}
		}
		counters.OutBytes, counters2.OutBytes = 0, 0
		if counters != counters2 {
			t.Errorf("%+v and %+v", counters, counters2)
		}
	})
}

// FuzzHead: no 101 gets through but with the accept value, a subprotocol from
// the list at most, no extension, and one HSTS line.
func FuzzHead(f *testing.F) {
	f.Add([]byte(plain101+"\r\n"), uint16(10))
	f.Add([]byte(plain101+"Sec-WebSocket-Protocol: chat\r\nX: y\r\n\r\nframes"), uint16(1))
	f.Add([]byte(plain101+"X: a\nSec-WebSocket-Protocol: admin\r\n\r\n"), uint16(999))
	f.Add([]byte("HTTP/1.1 404 Not Found\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n"), uint16(7))
	f.Add([]byte("HTTP/1.1 103 Early Hints\r\n\r\n"+plain101+"\r\n"), uint16(7))
	f.Fuzz(func(t *testing.T, stream []byte, size uint16) {
		raw := &tape{}
		s := newSession(raw, nil, open(), wantHead())
		for p := range slices.Chunk(stream, int(size)+1) {
			if _, err := s.conn.Write(p); err != nil {
				break
			}
		}
		s.conn.Cut()
		<-s.done
		status := s.conn.Counters().Status
		head, _, _ := strings.Cut(string(raw.wrote), "\r\n\r\n")
		if opened := strings.HasPrefix(head, "HTTP/1.1 101"); !opened {
			if s.opened != 0 || strings.HasPrefix(head, "HTTP/1.1 1") {
				t.Errorf("opened %d times, status %d: %q", s.opened, status, head)
			}
			return
		}
		lines := strings.FieldsFunc(head, func(r rune) bool { return r == '\r' || r == '\n' })
		count := map[string]int{}
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ":")
			name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
			count[name]++
			if name == "sec-websocket-accept" && value != accept || name == "sec-websocket-extensions" ||
				name == "sec-websocket-protocol" && value != "chat" && value != "bearer" {
				t.Errorf("passed: %q", line)
			}
		}
		if s.opened != 1 || count["sec-websocket-accept"] != 1 || count["sec-websocket-protocol"] > 1 || count["strict-transport-security"] < 1 {
			t.Errorf("opened %d times: %q", s.opened, head)
		}
	})
}
