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

// tape is a raw connection that notes each Write.
type tape struct {
	script
	writes [][]byte
}

func (p *tape) Write(b []byte) (int, error) {
	p.writes = append(p.writes, slices.Clone(b))
	return p.script.Write(b)
}

func TestOutboundCounts(t *testing.T) {
	stream := join(
		plain(fin|opText, []byte("hello")), plain(opBinary, make([]byte, 300)), plain(fin|opPing, []byte("p")),
		plain(fin, make([]byte, 70000)), plain(fin|opText, nil), plain(fin|opPong, make([]byte, 125)),
	)
	want := wire.Counters{OutMessages: 3, OutFrames: 6, OutBytes: int64(len(stream))}
	write := func(how string, pieces ...[]byte) {
		t.Helper()
		raw := &tape{}
		s := newSession(raw, nil, open(), nil)
		for _, p := range pieces {
			if n, err := s.conn.Write(p); n != len(p) || err != nil {
				t.Fatalf("%s: wrote %d of %d, %v", how, n, len(p), err)
			}
		}
		if got := s.conn.Counters(); got != want || !bytes.Equal(raw.wrote, stream) {
			t.Fatalf("%s: %d bytes of %d, %+v; want %+v", how, len(raw.wrote), len(stream), got, want)
		}
	}
	write("whole", stream)
	for i := 1; i < len(stream); i += 1 + i/100 {
		write("cut", stream[:i], stream[i:])
	}
	write("bytewise to 1000", append(slices.Collect(slices.Chunk(stream[:1000], 1)), stream[1000:])...)
	write("chunks", slices.Collect(slices.Chunk(stream, 4096))...)
}

// TestJoin: what a library writes in pieces goes out in as few packets as is
// good, and whole frames never wait.
func TestJoin(t *testing.T) {
	big, huge := plain(fin|opBinary, make([]byte, 3000)), plain(fin|opBinary, make([]byte, 64<<10))
	for _, row := range []struct {
		how    string
		pieces [][]byte
		want   []int // lengths of the writes
	}{
		{"header and payload apart", [][]byte{{fin | opText, 5}, []byte("hello")}, []int{7}},
		{"first byte apart", [][]byte{{fin | opText}, {5}, []byte("hello")}, []int{2, 5}},
		{"small buffer first", [][]byte{big[:512], big[512:]}, []int{len(big)}},
		{"big piece first", [][]byte{big[:513], big[513:]}, []int{513, len(big) - 513}},
		{"third piece", [][]byte{big[:100], big[100:200], big[200:]}, []int{200, len(big) - 200}},
		{"whole frame, then a small piece", [][]byte{join(plain(fin|opText, []byte("a")), big[:100]), big[100:]}, []int{3, len(big)}},
		{"many frames at once", [][]byte{join(big, big, big)}, []int{3 * len(big)}},
		{"over 16 KiB behind a piece", [][]byte{plain(fin|opBinary, make([]byte, 20000))[:4], make([]byte, 20000)}, []int{20004 - 16<<10, 16 << 10}},
		{"64 KiB behind a small buffer", [][]byte{huge[:512], huge[512:]}, []int{512, 16 << 10, 16 << 10, 16 << 10, len(huge) - 512 - 48<<10}},
		{"close frame in pieces", [][]byte{{fin | opClose, 2}, {3, 0xE8}}, []int{2, 2}},
	} {
		t.Run(row.how, func(t *testing.T) {
			raw := &tape{}
			s := newSession(raw, nil, open(), nil)
			for _, p := range row.pieces {
				if _, err := s.conn.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			var got []int
			for _, w := range raw.writes {
				got = append(got, len(w))
			}
			if !slices.Equal(got, row.want) || !bytes.Equal(raw.wrote, bytes.Join(row.pieces, nil)) {
				t.Errorf("writes of %v bytes, want %v", got, row.want)
			}
		})
	}
}

func TestBadStream(t *testing.T) {
	for _, row := range []struct {
		id  string
		bad []byte
	}{
		{"W-24 text", []byte("HTTP/1.1 200 OK\r\n\r\n")},
		{"W-24 masked", masked(fin|opText, []byte("x"))},
		{"W-24 continuation of nothing", plain(fin, []byte("x"))},
		{"W-24 RSV1 without deflate", plain(fin|rsv1|opText, []byte("x"))},
		{"W-24 control of 126", plain(fin|opPing, make([]byte, 126))},
	} {
		t.Run(row.id, func(t *testing.T) {
			raw := &tape{}
			s := newSession(raw, nil, open(), nil)
			good := plain(fin|opText, []byte("fine"))
			s.conn.Write(good)
			if n, err := s.conn.Write(row.bad); n != len(row.bad) || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			<-s.done
			if v := s.violation(); v != wire.BadStream {
				t.Errorf("violation %d", v)
			}
			if !bytes.Equal(raw.wrote, join(good, row.bad)) {
				t.Errorf("on the wire: %q", raw.wrote) // as is, and no close frame
			}
			_, err := s.conn.Write(good)
			wantEnd(t, err, wire.BadStream)
		})
	}
}

// TestPeerGoneWhileWriting: a write into nothing ends the session.
func TestPeerGoneWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, peer := net.Pipe()
		s := newSession(raw, nil, open(), nil)
		peer.Close()
		_, err := s.conn.Write(plain(fin|opText, nil))
		wantEnd(t, err, wire.PeerGone)
		<-s.done
	})
}

// TestConcurrentWrites: frames of many writers, the wire's pings and a
// stopping session: every frame at the peer is whole.
func TestConcurrentWrites(t *testing.T) {
	l := open()
	l.Ping = time.Millisecond
	bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
		library(s)
		for i := range 8 {
			go func() {
				message := plain(fin|opBinary, bytes.Repeat([]byte{byte(i)}, 100))
				for {
					if _, err := s.conn.Write(message); err != nil {
						return
					}
					time.Sleep(time.Duration(i+1) * time.Millisecond / 3)
				}
			}()
		}
		time.AfterFunc(time.Second, func() { s.conn.Finish(1001, "enough") })
		pings, messages := 0, 0
		for {
			first, p := readFrame(t, peer)
			switch {
			case first == fin|opPing && len(p) == 8:
				pings++
				peer.Write(masked(fin|opPong, p))
			case first == fin|opBinary && bytes.Equal(p, bytes.Repeat(p[:1], 100)):
				messages++
			case first == fin|opClose:
				if pings < 500 || messages < 5000 {
					t.Errorf("%d pings, %d messages", pings, messages)
				}
				if n, err := io.Copy(io.Discard, peer); n != 0 {
					t.Errorf("%d bytes behind the close frame, %v", n, err)
				}
				return
			default:
				t.Fatalf("frame %x of %d bytes", first, len(p))
			}
		}
	})
}
