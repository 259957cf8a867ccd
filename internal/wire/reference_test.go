package wire_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/big"

	"github.com/wssecure/wssecure/internal/wire"
)

// reference judges a whole stream at once: it takes frame after frame off a
// reader, with arithmetic that cannot wrap, and says what a library may see
// and what the verdict is when the stream has ended.
func reference(stream []byte, l wire.Limits) ([]byte, wire.Violation) {
	r := bytes.NewReader(stream)
	passed := func() []byte { return stream[:len(stream)-r.Len()] }
	take := func(n int) ([]byte, bool) {
		b := make([]byte, n)
		_, err := io.ReadFull(r, b)
		return b, err == nil
	}
	type message struct {
		total         *big.Int
		frames, empty int
		bound         *big.Int
	}
	var current *message
	for {
		before := passed()
		two, ok := take(2)
		if !ok {
			return before, wire.PeerGone
		}
		final, flags, op := two[0]>>7 == 1, two[0]>>4&7, two[0]&15
		hasMask, short := two[1]>>7 == 1, two[1]&127
		declared := big.NewInt(int64(short))
		badForm := false
		if wide := map[byte]int{126: 2, 127: 8}[short]; wide > 0 {
			b, ok := take(wide)
			if !ok {
				return before, wire.PeerGone
			}
			declared = new(big.Int).SetBytes(b)
			least := map[int]int64{2: 126, 8: 65536}[wide]
			badForm = declared.Cmp(big.NewInt(least)) < 0 || declared.BitLen() > 63
		}
		var mask []byte
		if hasMask {
			if mask, ok = take(4); !ok {
				return before, wire.PeerGone
			}
		}
		control := op >= 8
		// A close frame is judged with its code.
		code := -1
		if op == 8 && short >= 2 && short <= 125 {
			b, ok := take(2)
			if !ok {
				return before, wire.PeerGone
			}
			if hasMask {
				code = int(binary.BigEndian.Uint16([]byte{b[0] ^ mask[0], b[1] ^ mask[1]}))
			}
			r.Seek(-2, io.SeekCurrent)
		}
		known := op <= 2 || op >= 8 && op <= 10
		compressed := flags == 4
		switch {
		case !hasMask, badForm, !known,
			flags != 0 && !(compressed && l.Deflate && (op == 1 || op == 2)),
			control && (!final || declared.Cmp(big.NewInt(125)) > 0),
			op == 8 && declared.Cmp(big.NewInt(1)) == 0,
			op == 0 && current == nil,
			(op == 1 || op == 2) && current != nil:
			return before, wire.Protocol
		}
		if op == 8 && code >= 0 {
			allowed := code >= 3000 && code < 5000
			for _, c := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014} {
				allowed = allowed || c == code
			}
			if !allowed {
				return before, wire.Protocol
			}
		}
		if !control {
			if op == 1 && !l.Text || op == 2 && !l.Binary {
				return before, wire.MessageType
			}
			if op != 0 {
				current = &message{total: new(big.Int), bound: big.NewInt(l.MessageSize)}
				if compressed {
					current.bound.Add(current.bound, big.NewInt(l.MessageSize/64+64))
				}
			}
			current.total.Add(current.total, declared)
			if current.total.Cmp(current.bound) > 0 {
				return before, wire.MessageSize
			}
			current.frames++
			if !final && declared.Sign() == 0 {
				current.empty++
			}
			if current.frames > l.Fragments || current.empty > l.Fragments/8 {
				return before, wire.Fragments
			}
			if final {
				current = nil
			}
		}
		body := int64(min(uint64(r.Len()), declared.Uint64()))
		whole := body == declared.Int64()
		r.Seek(body, io.SeekCurrent)
		if !whole {
			return passed(), wire.PeerGone
		}
		if op == 8 {
			return passed(), wire.PeerClosed
		}
	}
}
