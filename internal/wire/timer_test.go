package wire_test

import (
	"net"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

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
	t.Run("S-14 beyond what microseconds can count", func(t *testing.T) {
		for _, seconds := range []int64{9_223_372_036_854, 9_223_372_036_855, 1e13, 1e14, 1 << 53, 1 << 62} {
			bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
				answer(peer)
				s.conn.SetExpiry(time.Unix(seconds, 999_999_999))
				s.conn.SetLifetime(time.Now().Add(24 * time.Hour))
				endsAfter(t, s, library(s), wire.Lifetime, 24*time.Hour, 24*time.Hour)
			})
		}
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
