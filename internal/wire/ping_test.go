package wire_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

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
	t.Run("W-29 sent while a message waits to be read", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			go peer.Write(masked(opText, []byte("x")))
			s.conn.Read(make([]byte, 100))
			readFrame(t, peer)
			arrivals(peer)
			time.Sleep(10 * time.Minute)
			endsAfter(t, s, library(s), wire.MessageTime, 30*time.Second, 30*time.Second)
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
