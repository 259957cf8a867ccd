package wire_test

import (
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

// noise makes a session busy and calm again, at random, until it ends.
func noise(r *rand.Rand, one func() error) {
	for {
		n := []int{0, 0, 1, 200, 255, 256, 257, 300, 600}[r.IntN(9)]
		for range n {
			if one() != nil {
				return
			}
			if r.IntN(8) == 0 {
				time.Sleep(time.Duration(r.Int64N(int64(2 * time.Millisecond))))
			}
		}
		time.Sleep(time.Duration(r.Int64N(int64(3 * look))))
		if r.IntN(4) == 0 {
			time.Sleep(time.Duration(r.IntN(4)) * look)
		}
		if n == 0 && one() != nil { // a session that has ended says so here
			return
		}
	}
}

// TestPacing: however a peer, or the library, makes a session busy and calm again, no limit is early, nor late by more
// than a look.
func TestPacing(t *testing.T) {
	write := func(s *session) func() error {
		return func() error {
			_, err := s.conn.Write(plain(fin|opText, []byte("x")))
			return err
		}
	}
	send := func(peer net.Conn) func() error {
		return func() error {
			_, err := peer.Write(masked(fin|opText, []byte("x")))
			return err
		}
	}
	warm := func(r *rand.Rand, one func() error) { // for some seconds, up to any instant
		end := time.Now().Add(time.Duration(r.Int64N(int64(5 * time.Second))))
		noise(r, func() error {
			if !time.Now().Before(end) {
				return net.ErrClosed
			}
			return one()
		})
	}
	for _, row := range []struct {
		id     string
		v      wire.Violation
		limits func(l *wire.Limits)
		due    func(r *rand.Rand, s *session, peer net.Conn) time.Time
	}{
		{"W-31 a stalled write, while messages come", wire.SlowReader, func(l *wire.Limits) { l.Ping, l.Idle = 0, time.Hour },
			func(r *rand.Rand, s *session, peer net.Conn) time.Time {
				stop := taking(peer)
				warm(r, write(s))
				stop()
				began := time.Now()
				go write(s)()
				go noise(r, send(peer))
				return began.Add(30 * time.Second)
			}},
		{"W-10 a message that drips, while others go out", wire.MessageTime, func(l *wire.Limits) { l.Ping = 0 },
			func(r *rand.Rand, s *session, peer net.Conn) time.Time {
				taking(peer)
				warm(r, write(s))
				began := time.Now()
				go drip(peer, time.Duration(1+r.IntN(500))*time.Millisecond)
				go noise(r, write(s))
				return began.Add(30 * time.Second)
			}},
		{"W-10 a message that drips, behind many", wire.MessageTime, func(l *wire.Limits) { l.Ping, l.Idle = 0, time.Hour },
			func(r *rand.Rand, s *session, peer net.Conn) time.Time {
				taking(peer)
				warm(r, send(peer))
				began := time.Now()
				go drip(peer, time.Duration(1+r.IntN(500))*time.Millisecond)
				return began.Add(30 * time.Second)
			}},
		{"S-03 silence", wire.IdleTimeout, func(l *wire.Limits) { l.Ping, l.Idle = 0, time.Minute },
			func(r *rand.Rand, s *session, peer net.Conn) time.Time {
				taking(peer)
				last := time.Now()
				warm(r, func() error {
					last = time.Now()
					if r.IntN(2) == 0 {
						return write(s)()
					}
					return send(peer)()
				})
				return last.Add(time.Minute)
			}},
		{"W-27 no pong, while messages go out", wire.NoPong, func(*wire.Limits) {},
			func(r *rand.Rand, s *session, peer net.Conn) time.Time {
				frames := arrivals(peer)
				go noise(r, write(s))
				for f := range frames {
					if f.first == fin|opPing {
						go func() {
							for range frames {
							}
						}()
						return f.at.Add(45 * time.Second)
					}
				}
				return time.Time{}
			}},
	} {
		t.Run(row.id, func(t *testing.T) {
			t.Parallel()
			l := open()
			row.limits(&l)
			for seed := range uint64(30) {
				bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
					end := library(s)
					due := row.due(rand.New(rand.NewPCG(seed, 7)), s, peer)
					<-end
					if late := s.at.Sub(due); s.cause != row.v || late < 0 || late > look {
						t.Errorf("seed %d: ended by violation %d, %v late; want %d, up to %v", seed, s.cause, late, row.v, look)
					}
				})
			}
		})
	}
}
