package wire_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

const accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

func wantHead() *wire.Head {
	return &wire.Head{Accept: accept, Protocols: []string{"chat", "bearer"}, HSTS: "max-age=31536000"}
}

// answer is a head of CRLF lines without the blank one.
func answer(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

var plain101 = answer("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: "+accept)

const hstsLine = "Strict-Transport-Security: max-age=31536000\r\n"

func TestHeadOpens(t *testing.T) {
	for _, row := range []struct {
		id, head, want string // without the blank line
		change         func(h *wire.Head)
	}{
		{"D-16 HSTS inserted", plain101, plain101 + hstsLine, nil},
		{"D-16 none over plaintext", plain101, plain101, func(h *wire.Head) { h.HSTS = "" }},
		{"H-34 the library's own wins", plain101 + "strict-transport-SECURITY: max-age=1\r\n", plain101 + "strict-transport-SECURITY: max-age=1\r\n", nil},
		{"H-34 foreign lines stay", plain101 + "X-Served-By: a\r\nSet-Cookie: b=c\r\n", plain101 + "X-Served-By: a\r\nSet-Cookie: b=c\r\n" + hstsLine, nil},
		{"A-52 marker", plain101, plain101 + "Sec-WebSocket-Protocol: bearer\r\n" + hstsLine, func(h *wire.Head) { h.Marker = "bearer" }},
		{"A-52 the library's choice", plain101 + "Sec-WebSocket-Protocol: chat\r\n", plain101 + "Sec-WebSocket-Protocol: chat\r\n" + hstsLine, func(h *wire.Head) { h.Marker = "bearer" }},
		{"W-20 other spelling", answer("HTTP/1.1 101", "UPGRADE:WebSocket", "connection: keep-alive, upgrade", "sec-websocket-accept:  "+accept+" "), answer("HTTP/1.1 101", "UPGRADE:WebSocket", "connection: keep-alive, upgrade", "sec-websocket-accept:  "+accept+" ") + hstsLine, nil},
		{"W-22 deflate let through", plain101 + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n", plain101 + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n" + hstsLine, func(h *wire.Head) { h.Extensions = true }},
		{"W-22 8 KiB", plain101 + "X: " + strings.Repeat("x", 8192-len(plain101)-7) + "\r\n", plain101 + "X: " + strings.Repeat("x", 8192-len(plain101)-7) + "\r\n" + hstsLine, nil},
	} {
		t.Run(row.id, func(t *testing.T) {
			h := wantHead()
			if row.change != nil {
				row.change(h)
			}
			stream := row.head + "\r\n" + string(plain(fin|opText, []byte("first")))
			want := row.want + "\r\n" + string(plain(fin|opText, []byte("first")))
			write := func(how string, pieces ...string) {
				t.Helper()
				raw := &tape{}
				s := newSession(raw, nil, open(), h)
				sent := 0
				for _, p := range pieces {
					if n, err := s.conn.Write([]byte(p)); n != len(p) || err != nil {
						t.Fatalf("%s: %d of %d, %v", how, n, len(p), err)
					}
					if sent += len(p); (sent >= len(row.head)+2) != (s.opened == 1) {
						t.Fatalf("%s: opened %d times after %d of %d bytes", how, s.opened, sent, len(row.head)+2)
					}
				}
				if c := s.conn.Counters(); string(raw.wrote) != want || c.Status != 101 || c.OutMessages != 1 || c.OutBytes != 7 {
					t.Fatalf("%s: %+v, on the wire:\n%s", how, c, raw.wrote)
				}
				s.conn.Cut()
				<-s.done
			}
			write("whole", stream)
			for i := 1; i < len(stream); i += 1 + i/200 {
				write("cut", stream[:i], stream[i:])
			}
			if len(stream) < 1000 {
				write("bytewise", strings.Split(stream, "")...)
			}
		})
	}
}

func TestHeadRefused(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(plain101, old, new, 1) }
	for _, row := range []struct{ id, head string }{
		{"W-22 wrong accept", replace("s3pP", "S3pP")},
		{"W-22 no accept", answer("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")},
		{"W-22 two accepts", plain101 + "Sec-WebSocket-Accept: " + accept + "\r\n"},
		{"W-22 subprotocol not offered", plain101 + "Sec-WebSocket-Protocol: admin\r\n"},
		{"W-22 two subprotocols", plain101 + "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n"},
		{"W-22 subprotocol list", plain101 + "Sec-WebSocket-Protocol: chat, bearer\r\n"},
		{"W-22 extension", plain101 + "Sec-WebSocket-Extensions: permessage-deflate\r\n"},
		{"W-22 upgrade to another protocol", replace("websocket", "h2c")},
		{"W-22 no connection token", replace("Connection: Upgrade", "Connection: close")},
		{"W-22 not HTTP", "SSH-2.0-OpenSSH\r\n"},
		{"W-22 frames without a head", string(plain(fin|opText, []byte("x\r\n\r\n")))},
		{"W-22 HTTP/1.0", replace("HTTP/1.1", "HTTP/1.0")},
		{"W-22 interim status", answer("HTTP/1.1 103 Early Hints") + "\r\n" + plain101},
		{"W-22 status of four digits", replace("101", "1010")},
		{"W-22 bare LF", plain101 + "X: a\nSec-WebSocket-Protocol: admin\r\n"},
		{"W-22 bare CR", plain101 + "X: a\rb\r\n"},
		{"W-22 folded line", plain101 + "X: a\r\n b\r\n"},
		{"W-22 blank before the colon", plain101 + "Sec-WebSocket-Protocol : admin\r\n"},
		{"W-22 line without a colon", plain101 + "x\r\n"},
		{"W-22 over 8 KiB", plain101 + "X: " + strings.Repeat("x", 8192-len(plain101)-6) + "\r\n"},
		{"W-22 endless", plain101 + "X: " + strings.Repeat("x", 1<<20)},
	} {
		t.Run(row.id, func(t *testing.T) {
			for _, size := range []int{1 << 30, 100} {
				raw := &tape{}
				s := newSession(raw, nil, open(), wantHead())
				var err error
				for p := range slices.Chunk([]byte(row.head+"\r\n"), size) {
					if _, err = s.conn.Write(p); err != nil {
						break
					}
				}
				wantEnd(t, err, wire.BadHead)
				s.conn.Cut()
				<-s.done
				if got := string(raw.wrote); !strings.HasPrefix(got, "HTTP/1.1 500 ") || strings.Contains(got, "101") {
					t.Errorf("on the wire: %q", got)
				}
				if s.opened != 0 {
					t.Error("opened")
				}
			}
		})
	}
	t.Run("W-22 other extensions than deflate", func(t *testing.T) {
		for _, ext := range []string{"permessage-deflate; a, x", "x", "x-webkit-deflate-frame"} {
			h := wantHead()
			h.Extensions = true
			s := newSession(&tape{}, nil, open(), h)
			_, err := s.conn.Write([]byte(plain101 + "Sec-WebSocket-Extensions: " + ext + "\r\n\r\n"))
			wantEnd(t, err, wire.BadHead)
		}
	})
}

// TestHeadDecidesDeflate: what the head names, not what was let through, is
// what frames may use.
func TestHeadDecidesDeflate(t *testing.T) {
	for _, named := range []bool{true, false} {
		h, l := wantHead(), open()
		h.Extensions, l.Deflate = true, true
		s := newSession(&script{packets: [][]byte{masked(fin|rsv1|opText, []byte("x"))}}, nil, l, h)
		head := plain101
		want := wire.Protocol
		if named {
			head += "Sec-WebSocket-Extensions: permessage-deflate\r\n"
			want = wire.PeerGone
		}
		if _, err := s.conn.Write([]byte(head + "\r\n")); err != nil {
			t.Fatal(err)
		}
		_, err := readAll(s.conn, 100)
		wantEnd(t, err, want)
	}
}

// TestEndDuringTheHead: who has been promised a session is told of its end.
func TestEndDuringTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, peer := net.Pipe()
		s := newSession(raw, nil, open(), wantHead())
		go s.conn.Write([]byte(plain101 + "\r\n"))
		synctest.Wait() // the peer does not read yet
		s.conn.Finish(3000, "revoked")
		synctest.Wait()
		got, _ := io.ReadAll(peer)
		<-s.done
		if want := plain101 + hstsLine + "\r\n" + string(plain(fin|opClose, closing(3000, "revoked"))); string(got) != want {
			t.Errorf("on the wire: %q", got)
		}
	})
}

func TestOtherStatus(t *testing.T) {
	const head = "HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\n"
	t.Run("W-21 passed on, closed", func(t *testing.T) {
		for _, cut := range []int{1, 10, len(head) - 1, len(head), len(head) + 2} {
			synctest.Test(t, func(t *testing.T) {
				raw, peer := net.Pipe()
				s := newSession(raw, nil, open(), wantHead())
				got := make(chan string)
				go func() { b, _ := io.ReadAll(peer); got <- string(b) }()
				whole := head + "nope"
				for _, p := range []string{whole[:cut], whole[cut:]} {
					if n, err := s.conn.Write([]byte(p)); n != len(p) || err != nil {
						t.Errorf("%d of %d, %v", n, len(p), err)
					}
				}
				if v := s.violation(); v != 0 {
					t.Errorf("ended by %d before its close", v)
				}
				s.conn.Close()
				finishedAfter(t, s, 0)
				if b := <-got; b != whole {
					t.Errorf("on the wire: %q", b)
				}
				if v, c := s.violation(), s.conn.Counters(); v != wire.OtherStatus || c.Status != 400 || s.opened != 0 {
					t.Errorf("violation %d, %+v, opened %d", v, c, s.opened)
				}
			})
		}
	})
	t.Run("W-21 never closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			raw, peer := net.Pipe()
			s := newSession(raw, nil, open(), wantHead())
			go io.Copy(io.Discard, peer)
			s.conn.Write([]byte(head))
			finishedAfter(t, s, 30*time.Second)
			if v := s.violation(); v != wire.OtherStatus {
				t.Errorf("violation %d", v)
			}
		})
	})
	t.Run("W-21 taken and forgotten", func(t *testing.T) {
		for _, wrote := range []string{"", head[:20]} {
			synctest.Test(t, func(t *testing.T) {
				raw, peer := net.Pipe()
				s := newSession(raw, nil, open(), wantHead())
				go io.Copy(io.Discard, peer)
				s.conn.Write([]byte(wrote))
				finishedAfter(t, s, 30*time.Second)
				if v := s.violation(); v != wire.NoHead || s.opened != 0 {
					t.Errorf("violation %d, opened %d", v, s.opened)
				}
			})
		}
	})
	t.Run("W-21 a head in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			raw, peer := net.Pipe()
			s := newSession(raw, nil, open(), wantHead())
			go io.Copy(io.Discard, peer)
			time.Sleep(29 * time.Second)
			s.conn.Write([]byte(plain101 + "\r\n"))
			time.Sleep(10 * time.Second)
			if v := s.violation(); v != 0 || s.opened != 1 {
				t.Errorf("violation %d, opened %d", v, s.opened)
			}
			s.conn.Cut()
			<-s.done
		})
	})
	t.Run("W-21 closed without a head", func(t *testing.T) {
		s := newSession(&tape{}, nil, open(), wantHead())
		s.conn.Close()
		<-s.done
		if v := s.violation(); v != wire.AppClosed || s.opened != 0 || s.conn.Counters().Status != 0 {
			t.Errorf("violation %d, opened %d", v, s.opened)
		}
	})
}

// TestEndBeforeTheHead: what has ended is never opened.
func TestEndBeforeTheHead(t *testing.T) {
	raw := &tape{}
	s := newSession(raw, nil, open(), wantHead())
	s.conn.Write([]byte(plain101))
	s.conn.Finish(3000, "revoked")
	_, err := s.conn.Write([]byte("\r\n"))
	wantEnd(t, err, wire.AppClosed)
	<-s.done
	if len(raw.wrote) != 0 || s.opened != 0 {
		t.Errorf("opened %d times, on the wire: %q", s.opened, raw.wrote)
	}
}

// TestEndWhileOpening: a revocation that meets the head half-way keeps it back.
func TestEndWhileOpening(t *testing.T) {
	raw := &tape{}
	s := newSession(raw, nil, open(), wantHead())
	s.opening = func() { s.conn.Finish(3000, "revoked") }
	_, err := s.conn.Write([]byte(plain101 + "\r\n"))
	wantEnd(t, err, wire.AppClosed)
	<-s.done
	if len(raw.wrote) != 0 {
		t.Errorf("on the wire: %q", raw.wrote)
	}
}

// TestHeadThenFrames: a session that opened by its head pings like any other,
// and early bytes are read first.
func TestHeadThenFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, peer := net.Pipe()
		early := masked(fin|opText, []byte("early"))
		s := newSession(raw, early, open(), wantHead())
		go func() {
			fmt.Fprint(s.conn, plain101+"\r\n")
		}()
		io.ReadFull(peer, make([]byte, len(plain101)+len(hstsLine)+2))
		got := make([]byte, 100)
		if n, err := s.conn.Read(got); !bytes.Equal(got[:n], early) {
			t.Errorf("%x, %v", got[:n], err)
		}
		if first, _ := readFrame(t, peer); first != fin|opPing {
			t.Errorf("frame %x", first)
		}
		s.conn.Cut()
		<-s.done
	})
}
