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

// library reads until the end.
func library(s *session) <-chan error {
	end := make(chan error, 1)
	go func() {
		_, err := readAll(s.conn, 512)
		end <- err
	}()
	return end
}

// An arrival is a frame at the peer's end.
type arrival struct {
	first   byte
	payload []byte
	at      time.Time
}

// arrivals reads the peer's end until it is closed.
func arrivals(peer net.Conn) <-chan arrival {
	ch := make(chan arrival, 10000)
	go func() {
		defer close(ch)
		var h [2]byte
		for {
			if _, err := io.ReadFull(peer, h[:]); err != nil {
				return
			}
			p := make([]byte, h[1])
			if _, err := io.ReadFull(peer, p); err != nil {
				return
			}
			ch <- arrival{h[0], p, time.Now()}
		}
	}()
	return ch
}

// endsAfter sees the session end with v at least lo and at most hi from now.
func endsAfter(t *testing.T, s *session, end <-chan error, v wire.Violation, lo, hi time.Duration) {
	t.Helper()
	start := time.Now()
	select {
	case err := <-end:
		wantEnd(t, err, v)
	case <-time.After(hi + time.Hour):
		t.Fatalf("no end %v after it was due", time.Hour)
	}
	if took := time.Since(start); took < lo || took > hi {
		t.Errorf("ended after %v, want %v to %v", took, lo, hi)
	}
}

func TestPing(t *testing.T) {
	t.Run("W-27 every 25 s, random, answered", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			library(s)
			last, gaps, payloads := time.Now(), map[time.Duration]bool{}, map[string]bool{}
			for range 200 {
				first, payload := readFrame(t, peer)
				gap := time.Since(last)
				if first != fin|opPing || len(payload) != 8 || gap < 22500*time.Millisecond || gap > 27500*time.Millisecond {
					t.Fatalf("frame %x of %d bytes after %v", first, len(payload), gap)
				}
				last, gaps[gap], payloads[string(payload)] = time.Now(), true, true
				peer.Write(masked(fin|opPong, payload))
			}
			if len(gaps) < 100 || len(payloads) != 200 {
				t.Errorf("%d different gaps, %d payloads", len(gaps), len(payloads))
			}
			if v := s.violation(); v != 0 {
				t.Errorf("ended by %d", v)
			}
		})
	})
	t.Run("W-27 silence", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			end := library(s)
			readFrame(t, peer)
			arrivals(peer)
			endsAfter(t, s, end, wire.NoPong, 45*time.Second, 45*time.Second)
		})
	})
	t.Run("W-38 no pong, but a message each 40 s; a pong of any payload", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			end := library(s)
			arrivals(peer)
			for i := range 100 {
				time.Sleep(40 * time.Second)
				if i%2 == 0 {
					peer.Write(masked(fin|opText, []byte("x")))
				} else {
					peer.Write(masked(fin|opPong, []byte("else")))
				}
			}
			if v := s.violation(); v != 0 {
				t.Fatalf("ended by %d", v)
			}
			endsAfter(t, s, end, wire.NoPong, 45*time.Second, 72500*time.Millisecond)
		})
	})
	t.Run("W-29 stands still while nobody reads", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			readFrame(t, peer)
			arrivals(peer)
			time.Sleep(10 * time.Minute)
			if v := s.violation(); v != 0 {
				t.Fatalf("ended by %d", v)
			}
			endsAfter(t, s, library(s), wire.NoPong, 45*time.Second, 45*time.Second)
		})
	})
	t.Run("W-29 goes on where it stood", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			readFrame(t, peer)
			arrivals(peer)
			s.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			s.conn.Read(make([]byte, 10))
			time.Sleep(10 * time.Minute)
			s.conn.SetReadDeadline(time.Time{})
			endsAfter(t, s, library(s), wire.NoPong, 25*time.Second, 25*time.Second)
		})
	})
	t.Run("W-29 inside a frame MessageTime counts", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			end := library(s)
			readFrame(t, peer)
			arrivals(peer)
			time.Sleep(40 * time.Second)
			peer.Write(masked(fin|opText, make([]byte, 100))[:50])
			endsAfter(t, s, end, wire.MessageTime, 30*time.Second, 30*time.Second)
		})
	})
	t.Run("W-38 one frame in parts for 25 s", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			library(s)
			arrivals(peer)
			for range 20 {
				for _, b := range masked(fin|opText, make([]byte, 19)) {
					peer.Write([]byte{b})
					time.Sleep(time.Second)
				}
			}
			if v := s.violation(); v != 0 {
				t.Errorf("ended by %d", v)
			}
		})
	})
	t.Run("W-24 pings wait inside a frame", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			library(s)
			message := plain(fin|opBinary, make([]byte, 2000))
			go s.conn.Write(message[:1000])
			io.ReadFull(peer, make([]byte, 1000))
			time.Sleep(time.Hour)
			go s.conn.Write(join(message[1000:], plain(fin|opText, []byte("next"))))
			io.ReadFull(peer, make([]byte, len(message)-1000))
			if first, _ := readFrame(t, peer); first != fin|opPing {
				t.Errorf("frame %x at the first boundary, want a ping", first)
			}
			if _, p := readFrame(t, peer); string(p) != "next" {
				t.Errorf("%q behind it", p)
			}
		})
	})
}

func TestMessageTime(t *testing.T) {
	message := masked(fin|opText, []byte("a message"))
	for _, row := range []struct {
		id   string
		send func(peer net.Conn)
	}{
		{"W-10 a lone byte", func(peer net.Conn) { peer.Write(message[:1]) }},
		{"W-10 half a payload", func(peer net.Conn) { peer.Write(message[:8]) }},
		{"W-10 a first fragment", func(peer net.Conn) { peer.Write(masked(opText, []byte("x"))) }},
		{"W-10 half a ping", func(peer net.Conn) { peer.Write(masked(fin|opPing, []byte("ping"))[:7]) }},
		{"W-10 fragments and pings that drip", func(peer net.Conn) {
			peer.Write(masked(opText, []byte("x")))
			for range 40 {
				time.Sleep(time.Second)
				if _, err := peer.Write(join(masked(0, []byte("x")), masked(fin|opPing, nil))); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(row.id, func(t *testing.T) {
			for _, begin := range []time.Duration{0, 7 * time.Second} { // the clock's first moment is one like any other
				bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
					arrivals(peer)
					time.Sleep(begin)
					end := library(s)
					go row.send(peer)
					endsAfter(t, s, end, wire.MessageTime, 30*time.Second, 30*time.Second)
				})
			}
		})
	}
	t.Run("W-15 a library that reads late", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			go peer.Write(message[:8])
			s.conn.Read(make([]byte, 100))
			time.Sleep(10 * time.Minute)
			if v := s.violation(); v != 0 {
				t.Fatalf("ended by %d", v)
			}
			endsAfter(t, s, library(s), wire.MessageTime, 30*time.Second, 30*time.Second)
		})
	})
}

func TestSessionDeadlines(t *testing.T) {
	answer := func(peer net.Conn) { // a peer that answers pings
		go func() {
			for a := range arrivals(peer) {
				if a.first == fin|opPing {
					peer.Write(masked(fin|opPong, a.payload))
				}
			}
		}()
	}
	t.Run("S-01 expiry", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			answer(peer)
			s.conn.SetExpiry(time.Now().Add(time.Hour))
			endsAfter(t, s, library(s), wire.Expired, time.Hour, time.Hour)
		})
	})
	t.Run("S-01 moved on, then nearer", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			answer(peer)
			end := library(s)
			s.conn.SetExpiry(time.Now().Add(time.Second))
			s.conn.SetExpiry(time.Now().Add(time.Hour))
			time.Sleep(30 * time.Minute)
			s.conn.SetExpiry(time.Now().Add(time.Millisecond))
			endsAfter(t, s, end, wire.Expired, time.Millisecond, time.Millisecond)
		})
	})
	t.Run("S-01 already over", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			answer(peer)
			s.conn.SetExpiry(time.Now().Add(-time.Hour))
			endsAfter(t, s, library(s), wire.Expired, 0, 0)
		})
	})
	t.Run("S-01 over since the beginning of Unix time", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			answer(peer)
			s.conn.SetExpiry(time.Unix(0, 0))
			endsAfter(t, s, library(s), wire.Expired, 0, 0)
		})
	})
	t.Run("S-17 too late", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			answer(peer)
			end := library(s)
			if !s.conn.SetExpiry(time.Now().Add(time.Second)) {
				t.Error("refused before any time was set")
			}
			time.Sleep(time.Second) // no timer has run yet
			if s.conn.SetExpiry(time.Now().Add(time.Hour)) {
				t.Error("moved on after its time had come")
			}
			endsAfter(t, s, end, wire.Expired, 0, 0)
		})
	})
	t.Run("S-14 beyond 292 years; S-05 lifetime", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			answer(peer)
			s.conn.SetExpiry(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
			s.conn.SetLifetime(time.Now().Add(24 * time.Hour))
			endsAfter(t, s, library(s), wire.Lifetime, 24*time.Hour, 24*time.Hour)
		})
	})
	idle := open()
	idle.Idle = 10 * time.Minute
	t.Run("S-03 pings only", func(t *testing.T) {
		bubble(t, idle, func(t *testing.T, s *session, peer net.Conn) {
			answer(peer)
			endsAfter(t, s, library(s), wire.IdleTimeout, 10*time.Minute, 10*time.Minute)
		})
	})
	t.Run("S-03 data either way", func(t *testing.T) {
		bubble(t, idle, func(t *testing.T, s *session, peer net.Conn) {
			answer(peer)
			end := library(s)
			time.Sleep(9 * time.Minute)
			peer.Write(masked(fin|opText, nil))
			time.Sleep(9 * time.Minute)
			s.conn.Write(plain(fin|opText, nil))
			endsAfter(t, s, end, wire.IdleTimeout, 10*time.Minute, 10*time.Minute)
		})
	})
	t.Run("S-03 none by default", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			answer(peer)
			library(s)
			time.Sleep(48 * time.Hour)
			if v := s.violation(); v != 0 {
				t.Errorf("ended by %d", v)
			}
		})
	})
}

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

// A peer that is gone is found out by the ping, also when the library does not
// read: it would hold its session for a day.
func TestPingThatFailsEndsTheSession(t *testing.T) {
	bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
		peer.Close()
		start := time.Now()
		<-s.done
		if v, took := s.violation(), time.Since(start); v != wire.PeerGone || took > time.Minute {
			t.Errorf("ended by %d after %v, want PeerGone within a minute", v, took)
		}
	})
}
