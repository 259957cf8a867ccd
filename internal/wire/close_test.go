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

func TestCloseByLibrary(t *testing.T) {
	bye := plain(fin|opClose, closing(4001, "bye"))
	t.Run("W-26 it closes, the peer answers", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			go func() {
				readFrame(t, peer)
				peer.Write(masked(fin|opClose, closing(4001, "")))
			}()
			s.conn.Write(bye)
			answer := make([]byte, 100)
			n, err := s.conn.Read(answer)
			if err != nil || !bytes.Equal(answer[:n], masked(fin|opClose, closing(4001, ""))) {
				t.Errorf("the library reads %x, %v", answer[:n], err)
			}
			finishedAfter(t, s, 0)
			c := s.conn.Counters()
			if v := s.violation(); v != wire.AppClosed || c.SentBy != wire.App || c.SentCode != 4001 || c.PeerCode != 4001 {
				t.Errorf("violation %d, %+v", v, c)
			}
		})
	})
	t.Run("W-26 in two bytes at a time", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			go func() {
				readFrame(t, peer)
				peer.Write(masked(fin|opClose, nil))
			}()
			s.conn.Write(bye[:2])
			s.conn.Write(bye[2:3])
			s.conn.Write(bye[3:])
			got, err := readAll(s.conn, 2)
			wantEnd(t, err, wire.AppClosed)
			if c := s.conn.Counters(); !bytes.Equal(got, masked(fin|opClose, nil)) || c.SentCode != 4001 {
				t.Errorf("%x, %+v", got, c)
			}
		})
	})
	t.Run("W-26 the peer never answers", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			got := arrivals(peer)
			end := library(s)
			s.conn.Write(bye)
			endsAfter(t, s, end, wire.AppClosed, 5*time.Second, 5*time.Second)
			<-s.done
			<-got
			if _, more := <-got; more {
				t.Error("a frame behind the library's close frame")
			}
		})
	})
	t.Run("W-26 no ping behind it, nobody reads", func(t *testing.T) {
		l := open()
		l.Ping = time.Second
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			got := arrivals(peer)
			s.conn.Write(bye)
			<-s.done
			<-got
			if _, more := <-got; more || s.violation() != wire.AppClosed {
				t.Errorf("a frame behind the close frame; violation %d", s.violation())
			}
		})
	})
	t.Run("W-26 close frame, then Close", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			got := arrivals(peer)
			s.conn.Write(bye)
			start := time.Now()
			s.conn.Close()
			if took := time.Since(start); took != 0 {
				t.Errorf("Close took %v", took)
			}
			go peer.Write(masked(fin|opClose, nil))
			<-s.done
			<-got
			if _, more := <-got; more {
				t.Error("a second close frame")
			}
		})
	})
	t.Run("S-26 Close alone", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			s.code = 0
			end := library(s)
			s.conn.Close()
			endsAfter(t, s, end, wire.AppClosed, 0, 0)
			finishedAfter(t, s, 0)
		})
	})
}

func TestCloseByPeer(t *testing.T) {
	t.Run("the library answers", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			go peer.Write(join(masked(fin|opText, []byte("last")), masked(fin|opClose, closing(1000, "done"))))
			got := arrivals(peer)
			io.ReadFull(s.conn, make([]byte, 10+12))
			synctest.Wait()
			if v := s.violation(); v != 0 {
				t.Fatalf("ended by %d before the answer", v)
			}
			if _, err := s.conn.Write(plain(fin|opClose, closing(1000, ""))); err != nil {
				t.Error(err)
			}
			finishedAfter(t, s, 0)
			c := s.conn.Counters()
			if v := s.violation(); v != wire.PeerClosed || c.PeerCode != 1000 || s.conn.PeerReason() != "done" || c.SentBy != wire.App {
				t.Errorf("violation %d, %+v", v, c)
			}
			if a := <-got; a.first != fin|opClose {
				t.Errorf("%x", a.first)
			}
		})
	})
	t.Run("it answers header and code apart", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			go peer.Write(masked(fin|opClose, closing(1000, "")))
			got := arrivals(peer)
			io.ReadFull(s.conn, make([]byte, 8))
			s.conn.Write([]byte{fin | opClose, 2})
			if _, err := s.conn.Write([]byte{3, 0xE8}); err != nil {
				t.Error(err)
			}
			if a := <-got; !bytes.Equal(a.payload, closing(1000, "")) {
				t.Errorf("%x", a.payload)
			}
			finishedAfter(t, s, 0)
		})
	})
	t.Run("it closes without an answer", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			go peer.Write(masked(fin|opClose, closing(1000, "")))
			got := arrivals(peer)
			io.ReadFull(s.conn, make([]byte, 8))
			s.conn.Close()
			if a := <-got; a.first != fin|opClose { // the guard's, on its behalf
				t.Errorf("%x", a.first)
			}
			finishedAfter(t, s, 0)
			if v := s.violation(); v != wire.PeerClosed {
				t.Errorf("violation %d", v)
			}
		})
	})
	t.Run("it never answers", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			end := library(s)
			peer.Write(masked(fin|opClose, closing(1000, "")))
			go flood(peer, masked(fin|opText, []byte("behind")), []byte("garbage, all of it"))
			endsAfter(t, s, end, wire.PeerClosed, 5*time.Second, 5*time.Second)
		})
	})
	t.Run("no ping behind its close frame", func(t *testing.T) {
		l := open()
		l.Ping = time.Second
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			library(s)
			peer.Write(masked(fin|opClose, closing(1000, "")))
			if a := <-arrivals(peer); a.first != fin|opClose {
				t.Errorf("frame %x", a.first)
			}
		})
	})
	t.Run("W-16 and hangs up", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			end := library(s)
			peer.Write(masked(fin|opClose, closing(1001, "")))
			peer.Close()
			endsAfter(t, s, end, wire.PeerClosed, 0, 0)
		})
	})
}
