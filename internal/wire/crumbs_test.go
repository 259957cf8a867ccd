package wire_test

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

// inPackets cuts b into packets of n bytes.
func inPackets(b []byte, n int) [][]byte { return slices.Collect(slices.Chunk(b, n)) }

// TestCrumbs: a peer that has each byte read by itself pays for the reads; others
// pay for their bytes alone.
func TestCrumbs(t *testing.T) {
	l := open()
	l.Bytes = wire.Rate{N: 64 << 10, Per: time.Second, Burst: 64 << 10} // 1,024 crumbs
	read := func(t *testing.T, l wire.Limits, packets [][]byte, size int) (took time.Duration, err error) {
		t.Helper()
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			arrivals(peer)
			go flood(peer, packets...)
			start := time.Now()
			var all []byte
			all, err = readSome(s.conn, size, len(slices.Concat(packets...)))
			took = time.Since(start)
			if err == nil && !bytes.Equal(all, slices.Concat(packets...)) {
				t.Error("other bytes came")
			}
		})
		return took, err
	}
	long := masked(fin|opBinary, make([]byte, 5_000))
	fragments := func(n int) (all []byte) {
		all = masked(opText, []byte("a"))
		for range n {
			all = append(all, masked(0, []byte("a"))...)
		}
		return append(all, masked(fin, nil)...)
	}
	for _, row := range []struct {
		name        string
		packets     [][]byte
		size        int // of the library's buffer
		least, most time.Duration
	}{
		{"W-13 a byte per packet", inPackets(long, 1), 4096, 3800 * time.Millisecond, 4200 * time.Millisecond},
		{"W-13 a byte per packet, in fragments", inPackets(fragments(700), 1), 4096, 3800 * time.Millisecond, 4200 * time.Millisecond},
		{"W-13 fragments in packets of their own", inPackets(fragments(1000)[:7*1000], 7), 4096, 0, 100 * time.Millisecond},
		{"W-13 a byte per packet, for a reader of two bytes", inPackets(long, 1), 2, 3800 * time.Millisecond, 4200 * time.Millisecond},
		{"W-13 one packet, for a reader of two bytes", [][]byte{long}, 2, 0, 0},
		{"W-13 long fragments in packets of their own, for a reader of two bytes",
			append([][]byte{masked(opText, nil)}, append(slices.Repeat([][]byte{masked(0, make([]byte, 100))}, 599), masked(fin, nil))...), 2, 0, 0},
		{"W-13 packets of 64 bytes", inPackets(long, 64), 4096, 0, 0},
		{"W-13 headers and payloads apart", slices.Repeat([][]byte{masked(fin|opText, []byte("hello"))[:6], masked(fin|opText, []byte("hello"))[6:]}, 5000), 4096, 0, 0},
		{"W-13 headers and long payloads apart", slices.Repeat([][]byte{masked(fin|opText, make([]byte, 100))[:6], masked(fin|opText, make([]byte, 100))[6:]}, 600), 4096, 0, 0},
		{"W-13 messages of nine packets", slices.Repeat(inPackets(masked(fin|opText, []byte("abc")), 1), 5000), 4096, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			took, err := read(t, l, row.packets, row.size)
			if err != nil || took < row.least || took > row.most {
				t.Errorf("%v after %v, want %v to %v", err, took, row.least, row.most)
			}
		})
	}
	t.Run("W-14 a byte per packet", func(t *testing.T) {
		l := l
		l.CloseOnRate = true
		_, err := read(t, l, inPackets(long, 1), 4096)
		wantEnd(t, err, wire.MessageRate)
	})
	t.Run("W-02 in the crumb that is too much", func(t *testing.T) {
		l := l
		l.Bytes = wire.Rate{N: 1, Per: time.Hour, Burst: 1000}
		l.CloseOnRate = true
		broken := 0
		for n := range 40 { // wherever the rate ends, what is broken is called so
			bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
				end := library(s)
				flood(peer, inPackets(masked(opText, make([]byte, n)), 1)...)
				synctest.Wait()
				if s.violation() != 0 {
					return
				}
				peer.Write(masked(fin|3, nil))
				broken++
				wantEnd(t, <-end, wire.Protocol)
			})
		}
		if broken == 0 || broken == 40 {
			t.Errorf("the rate ended nowhere in between: %d", broken)
		}
	})
	t.Run("a library that asks often, with a deadline", func(t *testing.T) {
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			go flood(peer, long[:100])
			readSome(s.conn, 4096, 100)
			for range 5000 {
				s.conn.SetReadDeadline(time.Now().Add(time.Millisecond / 10))
				s.conn.Read(make([]byte, 4096))
			}
			s.conn.SetReadDeadline(time.Time{})
			go flood(peer, long[100:])
			start := time.Now()
			if _, err := readSome(s.conn, 4096, len(long)-100); err != nil || time.Since(start) != 0 {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	})
	t.Run("a byte at the pace of a bad network", func(t *testing.T) {
		l := l
		l.Bytes = wire.Rate{N: 4 << 10, Per: time.Second, Burst: 4 << 10}
		bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
			go func() {
				for _, p := range inPackets(long[:1000], 1) {
					time.Sleep(20 * time.Millisecond)
					peer.Write(p)
				}
			}()
			start := time.Now()
			if _, err := readSome(s.conn, 4096, 1000); err != nil || time.Since(start) != 20*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	})
}

// readSome reads so many bytes through a buffer.
func readSome(c io.Reader, size, n int) ([]byte, error) {
	p := make([]byte, size)
	var all []byte
	for len(all) < n {
		k, err := c.Read(p)
		all = append(all, p[:k]...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}
