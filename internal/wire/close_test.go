package wire_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
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

// TestTLS: crypto/tls waits five seconds to say good-bye to a peer that does
// not read. A session does not.
func TestTLS(t *testing.T) {
	certificate := selfSigned(t)
	for _, row := range []struct {
		id  string
		end func(c *wire.Conn)
		max time.Duration
	}{
		{"W-32 finish", func(c *wire.Conn) { c.Finish(1001, "") }, 1250 * time.Millisecond},
		{"W-32 finish without a close frame", func(c *wire.Conn) { c.Finish(0, "") }, 250 * time.Millisecond},
		{"W-32 cut", (*wire.Conn).Cut, 0},
	} {
		t.Run(row.id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				below, peer := net.Pipe()
				defer peer.Close()
				server := tls.Server(below, &tls.Config{Certificates: []tls.Certificate{certificate}, SessionTicketsDisabled: true})
				go tls.Client(peer, &tls.Config{InsecureSkipVerify: true}).Handshake()
				if err := server.Handshake(); err != nil {
					t.Fatal(err)
				}
				s := newSession(server, nil, open(), nil)
				s.conn.Start()
				start := time.Now()
				row.end(s.conn)
				<-s.done
				if took := time.Since(start); took > row.max {
					t.Errorf("closed after %v, want at most %v", took, row.max)
				}
			})
		})
	}
	t.Run("W-32 a peer that answers gets the close frame and a close_notify", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			below, far := net.Pipe()
			server := tls.Server(below, &tls.Config{Certificates: []tls.Certificate{certificate}})
			peer := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
			got := make(chan error, 1)
			go func() {
				first, _ := readFrame(t, peer)
				if first != fin|opClose {
					t.Errorf("frame %x", first)
				}
				peer.Write(masked(fin|opClose, nil))
				_, err := peer.Read(make([]byte, 1))
				got <- err
			}()
			if err := server.Handshake(); err != nil {
				t.Fatal(err)
			}
			s := newSession(server, nil, open(), nil)
			end := library(s)
			synctest.Wait()
			s.conn.Finish(1001, "")
			finishedAfter(t, s, 0)
			wantEnd(t, <-end, wire.AppClosed)
			if err := <-got; err != io.EOF {
				t.Errorf("the peer's stream ended with %v", err)
			}
		})
	})
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
