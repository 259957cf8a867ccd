package wire

// deflation is what permessage-deflate (RFC 7692) asks of the meter.
type deflation uint8

const (
	noDeflate     deflation = iota // RSV1 marks nothing
	deflate                        // it may mark a message
	deflateSingly                  // and no Read gives bytes of two messages
)

func deflationOf(negotiated bool) deflation {
	if negotiated {
		return deflate
	}
	return noDeflate
}

// Singly lets no Read give bytes of two messages where messages are compressed. A
// library that inflates may find the end of a message before the end of its frame
// (RFC 1951, section 3.2.3, BFINAL), and would take what is left of it for frames that
// nobody has judged. Now one that has a whole message must have taken all that it was
// given, and [Conn.BetweenMessages] must hold.
func (c *Conn) Singly() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deflate != noDeflate {
		c.deflate = deflateSingly
	}
}

// BetweenMessages tells whether what the library was given ends with a message, or
// with a control frame behind one.
func (c *Conn) BetweenMessages() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.betweenMessages() && c.in.given >= c.in.judged
}
