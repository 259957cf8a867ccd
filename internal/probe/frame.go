package probe

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Opcodes of RFC 6455, section 5.2.
const (
	Continuation byte = 0x0
	Text         byte = 0x1
	Binary       byte = 0x2
	Close        byte = 0x8
	Ping         byte = 0x9
	Pong         byte = 0xA
)

// Lengths that a header can be told to use, shortest or not.
const (
	Form7  = 7
	Form16 = 16
	Form64 = 64
)

// maxFrame bounds what ReadFrame keeps of one frame.
const maxFrame = 16 << 20

// A Frame is one frame, well-formed or not. Its zero value is an unmasked, unfinished continuation.
type Frame struct {
	FIN        bool
	RSV        byte // three bits, RSV1 the highest
	Opcode     byte
	Masked     bool
	Mask       *[4]byte // with Masked; nil means a random one
	Length     *uint64  // declared in the header; nil means len(Payload)
	LengthForm int      // Form7, Form16, Form64; 0 means the shortest that holds the length
	Payload    []byte
}

// Message is a whole message in one masked frame, as a client sends it.
func Message(opcode byte, payload []byte) Frame {
	return Frame{FIN: true, Opcode: opcode, Masked: true, Payload: payload}
}

// CloseFrame is a masked close frame, ready to send. Code 0 makes one without a body.
func CloseFrame(code int, reason string) []byte {
	var body []byte
	if code != 0 {
		body = append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
	}
	return AppendFrame(nil, Message(Close, body))
}

// AppendFrame appends f as it goes over the wire. f.Payload is not changed.
func AppendFrame(dst []byte, f Frame) []byte {
	first := f.RSV&7<<4 | f.Opcode&0xF
	if f.FIN {
		first |= 0x80
	}
	dst = appendLength(append(dst, first), f)
	if !f.Masked {
		return append(dst, f.Payload...)
	}
	mask := f.Mask
	if mask == nil {
		mask = new([4]byte)
		rand.Read(mask[:])
	}
	dst = append(dst, mask[:]...)
	at := len(dst)
	dst = append(dst, f.Payload...)
	Mask(dst[at:], *mask)
	return dst
}

// Mask masks p, or takes the mask off again (RFC 6455 section 5.3).
func Mask(p []byte, key [4]byte) {
	var keys [1 << 10]byte // by blocks: floods are many megabytes
	for i := range keys {
		keys[i] = key[i%4]
	}
	for len(p) > 0 {
		p = p[subtle.XORBytes(p, p, keys[:min(len(p), len(keys))]):]
	}
}

func appendLength(dst []byte, f Frame) []byte {
	length := uint64(len(f.Payload))
	if f.Length != nil {
		length = *f.Length
	}
	var masked byte
	if f.Masked {
		masked = 0x80
	}
	form := f.LengthForm
	if form == 0 {
		form = shortest(length)
	}
	switch form {
	case Form7:
		return append(dst, masked|byte(length&0x7F))
	case Form16:
		return binary.BigEndian.AppendUint16(append(dst, masked|126), uint16(length))
	case Form64:
		return binary.BigEndian.AppendUint64(append(dst, masked|127), length)
	}
	panic(fmt.Sprintf("probe: length form %d", form))
}

func shortest(length uint64) int {
	switch {
	case length <= 125:
		return Form7
	case length <= 0xFFFF:
		return Form16
	}
	return Form64
}

// SendFrame sends one frame.
func (c *Conn) SendFrame(f Frame) error { return c.Send(AppendFrame(nil, f)) }

// ReadFrame reads one frame, of at most 16 MiB, exactly as the server sent it; the payload is unmasked where the server
// masked it, which it must not.
func (c *Conn) ReadFrame() (Frame, error) {
	if err := c.startRead(); err != nil {
		return Frame{}, err
	}
	return c.readFrame(maxFrame)
}

// maxKept bounds what SkimFrame keeps of one frame: more than any control frame has.
const maxKept = 1 << 10

// SkimFrame is ReadFrame for who waits for control frames: with a deadline of its own in place of Timeout, and of a longer
// payload it keeps the first KiB alone.
func (c *Conn) SkimFrame(deadline time.Time) (Frame, error) {
	if err := c.nc.SetReadDeadline(deadline); err != nil {
		return Frame{}, err
	}
	return c.readFrame(maxKept)
}

// readFrame keeps so many bytes of the payload.
func (c *Conn) readFrame(most int64) (Frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{FIN: head[0]&0x80 != 0, RSV: head[0] >> 4 & 7, Opcode: head[0] & 0xF, Masked: head[1]&0x80 != 0}
	length, form, err := c.readLength(head[1] & 0x7F)
	if err != nil {
		return f, err
	}
	f.Length, f.LengthForm = &length, form
	if length > maxFrame {
		return f, fmt.Errorf("probe: frame of %d bytes", length)
	}
	if f.Masked {
		f.Mask = new([4]byte)
		if _, err := io.ReadFull(c.br, f.Mask[:]); err != nil {
			return f, unfinished(err)
		}
	}
	// Memory follows what arrives, not what is declared.
	kept := min(int64(length), most)
	if f.Payload, err = io.ReadAll(io.LimitReader(c.br, kept)); err != nil {
		return f, err
	}
	if int64(len(f.Payload)) < kept {
		return f, io.ErrUnexpectedEOF
	}
	if _, err := c.br.Discard(int(int64(length) - kept)); err != nil {
		return f, unfinished(err)
	}
	if f.Masked {
		Mask(f.Payload, *f.Mask)
	}
	return f, nil
}

func (c *Conn) readLength(short byte) (uint64, int, error) {
	var ext [8]byte
	switch short {
	case 126:
		_, err := io.ReadFull(c.br, ext[:2])
		return uint64(binary.BigEndian.Uint16(ext[:])), Form16, unfinished(err)
	case 127:
		_, err := io.ReadFull(c.br, ext[:])
		return binary.BigEndian.Uint64(ext[:]), Form64, unfinished(err)
	}
	return uint64(short), Form7, nil
}

// unfinished tells an end inside a frame from one between frames.
func unfinished(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// AwaitClose reads frames until a close frame and returns its code and reason; 1005 when it has none. Pings and
// messages before it are passed over, at most a thousand. All of it is one step: a server that drips cannot prolong it.
func (c *Conn) AwaitClose() (code int, reason string, err error) {
	if err := c.startRead(); err != nil {
		return 0, "", err
	}
	for range 1000 {
		f, err := c.readFrame(maxKept)
		if err != nil {
			return 0, "", err
		}
		if f.Opcode != Close {
			continue
		}
		if len(f.Payload) < 2 {
			return 1005, "", nil
		}
		return int(binary.BigEndian.Uint16(f.Payload)), string(f.Payload[2:]), nil
	}
	return 0, "", fmt.Errorf("probe: a thousand frames and no close")
}
