package wire_test

import (
	"bytes"
	"testing"
	"testing/synctest"
)

// W-36: after Singly nothing is given together with what is behind a
// message, however packets are cut and whatever the library asks for at once.
func TestReadsEndWithMessages(t *testing.T) {
	frames := [][]byte{
		masked(fin|rsv1|opText, []byte("one")),
		masked(fin|opPing, []byte("beside")),
		masked(rsv1|opBinary, []byte("in ")),
		masked(fin|opPong, nil),
		masked(fin, []byte("parts")),
		masked(fin|opText, nil),
		masked(fin|opText, bytes.Repeat([]byte("a"), 5000)),
		masked(fin|rsv1|opText, []byte("last")),
	}
	all := join(frames...)
	between := map[int]bool{} // where all that came before is whole
	ends := map[int]bool{}    // and a message is what ended
	at, inMessage := 0, false
	for _, f := range frames {
		at += len(f)
		control := f[0]&0xF >= opClose
		if !control {
			inMessage = f[0]&fin == 0
		}
		between[at], ends[at] = !inMessage, !inMessage && !control
	}
	l := open()
	l.Deflate = true
	for _, packet := range []int{1, 2, 7, 100, len(all)} {
		for _, size := range []int{1, 5, 14, 256, 8192} {
			synctest.Test(t, func(t *testing.T) {
				raw := &script{}
				for rest := all; len(rest) > 0; {
					n := min(packet, len(rest))
					raw.packets, rest = append(raw.packets, rest[:n]), rest[n:]
				}
				s := newSession(raw, nil, l, nil)
				s.conn.Singly()
				p := make([]byte, size)
				for at := 0; at < len(all); {
					n, err := s.conn.Read(p)
					if err != nil || !bytes.Equal(p[:n], all[at:at+n]) {
						t.Fatalf("packets of %d, reads of %d: %q at %d, %v", packet, size, p[:n], at, err)
					}
					for i := range n - 1 {
						if ends[at+i+1] {
							t.Fatalf("packets of %d, reads of %d: one passes the end of a message at %d", packet, size, at+i+1)
						}
					}
					at += n
					if got := s.conn.BetweenMessages(); got != between[at] {
						t.Errorf("packets of %d, reads of %d: BetweenMessages at %d is %t", packet, size, at, got)
					}
				}
				s.conn.Cut()
				<-s.done
			})
		}
	}
}
