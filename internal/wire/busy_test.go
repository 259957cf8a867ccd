package wire_test

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

// look is how often a busy session is looked at: what it is late by at most.
const look = 250 * time.Millisecond

// many messages within a look make a session busy.
const many = 300

// busyFor keeps a session busy by what it writes. It returns between two looks,
// so that no time is exact by chance.
func busyFor(t *testing.T, s *session, d time.Duration) {
	t.Helper()
	for range d / look {
		writeMany(t, s)
		time.Sleep(look)
	}
	writeMany(t, s)
	time.Sleep(100 * time.Millisecond)
}

func writeMany(t *testing.T, s *session) {
	t.Helper()
	for range many {
		if _, err := s.conn.Write(plain(fin|opText, []byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
}

// taking is a peer that takes what is sent, and answers nothing, until stop.
func taking(peer net.Conn) (stop func()) {
	go io.Copy(io.Discard, peer)
	return func() {
		peer.SetReadDeadline(time.Now())
		synctest.Wait()
	}
}

// drip sends a message a byte at a time.
func drip(peer net.Conn, every time.Duration) {
	for _, b := range masked(fin|opText, make([]byte, 10000)) {
		if _, err := peer.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(every)
	}
}

// A session of many messages is not timed message by message. Its limits hold
// all the same, up to a look late and never early.
func TestBusy(t *testing.T) {
	quiet := open()
	quiet.Ping, quiet.Pong = 0, 0
	t.Run("W-31 a stalled write", func(t *testing.T) {
		bubble(t, quiet, func(t *testing.T, s *session, peer net.Conn) {
			stop := taking(peer)
			busyFor(t, s, 10*time.Second)
			stop()
			start := time.Now()
			_, err := s.conn.Write(plain(fin|opText, []byte("x")))
			wantEnd(t, err, wire.SlowReader)
			if took := time.Since(start); took <= 30*time.Second || took > 30*time.Second+look {
				t.Errorf("after %v: no look has dated it, or another than the next", took)
			}
		})
	})
	t.Run("W-31 exact again once it is calm", func(t *testing.T) {
		bubble(t, quiet, func(t *testing.T, s *session, peer net.Conn) {
			stop := taking(peer)
			busyFor(t, s, time.Second)
			time.Sleep(2*look + 50*time.Millisecond)
			stop()
			start := time.Now()
			_, err := s.conn.Write(plain(fin|opText, []byte("x")))
			wantEnd(t, err, wire.SlowReader)
			if took := time.Since(start); took != 30*time.Second {
				t.Errorf("after %v", took)
			}
		})
	})
	for _, row := range []struct {
		id    string
		every time.Duration
	}{{"W-10 a message that is not completed", 40 * time.Second}, {"W-10 one that drips", 10 * time.Millisecond}, {"W-10 one that drips by the look", look}} {
		t.Run(row.id, func(t *testing.T) {
			bubble(t, quiet, func(t *testing.T, s *session, peer net.Conn) {
				taking(peer)
				end := library(s)
				busyFor(t, s, time.Second)
				go drip(peer, row.every)
				endsAfter(t, s, end, wire.MessageTime, 30*time.Second, 30*time.Second+look)
			})
		})
	}
	t.Run("W-10 one that drips, to a library that takes its time", func(t *testing.T) {
		bubble(t, quiet, func(t *testing.T, s *session, peer net.Conn) {
			taking(peer)
			busyFor(t, s, time.Minute)
			go drip(peer, 9*time.Millisecond)
			end := make(chan error)
			go func() {
				for {
					if _, err := s.conn.Read(make([]byte, 100)); err != nil {
						end <- err
						return
					}
					time.Sleep(3 * time.Millisecond) // of which the peer is listened to for 6 of 9
				}
			}()
			endsAfter(t, s, end, wire.MessageTime, 44*time.Second, 46*time.Second)
		})
	})
	t.Run("W-29 nobody reads", func(t *testing.T) {
		bubble(t, quiet, func(t *testing.T, s *session, peer net.Conn) {
			taking(peer)
			busyFor(t, s, time.Second)
			message := masked(fin|opText, make([]byte, 100))
			go peer.Write(message[:50])
			if n, err := s.conn.Read(make([]byte, 50)); n != 50 || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
			busyFor(t, s, time.Minute)
			endsAfter(t, s, library(s), wire.MessageTime, 30*time.Second, 30*time.Second+look)
		})
	})
	idle := quiet
	idle.Idle = time.Minute
	t.Run("S-03 silence behind it", func(t *testing.T) {
		for _, busy := range []func(*testing.T, *session, net.Conn){
			func(t *testing.T, s *session, _ net.Conn) { writeMany(t, s) },
			func(t *testing.T, _ *session, peer net.Conn) {
				for range many {
					if _, err := peer.Write(masked(fin|opText, []byte("x"))); err != nil {
						t.Fatal(err)
					}
				}
			},
		} {
			bubble(t, idle, func(t *testing.T, s *session, peer net.Conn) {
				taking(peer)
				end := library(s)
				for range 400 {
					busy(t, s, peer)
					time.Sleep(look)
				}
				busy(t, s, peer)
				endsAfter(t, s, end, wire.IdleTimeout, time.Minute, time.Minute+look)
			})
		}
	})
}
