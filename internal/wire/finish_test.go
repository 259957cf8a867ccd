package wire_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/wssecure/wssecure/internal/wire"
)

// finishedAfter sees the raw connection closed, with nothing left running.
func finishedAfter(t *testing.T, s *session, want time.Duration) {
	t.Helper()
	start := time.Now()
	<-s.done
	if took := time.Since(start); took != want {
		t.Errorf("closed after %v, want %v", took, want)
	}
}

func TestFinish(t *testing.T) {
	t.Run("W-32 the peer answers", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			end := library(s)
			s.conn.Finish(3000, "revoked")
			endsAfter(t, s, end, wire.AppClosed, 0, 0) // the fake owner has no earlier cause
			first, p := readFrame(t, peer)
			if first != fin|opClose || !bytes.Equal(p, closing(3000, "revoked")) {
				t.Errorf("frame %x %q", first, p)
			}
			peer.Write(join(masked(fin|opText, []byte("late")), masked(fin|opClose, closing(3000, ""))))
			finishedAfter(t, s, 0)
			c := s.conn.Counters()
			if c.SentBy != wire.Guard || c.SentCode != 3000 || c.PeerCode != 3000 {
				t.Errorf("%+v", c)
			}
		})
	})
	t.Run("W-32 the peer stays silent", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			got := arrivals(peer)
			s.conn.Finish(1001, "")
			finishedAfter(t, s, time.Second)
			if a := <-got; a.first != fin|opClose {
				t.Errorf("frame %x", a.first)
			}
			if _, more := <-got; more {
				t.Error("more than a close frame")
			}
		})
	})
	t.Run("W-32 the peer sends and sends", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			go func() {
				for {
					if _, err := peer.Write(bytes.Repeat(masked(fin|opText, []byte("x")), 50)); err != nil {
						return
					}
					time.Sleep(time.Millisecond)
				}
			}()
			s.conn.Finish(1001, "")
			finishedAfter(t, s, time.Second)
		})
	})
	t.Run("W-32 the peer never reads", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			s.conn.Finish(1001, "")
			finishedAfter(t, s, time.Second)
		})
	})
	t.Run("W-32 behind a violation", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			got := arrivals(peer)
			end := library(s)
			peer.Write(join(plain(fin|opText, []byte("no mask")), masked(fin|opClose, nil)))
			endsAfter(t, s, end, wire.Protocol, 0, 0)
			if a := <-got; a.first != fin|opClose {
				t.Errorf("frame %x", a.first)
			}
			finishedAfter(t, s, time.Second) // behind it there are no frames, so no answer
		})
	})
	t.Run("W-32 early bytes hold the answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			raw, peer := net.Pipe()
			s := newSession(raw, join(masked(fin|opText, nil), masked(fin|opClose, nil)), open(), nil)
			arrivals(peer)
			s.conn.Finish(1001, "")
			finishedAfter(t, s, 0)
		})
	})
	t.Run("W-24 no close frame inside a frame", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			half := plain(fin|opBinary, make([]byte, 2000))[:1000]
			got := make(chan []byte)
			go func() { b, _ := io.ReadAll(peer); got <- b }()
			s.conn.Write(half)
			s.conn.Finish(3000, "revoked")
			finishedAfter(t, s, time.Second)
			if b := <-got; !bytes.Equal(b, half) {
				t.Errorf("%d bytes on the wire", len(b))
			}
			if c := s.conn.Counters(); c.SentBy != wire.Nobody || c.SentCode != 0 {
				t.Errorf("%+v", c)
			}
		})
	})
	t.Run("W-32 the frame under way is completed", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			message := plain(fin|opBinary, make([]byte, 2000))
			got := make(chan []byte)
			go func() { b, _ := io.ReadAll(peer); got <- b }()
			s.conn.Write(message[:1000])
			s.conn.Finish(3000, "revoked")
			time.Sleep(time.Second / 2)
			n, err := s.conn.Write(join(message[1000:], plain(fin|opText, []byte("next"))))
			wantEnd(t, err, wire.AppClosed)
			if n != len(message)-1000 {
				t.Errorf("%d bytes taken", n)
			}
			<-s.done
			if b := <-got; !bytes.Equal(b, join(message, plain(fin|opClose, closing(3000, "revoked")))) {
				t.Errorf("%d bytes on the wire, want the message and a close frame", len(b))
			}
		})
	})
	t.Run("W-32 Read fails behind the close frame", func(t *testing.T) {
		for _, completes := range []bool{true, false} {
			bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
				message := plain(fin|opBinary, make([]byte, 2000))
				go io.Copy(io.Discard, peer)
				s.conn.Write(message[:1000])
				began := time.Now()
				failed := make(chan time.Duration, 1)
				go func() {
					_, err := s.conn.Read(make([]byte, 100))
					wantEnd(t, err, wire.AppClosed)
					failed <- time.Since(began)
				}()
				synctest.Wait()
				go s.End(wire.AppClosed)
				time.Sleep(time.Second / 2)
				if len(failed) > 0 {
					t.Fatal("Read failed while the frame was half out")
				}
				want := time.Second // the grace
				if completes {
					s.conn.Write(message[1000:])
					want = time.Second / 2
				}
				if took := <-failed; took != want {
					t.Errorf("Read failed after %v, want %v", took, want)
				}
			})
		}
	})
	t.Run("W-32 a small first piece was never sent", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			got := make(chan []byte)
			go func() { b, _ := io.ReadAll(peer); got <- b }()
			s.conn.Write([]byte{fin | opText, 100})
			s.conn.Finish(3000, "revoked")
			synctest.Wait()
			n, err := s.conn.Write(make([]byte, 100))
			wantEnd(t, err, wire.AppClosed)
			<-s.done
			if b := <-got; n != 0 || !bytes.Equal(b, plain(fin|opClose, closing(3000, "revoked"))) {
				t.Errorf("%d taken, %q on the wire", n, b)
			}
		})
	})
	t.Run("W-32 blocked Write", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			time.AfterFunc(time.Second, func() { s.conn.Finish(3000, "revoked") })
			start := time.Now()
			_, err := s.conn.Write(plain(fin|opBinary, make([]byte, 2000)))
			wantEnd(t, err, wire.AppClosed)
			if took := time.Since(start); took != 2*time.Second {
				t.Errorf("after %v", took)
			}
		})
	})
	t.Run("S-23 any race of callers, once", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			library(s)
			got := arrivals(peer)
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() { s.conn.Finish(1001, "x") })
				all.Go(func() { s.conn.Close() })
			}
			all.Wait()
			<-s.done
			<-got
			if _, more := <-got; more {
				t.Error("two frames")
			}
		})
	})
	t.Run("Cut ends a Finish that waits", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			s.conn.Finish(1001, "")
			time.Sleep(100 * time.Millisecond)
			s.conn.Cut()
			finishedAfter(t, s, 0)
		})
	})
	t.Run("code 0 sends nothing and waits for nothing", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			got := arrivals(peer)
			s.conn.Finish(0, "")
			finishedAfter(t, s, 0)
			if _, any := <-got; any {
				t.Error("a frame")
			}
		})
	})
	t.Run("S-10 a long reason is cut at a rune", func(t *testing.T) {
		bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
			s.conn.Finish(1001, "a"+strings.Repeat("€", 100))
			_, p := readFrame(t, peer)
			if len(p) > 125 || len(p) < 122 || !utf8.Valid(p[2:]) {
				t.Errorf("%q", p)
			}
		})
	})
}

// TestRefusedFrameIsWalkedOver: a page whose message is refused must not wait out
// the grace, so its close frame is found behind the frame that was refused.
func TestRefusedFrameIsWalkedOver(t *testing.T) {
	small, few, noBinary := open(), open(), open()
	small.MessageSize = 8
	few.Messages, few.CloseOnRate = wire.Rate{N: 1, Per: time.Hour, Burst: 1}, true
	noBinary.Binary = false
	text := masked(fin|opText, []byte("hello"))
	for _, row := range []struct {
		id     string
		limits wire.Limits
		frames []byte
		v      wire.Violation
	}{
		{"W-06", small, masked(fin|opText, bytes.Repeat([]byte("x"), 900)), wire.MessageSize},
		{"W-14", few, join(text, text, text), wire.MessageRate},
		{"W-37", noBinary, masked(fin|opBinary, []byte("data")), wire.MessageType},
	} {
		t.Run(row.id, func(t *testing.T) {
			bubble(t, row.limits, func(t *testing.T, s *session, peer net.Conn) {
				end := library(s)
				got := arrivals(peer)
				peer.Write(row.frames)
				wantEnd(t, <-end, row.v)
				if a := <-got; a.first != fin|opClose {
					t.Fatalf("frame %x, want a close frame", a.first)
				}
				peer.Write(masked(fin|opClose, closing(1000, "")))
				finishedAfter(t, s, 0)
				if code := s.conn.Counters().PeerCode; code != 1000 {
					t.Errorf("peer's code %d, want 1000", code)
				}
			})
		})
	}
}

func TestAfterTheEnd(t *testing.T) {
	bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
		arrivals(peer)
		go peer.Write(masked(fin|opText, []byte("unread")))
		synctest.Wait()
		s.conn.Finish(3000, "")
		for range 3 {
			n, err := s.conn.Read(make([]byte, 100))
			wantEnd(t, err, wire.AppClosed)
			if n != 0 {
				t.Errorf("%d bytes after the end", n)
			}
			n, err = s.conn.Write(plain(fin|opText, nil))
			wantEnd(t, err, wire.AppClosed)
			if n != 0 {
				t.Errorf("%d bytes taken after the end", n)
			}
			time.Sleep(time.Second)
		}
		if err := errors.Join(s.conn.SetDeadline(time.Time{}), s.conn.Close()); err != nil {
			t.Error(err)
		}
	})
}
