package wire

import "encoding/binary"

// judge walks over the frames of b and returns how many bytes may pass. What
// is behind them is kept: part of a header, or all from where reading pauses or
// a sound frame is refused, so that the peer's close frame can be found behind
// it; behind a broken one or a close frame nothing is.
//
// After [Conn.Singly] nothing passes together with what is behind a message.
func (c *Conn) judge(b []byte) int {
	in := &c.in
	i := 0
	for i < len(b) {
		if in.left > 0 {
			k := int(min(in.left, int64(len(b)-i)))
			if in.first&0xF == opClose {
				in.keepReason(b[i : i+k])
			}
			in.left -= int64(k)
			i += k
		} else {
			size := judgeable(b[i:])
			if size > len(b)-i {
				in.held = uint8(copy(in.hold[:], b[i:]))
				c.awaitRest()
				return i
			}
			if !c.admit(b[i : i+size]) {
				if in.found != Protocol { // else there is no telling where the next frame begins
					in.putBack(b[i:])
				}
				return i
			}
			i += size
		}
		if in.left > 0 {
			continue
		}
		if c.frameDone() {
			return i
		}
		if c.deflate == deflateSingly && !in.inMessage {
			in.putBack(b[i:])
			return i
		}
	}
	if in.left > 0 || in.inMessage {
		c.awaitRest()
	}
	return i
}

// awaitRest notes that a message, or a frame, has begun and is not complete. Its
// time stands still until the peer is listened to again, so that resume can say
// since when; only a ping that waits needs to know when we stopped to.
func (c *Conn) awaitRest() {
	if c.in.since != 0 {
		return
	}
	c.in.since = justBegun
	if c.pingFrom != 0 {
		c.in.since = c.readTime()
	}
	c.in.leftRaw = c.in.since
}

// judgeable is how many bytes of a header are needed to judge it: a close
// frame's code is one of the things a library must not see unjudged.
func judgeable(b []byte) int {
	n := headerSize(b)
	if len(b) >= 2 && b[0]&0xF == opClose && b[1]&^maskBit >= 2 && b[1]&^maskBit <= maxControl {
		n += 2
	}
	return n
}

// putBack makes what was received and not judged the next to be received.
func (in *inbound) putBack(b []byte) {
	if in.off >= len(b) {
		in.off -= len(b)
		return
	}
	rest := make([]byte, 0, len(b)+len(in.rest)-in.off)
	rest = append(append(rest, b...), in.rest[in.off:]...)
	in.off = len(in.rest)
	in.settle()
	in.rest, in.off = rest, 0
}

// admit judges one header and makes it the frame at hand. Where it does not,
// either a violation is found or reading pauses.
func (c *Conn) admit(b []byte) bool {
	in := &c.in
	size := payloadSize(b)
	if b[1]&maskBit == 0 || !wellFormed(b[0], size, in.inMessage, c.deflate != noDeflate) {
		in.found = Protocol
		return false
	}
	if op := b[0] & 0xF; op >= opClose {
		if !c.admitControl(op, b, size) {
			return false
		}
	} else if !c.admitData(op, b[0], size) {
		return false
	}
	in.first, in.left = b[0], size
	c.counters.InFrames++
	if b[0]&0xF == opClose && size >= 2 {
		in.left -= 2
	}
	return true
}

func (c *Conn) admitControl(op byte, b []byte, size int64) bool {
	in := &c.in
	if op == opClose {
		in.closeBody = nil
		if size >= 2 {
			key, code := b[len(b)-6:len(b)-2], b[len(b)-2:]
			in.closeBody = append(make([]byte, 0, size), code[0]^key[0], code[1]^key[1])
			in.closeKey = [4]byte(key)
			if !sendable(int(binary.BigEndian.Uint16(in.closeBody))) {
				in.found = Protocol
				return false
			}
		}
	}
	if c.finishing {
		return true
	}
	if op == opPong && in.pongs > 0 {
		in.pongs--
		return true
	}
	if !in.controls.spend(1) && in.controls.draw(c.limits.Controls, c.start.Add(c.readTime()), 1, true) == over {
		in.found = ControlRate
		return false
	}
	return true
}

func (c *Conn) admitData(op, first byte, size int64) bool {
	in, l := &c.in, c.limits
	begins := op != opContinuation
	total, frames, empty, compressed := in.size, in.frames, in.empty, in.compressed
	if begins {
		total, frames, empty, compressed = 0, 0, 0, first&rsv1Bit != 0
	}
	frames++
	if size == 0 && first&finBit == 0 {
		empty++
	}
	if !c.finishing {
		bound := max(l.MessageSize, 0)
		if compressed { // what deflate adds to bytes that do not shrink
			bound = sum(bound, bound/64+64)
		}
		switch {
		case op == opText && !l.Text, op == opBinary && !l.Binary:
			in.found = MessageType
			return false
		case in.unwanted:
			in.found = DataUnwanted
			return false
		case size > bound-total: // neither is negative: nothing wraps
			in.found = MessageSize
			return false
		case int64(frames) > int64(l.Fragments), int64(empty) > int64(l.Fragments/8):
			in.found = Fragments
			return false
		}
		if begins && !in.paid && !in.messages.spend(1) && !c.charge(&in.messages, l.Messages, 1) {
			in.paid = true
			return false
		}
	}
	in.paid, in.inMessage = false, true
	in.size, in.frames, in.empty, in.compressed = total+size, frames, empty, compressed
	if l.Idle > 0 {
		c.lastData = c.readStamp()
	}
	return true
}

// frameDone notes that a frame is complete: the peer is alive. It tells
// whether nothing may follow it.
func (c *Conn) frameDone() bool {
	in := &c.in
	c.pingFrom = 0
	switch op := in.first & 0xF; {
	case op == opClose:
		c.peerClosed()
		return true
	case op < opClose && in.first&finBit != 0:
		in.inMessage = false
		c.counters.InMessages++
	}
	if !in.inMessage {
		in.since = 0
	}
	return false
}

// keepReason unmasks what passes of a close frame's reason.
func (in *inbound) keepReason(b []byte) {
	for _, x := range b {
		in.closeBody = append(in.closeBody, x^in.closeKey[len(in.closeBody)%4])
	}
}

// peerClosed notes the peer's close frame. The library reads it like any
// other and shall answer.
func (c *Conn) peerClosed() {
	in := &c.in
	in.closed, in.since = true, 0
	c.counters.PeerCode = 1005
	if body := in.closeBody; len(body) >= 2 {
		c.counters.PeerCode = binary.BigEndian.Uint16(body)
	}
	c.beginClosing(PeerClosed, closeTime)
}
