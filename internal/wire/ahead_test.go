package wire_test

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/wssecure/wssecure/internal/wire"
)

// stream is a raw connection whose peer has sent all of it, and that notes how
// much each Read asked for.
type stream struct {
	script
	bytes.Reader
	asked []int
}

func (s *stream) Read(p []byte) (int, error) {
	s.asked = append(s.asked, len(p))
	return s.Reader.Read(p)
}

func (s *stream) Write(p []byte) (int, error) { return len(p), nil }

// TestReadAhead: inside a frame a reader of little costs no system call for each
// of its calls, and it is given the same bytes.
func TestReadAhead(t *testing.T) {
	all := bytes.Repeat(masked(fin|opBinary, bytes.Repeat([]byte("0123456789abcdef"), 64)), 64)
	for _, n := range []int{1, 7, 13, 14, 512, 4095, 4096, 70_000} {
		raw := &stream{Reader: *bytes.NewReader(all)}
		s := newSession(raw, nil, open(), nil)
		got, err := readAll(s.conn, n)
		wantEnd(t, err, wire.PeerGone)
		<-s.done
		if !bytes.Equal(got, all) {
			t.Fatalf("reads of %d: %d bytes of %d, or others", n, len(got), len(all))
		}
		if c := s.conn.Counters(); c.InMessages != 64 || c.InBytes != int64(len(all)) {
			t.Errorf("reads of %d: %d messages of %d bytes", n, c.InMessages, c.InBytes)
		}
		if most := len(all)/4096 + 8; len(raw.asked) > most {
			t.Errorf("reads of %d: the connection was read %d times, want at most %d", n, len(raw.asked), most)
		}
	}
}

// TestNoReadAheadBetweenFrames: what an idle peer has us hold is the reader's own
// buffer.
func TestNoReadAheadBetweenFrames(t *testing.T) {
	long, empty := masked(fin|opText, make([]byte, 600)), masked(fin|opText, nil)
	for _, row := range []struct {
		what    string
		packets [][]byte
		asked   []int
	}{
		{"a message", [][]byte{masked(fin|opText, []byte("whole"))}, []int{512, 512}},
		{"a fragment", [][]byte{masked(opText, []byte("not the last"))}, []int{512, 512}},
		{"a message in two packets", [][]byte{long[:512], long[512:]}, []int{512, 4096, 512}},
		{"a header in two packets", [][]byte{empty[:1], empty[1:]}, []int{512, 4096, 512}},
	} {
		raw := &asking{script: script{packets: row.packets}}
		s := newSession(raw, nil, open(), nil)
		_, err := readAll(s.conn, 512)
		wantEnd(t, err, wire.PeerGone)
		<-s.done
		if n := len(row.asked); len(raw.asked) < n || !slices.Equal(raw.asked[:n], row.asked) {
			t.Errorf("%s: the connection was asked for %d bytes, want %d", row.what, raw.asked, row.asked)
		}
	}
}

type asking struct {
	script
	asked []int
}

func (a *asking) Read(p []byte) (int, error) {
	a.asked = append(a.asked, len(p))
	return a.script.Read(p)
}

// TestReadAheadRefusal: a refused frame that was read ahead reaches nobody, and
// the peer's close frame is found behind it.
func TestReadAheadRefusal(t *testing.T) {
	good := masked(fin|opText, make([]byte, 700))
	bubble(t, func() wire.Limits { l := open(); l.Binary = false; return l }(), func(t *testing.T, s *session, peer net.Conn) {
		go peer.Write(join(good, masked(fin|opBinary, []byte("refused")), masked(fin|opClose, closing(1000, "bye"))))
		got, err := readAll(s.conn, 512)
		wantEnd(t, err, wire.MessageType)
		if !bytes.Equal(got, good) {
			t.Errorf("%d bytes were given, want the %d of the first frame", len(got), len(good))
		}
		if first, _ := readFrame(t, peer); first != fin|opClose {
			t.Errorf("the peer was sent %#x", first)
		}
		if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the connection did not end: %v", err)
		}
		if c := s.conn.Counters(); c.PeerCode != 1000 || s.conn.PeerReason() != "bye" {
			t.Errorf("the peer's close frame was lost: %+v", c)
		}
	})
}
