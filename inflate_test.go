package wssecure_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// lastBlock is one stored block, marked as the last (RFC 1951, section 3.2.4): a
// reader that inflates stops behind it, whatever the frame still holds.
func lastBlock(text string) []byte {
	n := byte(len(text))
	return append([]byte{1, n, 0, ^n, 0xFF}, text...)
}

// W-36: bytes behind the last block of a compressed message are never read as
// frames: the wire has not judged them, so no limit would hold for them.
func TestNothingHidesBehindTheLastBlock(t *testing.T) {
	unmasked := [4]byte{}
	hidden := bytes.Repeat(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Binary, Masked: true, Mask: &unmasked, Payload: []byte("hidden")}), 200)
	payload := append(append(lastBlock("seen"), make([]byte, 4096)...), hidden...) // more than any buffer of the library
	whole := compressed(probe.Text, payload)
	whole.Mask = &unmasked
	first := whole
	first.FIN, first.Payload = false, payload[:5000]
	rest := part(probe.Continuation, true, string(payload[5000:]))
	short := whole
	short.Payload = payload[:4096+9+5*12] // five of them, which a small buffer holds
	for name, row := range map[string]struct {
		frames []probe.Frame
		packet int // of TLS, which is what one read gives
	}{
		"W-36 in one frame":                 {[]probe.Frame{whole}, 16 << 10},
		"W-36 in one frame, then others":    {[]probe.Frame{whole, text("a"), text("b"), text("c")}, 16 << 10},
		"W-36 in fragments":                 {[]probe.Frame{first, rest}, 16 << 10},
		"W-36 in the library's own buffer":  {[]probe.Frame{short}, 4000},
		"W-36 behind a message that is not": {[]probe.Frame{text("plain"), whole}, 16 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			serve, got := readings()
			s := serving(t, serve, wssecure.AllowCompression(), wssecure.AllowMessageTypes(wssecure.MessageText))
			c := deflated(t, s)
			var all []byte
			for _, f := range row.frames {
				all = probe.AppendFrame(all, f)
			}
			c.SendSplit(all, row.packet)
			if row.frames[0].RSV == 0 {
				wantDelivered(t, got, "plain")
			}
			wantEnded(t, s, c, got, 1002, wssecure.ReasonProtocol)
		})
	}
}

// Honest compressed messages pass however their packets are cut.
func TestCompressedMessagesInOnePacket(t *testing.T) {
	serve, got := readings()
	s := deflateServer(t, serve)
	var all []byte
	var want []string
	for i := range 40 {
		message := strings.Repeat(string(rune('a'+i%26)), i*i)
		want = append(want, message, "plain")
		f := compressed(probe.Text, deflate([]byte(message)))
		if i%3 == 0 && len(f.Payload) > 1 {
			head := f
			head.FIN, head.Payload = false, f.Payload[:1]
			all = probe.AppendFrame(all, head)
			f = part(probe.Continuation, true, string(f.Payload[1:]))
		}
		all = probe.AppendFrame(all, f)
		all = probe.AppendFrame(all, text("plain"))
		if i%5 == 0 {
			all = probe.AppendFrame(all, probe.Message(probe.Pong, nil))
		}
	}
	for _, size := range []int{len(all), 257, 64, 1} {
		c := deflated(t, s)
		sent := make(chan error, 1)
		go func() { sent <- c.SendSplit(all, size) }()
		wantDelivered(t, got, want...)
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		c.Close()
		next(t, got)
		s.WaitEvent(wssecure.EventClosed)
	}
}
