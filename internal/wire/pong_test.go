package wire_test

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
)

func TestPong(t *testing.T) {
	want := func(t *testing.T, peer net.Conn, first byte, payload string) {
		t.Helper()
		if f, p := readFrame(t, peer); f != first || string(p) != payload {
			t.Errorf("frame %x %q, want %x %q", f, p, first, payload)
		}
	}
	t.Run("W-24 each at once where nobody writes", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			for _, payload := range []string{"one", "", "two"} {
				go s.conn.Pong([]byte(payload))
				want(t, peer, fin|opPong, payload)
			}
		})
	})
	t.Run("W-24 the last at the end of a frame, before what follows it", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			message := plain(fin|opBinary, make([]byte, 2000))
			go s.conn.Write(message[:1000])
			io.ReadFull(peer, make([]byte, 1000))
			synctest.Wait() // nobody writes now, and a frame is half out
			payload := []byte("one")
			s.conn.Pong(payload)
			copy(payload, "???") // it is the library's own buffer
			s.conn.Pong([]byte("two"))
			go s.conn.Write(join(message[1000:], plain(fin|opText, []byte("next"))))
			io.ReadFull(peer, make([]byte, len(message)-1000))
			want(t, peer, fin|opPong, "two")
			want(t, peer, fin|opText, "next")
		})
	})
	t.Run("W-32 none behind a close frame", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			message := plain(fin|opBinary, make([]byte, 2000))
			go s.conn.Write(message[:1000])
			io.ReadFull(peer, make([]byte, 1000))
			s.conn.Pong([]byte("late"))
			s.conn.Finish(1000, "")
			s.conn.Pong([]byte("too late"))
			go s.conn.Write(message[1000:])
			io.ReadFull(peer, make([]byte, len(message)-1000))
			want(t, peer, fin|opClose, "\x03\xe8")
			if b, err := io.ReadAll(peer); len(b) > 0 {
				t.Errorf("%x behind it, %v", b, err)
			}
		})
	})
	t.Run("W-26 none behind the library's", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			go s.conn.Write(plain(fin|opClose, closing(1000, "")))
			want(t, peer, fin|opClose, "\x03\xe8")
			synctest.Wait()
			s.conn.Pong([]byte("late")) // would wait for the peer, if it went out
			s.conn.Cut()
			if b, err := io.ReadAll(peer); len(b) > 0 {
				t.Errorf("%x behind it, %v", b, err)
			}
		})
	})
}
