package tlsscan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/wssecure/wssecure/internal/quote"
)

// Content types of records and types of handshake messages.
const (
	recordAlert     = 21
	recordHandshake = 22

	messageServerHello = 2
	messageKeyExchange = 12
	messageHelloDone   = 14
)

// longestFlight bounds what is read of a server's first flight: crypto/tls takes no longer a certificate either.
const longestFlight = 256 << 10

// An answer is a server's ServerHello or HelloRetryRequest, and of the messages after it what a scan wants to know.
type answer struct {
	version       uint16
	suite         uint16
	group         uint16 // TLS 1.3
	compression   byte
	renegotiation bool // safe, RFC 5746
	alpn          string
	primeBits     int // of a DHE key exchange; 0 when there was none
}

// refused is a server's no: an alert, or an end of the connection.
type refused struct{ why string }

func (r refused) Error() string { return r.why }

var errShort = errors.New("a TLS message that ends too early")

// readAnswer reads one ServerHello. With wantKey it reads on until ServerKeyExchange or the end of the flight.
func readAnswer(r io.Reader, wantKey bool) (answer, error) {
	m := &messages{r: r, left: longestFlight}
	typ, body, err := m.next()
	if err != nil {
		return answer{}, err
	}
	if typ != messageServerHello {
		return answer{}, fmt.Errorf("TLS message %d in place of ServerHello", typ)
	}
	a, err := parseServerHello(body)
	if err != nil || !wantKey {
		return a, err
	}
	for {
		typ, body, err := m.next()
		switch {
		case err != nil:
			return a, err
		case typ == messageHelloDone:
			return a, nil
		case typ == messageKeyExchange:
			a.primeBits = bits(body)
			return a, nil
		}
	}
}

// bits is the length of the prime that a ServerDHParams begins with (RFC 5246 section 7.4.3).
func bits(params []byte) int {
	if len(params) < 2 {
		return 0
	}
	n := int(binary.BigEndian.Uint16(params))
	prime := params[2:]
	if n > len(prime) {
		return 0
	}
	prime = prime[:n]
	for len(prime) > 0 && prime[0] == 0 {
		prime = prime[1:]
	}
	if len(prime) == 0 {
		return 0
	}
	length := 8 * len(prime)
	for top := prime[0]; top < 0x80; top <<= 1 {
		length--
	}
	return length
}

func parseServerHello(b []byte) (answer, error) {
	var a answer
	s := reader(b)
	a.version = s.uint16()
	s.take(32)
	s.take(int(s.uint8()))
	a.suite = s.uint16()
	a.compression = s.uint8()
	if s == nil {
		return a, errShort
	}
	if len(s) == 0 { // no extensions
		return a, nil
	}
	exts := reader(s.take(int(s.uint16())))
	if exts == nil {
		return a, errShort
	}
	for len(exts) > 0 {
		id := exts.uint16()
		body := reader(exts.take(int(exts.uint16())))
		if exts == nil {
			return a, errShort
		}
		switch id {
		case extVersions:
			a.version = body.uint16()
		case extKeyShare:
			a.group = body.uint16()
		case extRenegotiation:
			a.renegotiation = true
		case extALPN:
			body.uint16()
			a.alpn = string(body.take(int(body.uint8())))
		}
	}
	return a, nil
}

// messages reads handshake messages out of records.
type messages struct {
	r    io.Reader
	left int
	buf  []byte
}

func (m *messages) next() (typ byte, body []byte, err error) {
	for {
		if len(m.buf) >= 4 {
			n := int(m.buf[1])<<16 | int(m.buf[2])<<8 | int(m.buf[3])
			if n > longestFlight {
				return 0, nil, fmt.Errorf("a TLS message of %d bytes", n)
			}
			if len(m.buf) >= 4+n {
				typ, body, m.buf = m.buf[0], m.buf[4:4+n], m.buf[4+n:]
				return typ, body, nil
			}
		}
		if err := m.record(); err != nil {
			return 0, nil, err
		}
	}
}

func (m *messages) record() error {
	var head [5]byte
	if n, err := io.ReadFull(m.r, head[:]); err != nil {
		return ended(head[:n], err)
	}
	n := int(binary.BigEndian.Uint16(head[3:]))
	if head[1] != 3 || n == 0 || n > 18<<10 {
		return fmt.Errorf("no TLS: %s", quote.Quoted(string(head[:]), quote.Origin))
	}
	if m.left -= n; m.left < 0 {
		return errors.New("a first flight above 256 KiB")
	}
	body := make([]byte, n)
	if read, err := io.ReadFull(m.r, body); err != nil {
		return ended(body[:read], err)
	}
	switch head[0] {
	case recordHandshake:
		m.buf = append(m.buf, body...)
		return nil
	case recordAlert:
		if len(body) == 2 {
			return refused{"alert " + alertName(body[1])}
		}
		return refused{"alert"}
	}
	return fmt.Errorf("a TLS record of type %d in place of ServerHello", head[0])
}

// ended tells a server that hangs up, which is a no, from one that says nothing.
func ended(got []byte, err error) error {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return err
	}
	if len(got) > 0 {
		return errShort
	}
	return refused{"connection closed"}
}

func alertName(code byte) string {
	switch code {
	case 40:
		return "handshake_failure"
	case 47:
		return "illegal_parameter"
	case 70:
		return "protocol_version"
	case 71:
		return "insufficient_security"
	case 80:
		return "internal_error"
	case 112:
		return "unrecognized_name"
	case 120:
		return "no_application_protocol"
	}
	return fmt.Sprint(code)
}

// A reader takes big-endian numbers off a slice. One that ran short is nil, and stays so.
type reader []byte

func (r *reader) take(n int) []byte {
	if *r == nil || n > len(*r) {
		*r = nil
		return nil
	}
	b := (*r)[:n]
	*r = (*r)[n:]
	return b
}

func (r *reader) uint8() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}
