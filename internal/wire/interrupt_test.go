package wire_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

func TestInterrupt(t *testing.T) {
	message := masked(fin|opText, []byte("message"))
	type result struct {
		p   []byte
		err error
	}
	read := func(s *session) <-chan result {
		ch := make(chan result, 1)
		go func() {
			p := make([]byte, 100)
			n, err := s.conn.Read(p)
			ch <- result{p[:n], err}
		}()
		return ch
	}
	interrupted := func(t *testing.T, r result) {
		t.Helper()
		if !errors.Is(r.err, wire.ErrInterrupted) || !errors.Is(r.err, os.ErrDeadlineExceeded) || len(r.p) != 0 {
			t.Errorf("%x, %v", r.p, r.err)
		}
	}
	t.Run("C-13 between messages, then it reads again", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			first := read(s)
			synctest.Wait()
			s.conn.Interrupt()
			interrupted(t, <-first)
			interrupted(t, <-read(s))
			s.conn.ClearInterrupt()
			next := read(s)
			peer.Write(message)
			if r := <-next; !bytes.Equal(r.p, message) {
				t.Errorf("%x, %v", r.p, r.err)
			}
		})
	})
	t.Run("C-13 inside a message it is read on", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			go peer.Write(message[:8])
			s.conn.Read(make([]byte, 100))
			rest := read(s)
			synctest.Wait()
			s.conn.Interrupt()
			time.Sleep(time.Second)
			peer.Write(message[8:])
			if r := <-rest; !bytes.Equal(r.p, message[8:]) {
				t.Errorf("%x, %v", r.p, r.err)
			}
			interrupted(t, <-read(s))
		})
	})
	t.Run("C-13, W-15 while reading pauses", func(t *testing.T) {
		l := open()
		l.Messages = wire.Rate{N: 1, Per: time.Hour, Burst: 1}
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			go peer.Write(bytes.Repeat(message, 4))
			for range 2 {
				<-read(s)
			}
			paused := read(s)
			synctest.Wait()
			s.conn.Interrupt()
			start := time.Now()
			interrupted(t, <-paused)
			if took := time.Since(start); took != 0 {
				t.Errorf("after %v", took)
			}
		})
	})
}
