package wire_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

// flood sends packets as fast as they are taken; taken counts the messages a
// library got, one frame header each.
func flood(peer net.Conn, packets ...[]byte) {
	for _, p := range packets {
		if _, err := peer.Write(p); err != nil {
			return
		}
	}
}

// deliveries reads whole messages of a known size and notes when each came.
func deliveries(s *session, size, n int) ([]time.Duration, error) {
	start, p := time.Now(), make([]byte, size)
	var at []time.Duration
	for range n {
		if _, err := io.ReadFull(s.conn, p); err != nil {
			return at, err
		}
		at = append(at, time.Since(start))
	}
	return at, nil
}

func TestMessageRate(t *testing.T) {
	l := open()
	l.Messages = wire.Rate{N: 60, Per: time.Second, Burst: 120}
	message := masked(fin|opText, []byte("0123456789"))
	for name, packets := range map[string][][]byte{
		"one packet": {bytes.Repeat(message, 420)},
		"a packet each": func() (p [][]byte) {
			for range 420 {
				p = append(p, message)
			}
			return
		}(),
		"cut inside headers": func() (p [][]byte) {
			all := bytes.Repeat(message, 420)
			for len(all) > 0 {
				n := min(len(all), 33)
				p, all = append(p, all[:n]), all[n:]
			}
			return
		}(),
	} {
		t.Run("L-13 "+name, func(t *testing.T) {
			bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
				go flood(peer, packets...)
				at, err := deliveries(s, len(message), 420)
				if err != nil {
					t.Fatal(err)
				}
				if at[119] != 0 {
					t.Errorf("the burst took %v", at[119])
				}
				for i := 120; i < 420; i++ {
					due := time.Duration(i+1-120) * time.Second / 60
					if early := due - at[i]; early > 15*time.Second/60 || early < -time.Second/60 {
						t.Fatalf("message %d after %v, due at %v", i+1, at[i], due)
					}
				}
				if c := s.conn.Counters(); c.InMessages != 420 || c.InBytes != 420*int64(len(message)) {
					t.Errorf("%+v", c)
				}
			})
		})
		t.Run("W-14 "+name, func(t *testing.T) {
			l := l
			l.CloseOnRate = true
			bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
				arrivals(peer)
				go flood(peer, packets...)
				at, err := deliveries(s, len(message), 420)
				wantEnd(t, err, wire.MessageRate)
				if len(at) != 120 {
					t.Errorf("%d messages before the end, want 120", len(at))
				}
			})
		})
	}
	t.Run("L-13 readers of two bytes, fragments", func(t *testing.T) {
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			parts := join(masked(opText, []byte("a")), masked(0, nil), masked(fin, []byte("b")))
			go flood(peer, bytes.Repeat(parts, 180))
			start := time.Now()
			p := make([]byte, 2)
			for got := 0; got < 180*len(parts); {
				n, err := s.conn.Read(p)
				if err != nil {
					t.Fatal(err)
				}
				if got += n; !bytes.Equal(p[:n], bytes.Repeat(parts, 2)[(got-n)%len(parts):][:n]) {
					t.Fatalf("%x at %d", p[:n], got)
				}
			}
			if took := time.Since(start); took < 750*time.Millisecond || took > time.Second+time.Second/60 {
				t.Errorf("60 over the burst in %v", took)
			}
		})
	})
	t.Run("L-37 new limits from the next frame on", func(t *testing.T) {
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			go flood(peer, bytes.Repeat(message, 420))
			deliveries(s, len(message), 150)
			s.conn.SetLimits(new(open()))
			if at, err := deliveries(s, len(message), 270); err != nil || at[269] > time.Millisecond {
				t.Errorf("%v, %v", at, err)
			}
		})
	})
}

func TestByteRate(t *testing.T) {
	l := open()
	l.Bytes = wire.Rate{N: 1 << 20, Per: time.Second, Burst: 4 << 20}
	message := masked(fin|opBinary, make([]byte, 32<<10-8))
	t.Run("W-13", func(t *testing.T) {
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			go flood(peer, bytes.Repeat(message, 256)) // 8 MiB
			at, err := deliveries(s, len(message), 256)
			if err != nil {
				t.Fatal(err)
			}
			if at[127] != 0 {
				t.Errorf("the burst took %v", at[127])
			}
			if took := at[255]; took < 3500*time.Millisecond || took > 4*time.Second {
				t.Errorf("4 MiB over the burst in %v", took)
			}
		})
	})
	t.Run("W-14", func(t *testing.T) {
		l := l
		l.CloseOnRate = true
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			go flood(peer, bytes.Repeat(message, 256))
			at, err := deliveries(s, len(message), 256)
			wantEnd(t, err, wire.MessageRate)
			if n := len(at) * len(message); n < 4<<20-64<<10 || n > 4<<20+512<<10 {
				t.Errorf("%d bytes before the end", n)
			}
		})
	})
	t.Run("a burst below one read, and no rate at all", func(t *testing.T) {
		l := l
		l.Bytes = wire.Rate{N: 100, Per: time.Second, Burst: 10}
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			go flood(peer, bytes.Repeat(masked(fin|opText, make([]byte, 94)), 10))
			at, err := deliveries(s, 100, 10)
			if err != nil || at[9] < 3*time.Second || at[9] > 10*time.Second {
				t.Errorf("%v, %v", at, err)
			}
		})
		l.Bytes = wire.Rate{}
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			go flood(peer, bytes.Repeat(masked(fin|opText, make([]byte, 94)), 10))
			s.conn.SetExpiry(time.Now().Add(time.Hour))
			endsAfter(t, s, library(s), wire.Expired, time.Hour, time.Hour)
		})
	})
}

func TestControlRate(t *testing.T) {
	l := open()
	l.Controls = wire.Rate{N: 10, Per: time.Second, Burst: 20}
	ping, pong := masked(fin|opPing, nil), masked(fin|opPong, nil)
	t.Run("W-12 the 21st; then none", func(t *testing.T) {
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			go flood(peer, bytes.Repeat(join(ping, pong), 50))
			at, err := deliveries(s, len(ping), 100)
			wantEnd(t, err, wire.ControlRate)
			if len(at) != 20 {
				t.Errorf("%d passed, want 20", len(at))
			}
		})
	})
	t.Run("W-12 ten a second", func(t *testing.T) {
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			end := library(s)
			arrivals(peer)
			peer.Write(bytes.Repeat(ping, 17))
			for range 1000 {
				time.Sleep(100 * time.Millisecond)
				peer.Write(pong)
			}
			select {
			case err := <-end:
				t.Error(err)
			default:
			}
		})
	})
	t.Run("W-12 a pong after each ping is free, one", func(t *testing.T) {
		l := l
		l.Controls = wire.Rate{N: 1, Per: 1000 * time.Hour, Burst: 2}
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			end := library(s)
			for range 100 {
				_, payload := readFrame(t, peer)
				peer.Write(masked(fin|opPong, payload))
			}
			arrivals(peer)
			flood(peer, pong, pong, pong)
			wantEnd(t, <-end, wire.ControlRate)
		})
	})
}

// A paused session is as mortal as any other.
func TestPause(t *testing.T) {
	l := open()
	l.Messages = wire.Rate{N: 1, Per: time.Hour, Burst: 8}
	paused := func(t *testing.T, l wire.Limits, f func(t *testing.T, s *session, peer net.Conn, end <-chan error)) {
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			end := library(s)
			go flood(peer, bytes.Repeat(masked(fin|opText, nil), 20))
			synctest.Wait()
			f(t, s, peer, end)
		})
	}
	t.Run("W-15 expiry", func(t *testing.T) {
		paused(t, l, func(t *testing.T, s *session, peer net.Conn, end <-chan error) {
			s.conn.SetExpiry(time.Now().Add(10 * time.Minute))
			endsAfter(t, s, end, wire.Expired, 10*time.Minute, 10*time.Minute)
		})
	})
	t.Run("W-15 revocation", func(t *testing.T) {
		paused(t, l, func(t *testing.T, s *session, peer net.Conn, end <-chan error) {
			s.conn.Finish(3000, "revoked")
			endsAfter(t, s, end, wire.AppClosed, 0, 0)
		})
	})
	t.Run("W-15, W-29 held back time is not the peer's", func(t *testing.T) {
		l := l
		l.Idle = 20 * time.Minute
		paused(t, l, func(t *testing.T, s *session, peer net.Conn, end <-chan error) {
			time.Sleep(59 * time.Minute)
			if v := s.violation(); v != 0 {
				t.Errorf("ended by %d", v)
			}
			time.Sleep(2 * time.Minute)
			if c := s.conn.Counters(); c.InMessages != 9 {
				t.Errorf("%d messages after an hour, want 9", c.InMessages)
			}
		})
	})
	t.Run("W-30 the library's deadline", func(t *testing.T) {
		paused(t, l, func(t *testing.T, s *session, peer net.Conn, end <-chan error) {
			s.conn.SetReadDeadline(time.Now().Add(7 * time.Second))
			start := time.Now()
			err := <-end
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() || time.Since(start) != 7*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	})
}
