package wire_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

func TestSlowReader(t *testing.T) {
	t.Run("W-31 nothing taken", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			time.Sleep(11 * time.Second)
			start := time.Now()
			_, err := s.conn.Write(plain(fin|opBinary, make([]byte, 100)))
			wantEnd(t, err, wire.SlowReader)
			if took := time.Since(start); took != 30*time.Second {
				t.Errorf("after %v", took)
			}
			if n, err := peer.Read(make([]byte, 10)); err == nil {
				t.Errorf("%d bytes after the cut", n)
			}
		})
	})
	t.Run("W-31 16 KiB each 29 s are enough", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			go func() {
				for {
					time.Sleep(29 * time.Second)
					if _, err := io.ReadFull(peer, make([]byte, 16<<10)); err != nil {
						return
					}
				}
			}()
			if _, err := s.conn.Write(plain(fin|opBinary, make([]byte, 1<<16-1))); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("W-31 one byte a second is not", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			go func() {
				for {
					time.Sleep(time.Second)
					if _, err := peer.Read(make([]byte, 1)); err != nil {
						return
					}
				}
			}()
			_, err := s.conn.Write(plain(fin|opBinary, make([]byte, 1<<16-1)))
			wantEnd(t, err, wire.SlowReader)
		})
	})
	t.Run("W-31 a ping nobody takes", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			endsAfter(t, s, library(s), wire.SlowReader, 52500*time.Millisecond, 57500*time.Millisecond)
		})
	})
}

func TestLibraryDeadlines(t *testing.T) {
	t.Run("W-30 the library's holds, zero removes its own alone", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			s.conn.SetExpiry(time.Now().Add(time.Minute))
			s.conn.SetDeadline(time.Now().Add(5 * time.Second))
			start := time.Now()
			_, err := s.conn.Read(make([]byte, 1))
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() || time.Since(start) != 5*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			s.conn.SetDeadline(time.Time{})
			endsAfter(t, s, library(s), wire.Expired, 55*time.Second, 55*time.Second)
		})
	})
	t.Run("W-30 a deadline inside a header loses nothing", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			frame := masked(fin|opText, []byte("hello"))
			go peer.Write(frame[:4])
			s.conn.SetReadDeadline(time.Now().Add(time.Second))
			if n, err := s.conn.Read(make([]byte, 100)); n != 0 || err == nil {
				t.Fatalf("%d bytes, %v", n, err)
			}
			s.conn.SetReadDeadline(time.Time{})
			go peer.Write(frame[4:])
			p := make([]byte, 100)
			if n, err := s.conn.Read(p); string(p[:n]) != string(frame) {
				t.Errorf("%x, %v", p[:n], err)
			}
		})
	})
	t.Run("W-30 write", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			s.conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, err := s.conn.Write(plain(fin|opText, nil))
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
				t.Errorf("%v", err)
			}
			synctest.Wait()
			if v := s.violation(); v != 0 {
				t.Errorf("ended by %d", v)
			}
		})
	})
	t.Run("W-30 a deadline that has passed is not for the wire's own frames", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			go io.Copy(io.Discard, s.conn)                            // the library reads
			s.conn.SetWriteDeadline(time.Now().Add(10 * time.Second)) // as gorilla does for each message
			go s.conn.Write(plain(fin|opText, []byte("hello")))
			buf := make([]byte, 100)
			for _, want := range []byte{fin | opText, fin | opPing, fin | opPing} {
				if n, err := peer.Read(buf); err != nil || buf[0] != want {
					t.Fatalf("%x, %v; want a frame %x", buf[:n], err, want)
				}
				if want == fin|opPing {
					peer.Write(masked(fin|opPong, nil))
				}
			}
			if _, err := s.conn.Write(plain(fin|opText, nil)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the library's deadline is gone: %v", err)
			}
		})
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			go io.Copy(io.Discard, s.conn)
			s.conn.SetWriteDeadline(time.Now().Add(time.Second))
			time.Sleep(2 * time.Second)
			go s.conn.Finish(3000, "why")
			buf := make([]byte, 100)
			if n, err := peer.Read(buf); err != nil || string(buf[:n]) != string(plain(fin|opClose, []byte("\x0b\xb8why"))) {
				t.Errorf("%x, %v; want the close frame", buf[:n], err)
			}
		})
	})
	t.Run("W-30 a deadline that the library sets during a ping waits for its end", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			go io.Copy(io.Discard, s.conn)
			time.Sleep(29 * time.Second) // the ping waits for its peer
			s.conn.SetWriteDeadline(time.Now().Add(time.Second))
			time.Sleep(2 * time.Second)
			buf := make([]byte, 100)
			if n, err := peer.Read(buf); err != nil || buf[0] != fin|opPing {
				t.Fatalf("%x, %v; want the ping", buf[:n], err)
			}
			synctest.Wait()
			if _, err := s.conn.Write(plain(fin|opText, nil)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the library's deadline is lost: %v", err)
			}
		})
	})
}
