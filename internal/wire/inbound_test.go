package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wssecure/wssecure/internal/wire"
)

// frameRows are inbound streams: what passes, then what does not.
var frameRows = []struct {
	id     string
	passes []byte
	bad    []byte
	want   wire.Violation // PeerGone: nothing wrong until the stream ended
	limits func(*wire.Limits)
}{
	{"L-16 text without mask", masked(fin|opText, []byte("hello")), plain(fin|opText, []byte("x")), wire.Protocol, nil},
	{"L-16 ping without mask", nil, plain(fin|opPing, nil), wire.Protocol, nil},
	{"W-01 RSV1 without deflate", nil, masked(fin|rsv1|opText, []byte("x")), wire.Protocol, nil},
	{"W-01 RSV2", nil, masked(fin|0x20|opText, nil), wire.Protocol, deflate},
	{"W-01 RSV3", nil, masked(fin|0x10|opText, nil), wire.Protocol, deflate},
	{"W-01 RSV1 with deflate", masked(fin|rsv1|opText, []byte("x")), nil, wire.PeerGone, deflate},
	{"W-01 RSV1 on a ping", nil, masked(fin|rsv1|opPing, nil), wire.Protocol, deflate},
	{"W-01 RSV1 on a continuation", masked(rsv1|opText, []byte("x")), masked(fin|rsv1, []byte("y")), wire.Protocol, deflate},
	{"W-02 opcode 3", nil, masked(fin|3, nil), wire.Protocol, nil},
	{"W-02 opcode 7", nil, masked(fin|7, nil), wire.Protocol, nil},
	{"W-02 opcode 11", nil, masked(fin|11, nil), wire.Protocol, nil},
	{"W-02 opcode 15", nil, masked(fin|15, nil), wire.Protocol, nil},
	{"W-02 continuation first", nil, masked(fin, []byte("x")), wire.Protocol, nil},
	{"W-02 continuation after a message", masked(fin|opText, []byte("x")), masked(fin, []byte("y")), wire.Protocol, nil},
	{"W-02 text inside a message", join(masked(opText, []byte("x")), masked(fin|opPing, []byte("p"))), masked(fin|opText, nil), wire.Protocol, nil},
	{"W-03 ping with FIN 0", nil, masked(opPing, nil), wire.Protocol, nil},
	{"W-03 ping of 125", masked(fin|opPing, make([]byte, 125)), nil, wire.PeerGone, nil},
	{"W-03 ping of 126", nil, masked(fin|opPing, make([]byte, 126)), wire.Protocol, nil},
	{"W-03 ping of 5 in 16 bits", nil, maskedHead(fin|opPing, 5, 16), wire.Protocol, nil},
	{"W-03 ping of 126 in 64 bits", nil, maskedHead(fin|opPing, 126, 64), wire.Protocol, nil},
	{"W-03 close of 1", nil, masked(fin|opClose, []byte{3}), wire.Protocol, nil},
	{"W-04 125 in 16 bits", nil, maskedHead(fin|opBinary, 125, 16), wire.Protocol, nil},
	{"W-04 65535 in 64 bits", nil, maskedHead(fin|opBinary, 65535, 64), wire.Protocol, nil},
	{"W-04 top bit", nil, maskedHead(fin|opBinary, 1<<63, 64), wire.Protocol, nil},
	{"W1 2^64-1", nil, maskedHead(fin|opBinary, 1<<64-1, 64), wire.Protocol, nil},
	{"W1 2^64-4 after a fragment", masked(opBinary, []byte("abcd")), maskedHead(fin, 1<<64-4, 64), wire.Protocol, nil},
	{"W1 2^63-1", nil, maskedHead(fin|opBinary, 1<<63-1, 64), wire.MessageSize, nil},
	{"W1 2^63-1 after a fragment", masked(opBinary, []byte("abcd")), maskedHead(fin, 1<<63-1, 64), wire.MessageSize, nil},
	{"W1 2^63-1 under no bound", masked(opBinary, []byte("abcd")), maskedHead(fin, 1<<63-1, 64), wire.MessageSize, size(1<<63 - 1)},
	{"W-06 just the size", masked(fin|opBinary, make([]byte, 300)), nil, wire.PeerGone, size(300)},
	{"W-06 one over", nil, masked(fin|opBinary, make([]byte, 301)), wire.MessageSize, size(300)},
	{"W-06 one over, in fragments", masked(opBinary, make([]byte, 300)), masked(fin, []byte("x")), wire.MessageSize, size(300)},
	{"W-06 a message after one of the size", join(masked(fin|opBinary, make([]byte, 300)), masked(fin|opBinary, make([]byte, 300))), nil, wire.PeerGone, size(300)},
	{"W-36 compressed, the size and its slack", masked(fin|rsv1|opBinary, make([]byte, 300+4+64)), nil, wire.PeerGone, both(deflate, size(300))},
	{"W-36 compressed, one over", nil, masked(fin|rsv1|opBinary, make([]byte, 300+4+65)), wire.MessageSize, both(deflate, size(300))},
	{"W-36 not compressed, no slack", nil, masked(fin|opBinary, make([]byte, 301)), wire.MessageSize, both(deflate, size(300))},
	{"W-37 binary", masked(fin|opText, nil), masked(fin|opBinary, nil), wire.MessageType, func(l *wire.Limits) { l.Binary = false }},
	{"W-37 text", masked(fin|opBinary, nil), masked(fin|opText, nil), wire.MessageType, func(l *wire.Limits) { l.Text = false }},
	{"W-08 16 frames, controls between", join(masked(opText, []byte("x")), bytes.Repeat(join(masked(0, []byte("x")), masked(fin|opPing, nil)), 15)), masked(fin, nil), wire.Fragments, fragments(16)},
	{"W-08 16 frames", join(masked(opText, []byte("x")), bytes.Repeat(masked(0, []byte("x")), 14), masked(fin, nil)), nil, wire.PeerGone, fragments(16)},
	{"W-09 2 empty frames", join(masked(opText, nil), masked(0, nil), masked(fin, nil)), nil, wire.PeerGone, fragments(16)},
	{"W-09 3 empty frames", join(masked(opText, nil), masked(0, nil)), masked(0, nil), wire.Fragments, fragments(16)},
	{"L-15 no code", masked(fin|opClose, nil), nil, wire.PeerClosed, nil},
	{"L-15 1000 and a reason", masked(fin|opClose, closing(1000, "bye")), nil, wire.PeerClosed, nil},
	{"L-15 1003", masked(fin|opClose, closing(1003, "")), nil, wire.PeerClosed, nil},
	{"L-15 1014", masked(fin|opClose, closing(1014, "")), nil, wire.PeerClosed, nil},
	{"L-15 4999", masked(fin|opClose, closing(4999, strings.Repeat("r", 123))), nil, wire.PeerClosed, nil},
	{"L-15 999", nil, masked(fin|opClose, closing(999, "")), wire.Protocol, nil},
	{"L-15 1004", nil, masked(fin|opClose, closing(1004, "")), wire.Protocol, nil},
	{"L-15 1005", masked(fin|opText, []byte("a")), masked(fin|opClose, closing(1005, "x")), wire.Protocol, nil},
	{"L-15 1006", nil, masked(fin|opClose, closing(1006, "")), wire.Protocol, nil},
	{"L-15 1015", nil, masked(fin|opClose, closing(1015, "")), wire.Protocol, nil},
	{"L-15 2999", nil, masked(fin|opClose, closing(2999, "")), wire.Protocol, nil},
	{"L-15 5000", nil, masked(fin|opClose, closing(5000, "")), wire.Protocol, nil},
	{"W-16 frames behind a close frame", masked(fin|opClose, closing(1001, "")), masked(fin|3, []byte("garbage")), wire.PeerClosed, nil},
	{"W-16 end without a close frame", masked(fin|opText, []byte("a")), nil, wire.PeerGone, nil},
	{"W-16 end inside a header", masked(fin|opText, []byte("a")), []byte{fin | opText, 0x85, 1}, wire.PeerGone, nil},
	{"W-17 long forms", join(masked(fin|opText, make([]byte, 126)), masked(opBinary, make([]byte, 1000)), masked(fin, nil)), nil, wire.PeerGone, nil},
	{"W-17 a hundred frames", bytes.Repeat(masked(fin|opText, []byte("abc")), 100), nil, wire.PeerGone, nil},
}

func deflate(l *wire.Limits)             { l.Deflate = true }
func size(n int64) func(*wire.Limits)    { return func(l *wire.Limits) { l.MessageSize = n } }
func fragments(n int) func(*wire.Limits) { return func(l *wire.Limits) { l.Fragments = n } }
func both(f ...func(*wire.Limits)) func(*wire.Limits) {
	return func(l *wire.Limits) {
		for _, f := range f {
			f(l)
		}
	}
}

// feed gives the packets to a session, early ones as read before, and returns
// what a library of reads of n bytes got and how it ended.
func feed(l wire.Limits, early []byte, packets [][]byte, n int) ([]byte, wire.Violation, wire.Counters) {
	got, s, counters := feedSession(l, early, packets, n)
	return got, s.violation(), counters
}

func feedSession(l wire.Limits, early []byte, packets [][]byte, n int) ([]byte, *session, wire.Counters) {
	s := newSession(&script{packets: packets}, early, l, nil)
	got, _ := readAll(s.conn, n)
	counters := s.conn.Counters()
	<-s.done
	return got, s, counters
}

// TestFrames sends each row whole, cut in two at every byte with both halves
// sent or the first one early, and a byte at a time, to readers of several
// sizes: always the same bytes pass, and the same verdict follows.
func TestFrames(t *testing.T) {
	for _, row := range frameRows {
		t.Run(row.id, func(t *testing.T) {
			l := open()
			if row.limits != nil {
				row.limits(&l)
			}
			stream := join(row.passes, row.bad)
			check := func(how string, early []byte, packets [][]byte, n int) {
				t.Helper()
				got, v, counters := feed(l, early, packets, n)
				if v != row.want || !bytes.Equal(got, row.passes) {
					t.Fatalf("%s, reads of %d: %d bytes and violation %d; want %d and %d", how, n, len(got), v, len(row.passes), row.want)
				}
				if in := counters.InBytes; in > int64(len(stream)) || in < int64(len(row.passes)) {
					t.Fatalf("%s: %d bytes counted of %d", how, in, len(stream))
				}
			}
			step := 1 + len(stream)/200
			for _, n := range []int{1, 2, 3, 13, 14, 15, 512, 100 << 10} {
				check("whole", nil, [][]byte{stream}, n)
				check("early", stream, nil, n)
				for i := 1; i < len(stream); i += step {
					check("cut", nil, [][]byte{stream[:i:i], stream[i:]}, n)
					if n == 2 || n == 512 {
						check("cut early", stream[:i:i], [][]byte{stream[i:]}, n)
					}
				}
				var bytewise [][]byte
				for i := range stream {
					bytewise = append(bytewise, stream[i:i+1])
				}
				check("bytewise", nil, bytewise, n)
			}
		})
	}
}

func TestCountersOfThePeer(t *testing.T) {
	stream := join(
		masked(opText, []byte("a")), masked(fin|opPing, []byte("p")), masked(fin, []byte("b")),
		masked(fin|opBinary, nil), masked(fin|opClose, closing(3001, "so \"long\"\n")),
	)
	for _, n := range []int{1, 5, 14, 4096} {
		_, s, got := feedSession(open(), stream[:7], [][]byte{stream[7:20], stream[20:]}, n)
		want := wire.Counters{InMessages: 2, InFrames: 5, InBytes: int64(len(stream)), PeerCode: 3001}
		got.OutBytes, got.OutFrames, got.SentCode, got.SentBy = 0, 0, 0, 0 // the answer's
		if v, reason := s.violation(), s.conn.PeerReason(); v != wire.PeerClosed || got != want || reason != "so \"long\"\n" {
			t.Errorf("reads of %d: violation %d, %q, %+v; want %+v", n, v, reason, got, want)
		}
	}
	if _, _, got := feed(open(), masked(fin|opClose, nil), nil, 100); got.PeerCode != 1005 {
		t.Errorf("code %d for a close frame without one, want 1005", got.PeerCode)
	}
	if _, _, got := feed(open(), masked(fin|opClose, closing(1000, "bye"))[:9], nil, 100); got.PeerCode != 0 {
		t.Errorf("code %d for half a close frame, want none", got.PeerCode)
	}
}

func TestUnwantData(t *testing.T) {
	for _, row := range []struct {
		id     string
		stream []byte
		want   wire.Violation
	}{
		{"C-18 ping and pong", join(masked(fin|opPing, nil), masked(fin|opPong, nil)), wire.PeerGone},
		{"C-18 close", masked(fin|opClose, closing(1000, "")), wire.PeerClosed},
		{"C-18 text header", maskedHead(fin|opText, 60000, 0), wire.DataUnwanted},
		{"C-18 empty binary", masked(fin|opBinary, nil), wire.DataUnwanted},
	} {
		t.Run(row.id, func(t *testing.T) {
			s := newSession(&script{packets: [][]byte{row.stream}}, nil, open(), nil)
			s.conn.UnwantData()
			readAll(s.conn, 100)
			<-s.done
			if v := s.violation(); v != row.want {
				t.Errorf("violation %d, want %d", v, row.want)
			}
		})
	}
}

// hesitant is a raw connection whose first read brings nothing and fails with
// nothing.
type hesitant struct {
	script
	asked bool
}

func (h *hesitant) Read(p []byte) (int, error) {
	if !h.asked {
		h.asked = true
		return 0, nil
	}
	return h.script.Read(p)
}

// TestNothingRead: who asked such a connection on and on might spin.
func TestNothingRead(t *testing.T) {
	raw := &hesitant{script: script{packets: [][]byte{masked(fin|opText, []byte("x"))}}}
	s := newSession(raw, nil, open(), nil)
	n, err := s.conn.Read(make([]byte, 100))
	wantEnd(t, err, wire.PeerGone)
	if n != 0 {
		t.Errorf("%d bytes", n)
	}
	s.conn.Cut()
	<-s.done
}

// FuzzFrames holds the meter against a parser written in another way.
func FuzzFrames(f *testing.F) {
	for _, row := range frameRows {
		f.Add(join(row.passes, row.bad), uint16(7), uint8(3), true)
		f.Add(join(row.passes, row.bad), uint16(1), uint8(200), false)
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16, n uint8, rsv bool) {
		l := open()
		l.MessageSize, l.Fragments, l.Deflate, l.Binary = 300, 16, rsv, cut%3 != 0
		at := min(int(cut), len(stream))
		var packets [][]byte
		if at < len(stream) {
			packets = [][]byte{stream[at:]}
		}
		got, v, _ := feed(l, stream[:at], packets, int(n)+1)
		want, verdict := reference(stream, l)
		if v != verdict || !bytes.Equal(got, want) {
			t.Errorf("%d bytes and violation %d; the reference says %d and %d", len(got), v, len(want), verdict)
		}
	})
}
