package wire_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

// A peer that goes on behind the end of its session has a second of grace, and
// must not have a core for as long.
func TestWhatIsDiscarded(t *testing.T) {
	for _, row := range []struct {
		name        string
		begin, more []byte
		least, most int
	}{
		{"W-32 a large message gets through", maskedHead(fin|opBinary, 3<<20, 0), make([]byte, 64<<10), 3 << 20, 5 << 20},
		{"W-32 a flood of pings does not", nil, masked(fin|opPing, make([]byte, 125)), 0, 2 << 20},
		{"W-32 a flood of empty frames does not", masked(opText, nil), masked(0, nil), 0, 300 << 10},
		{"W-32 bytes behind a broken frame do not", plain(fin|opText, nil), []byte("garbage"), 0, 5 << 20},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
				arrivals(peer)
				s.conn.Finish(1008, "why")
				taken := make(chan int)
				go func() { // as fast as it is taken, and not for ever
					n := 0
					for packet := append(row.begin, bytes.Repeat(row.more, 10)...); n < 64<<20; packet = bytes.Repeat(row.more, 10) {
						k, err := peer.Write(packet)
						if n += k; err != nil {
							break
						}
					}
					peer.Close()
					taken <- n
				}()
				finishedAfter(t, s, time.Second)
				if n := <-taken; n < row.least || n > row.most {
					t.Errorf("%d bytes are taken in, want %d to %d", n, row.least, row.most)
				}
			})
		})
	}
}

// The answer behind a large message ends the grace.
func TestAnswerBehindALargeMessage(t *testing.T) {
	bubble(t, open(), func(t *testing.T, s *session, peer net.Conn) {
		arrivals(peer)
		s.conn.Finish(1009, "why")
		go peer.Write(join(masked(fin|opBinary, make([]byte, 2<<20)), masked(fin|opClose, closing(1009, ""))))
		start := time.Now()
		<-s.done
		if took := time.Since(start); took > 600*time.Millisecond || s.conn.Counters().PeerCode != 1009 {
			t.Errorf("W-32: closed after %v, the peer's code %d", took, s.conn.Counters().PeerCode)
		}
		if s.conn.Counters().SentBy != wire.Guard {
			t.Error("no close frame")
		}
	})
}

// A library that reads on behind the peer's close frame gets nothing more, and
// must not be made to take in all that the peer can send until its answer is due.
func TestFloodBehindThePeersClose(t *testing.T) {
	for name, closes := range map[string]bool{"W-13 W-16 delayed": false, "W-14 W-16 with CloseOnRate": true} {
		t.Run(name, func(t *testing.T) {
			l := open()
			l.Bytes = wire.Rate{N: 1 << 20, Per: time.Second, Burst: 4 << 20}
			l.CloseOnRate = closes
			bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
				arrivals(peer)
				go readAll(s.conn, 4096)
				n, err := peer.Write(masked(fin|opClose, closing(1000, "")))
				for b := make([]byte, 64<<10); err == nil && n < 64<<20; {
					var k int
					k, err = peer.Write(b)
					n += k
				}
				if most := (4 + 5 + 2) << 20; n > most { // burst, five seconds, the second of grace
					t.Errorf("%d bytes are taken in, want %d at most", n, most)
				}
				if v := s.violation(); v != wire.PeerClosed {
					t.Errorf("ended by violation %d, want the peer's close", v)
				}
			})
		})
	}
}
