package wire

import (
	"sync"
	"time"
)

const (
	// discardPiece is what is discarded at a stretch, and discardPause how long
	// the next waits: 4 MiB in the second of grace. Who has a large message on
	// its way gets rid of it and comes to our close frame; a flood, which no
	// budget holds back any more, must not cost more behind its end than before.
	discardPiece = 64 << 10
	discardPause = 16 * time.Millisecond
	// frameWork is what a frame costs beside its bytes, in bytes: floods are of
	// small frames, large messages are not.
	frameWork = 256
	// discardBuffer is for a peer that has more to say than an answer.
	discardBuffer = 4 << 10
)

// smallDiscards are for one that has not: many sessions may end at once.
var smallDiscards = sync.Pool{New: func() any { return new([smallPiece]byte) }}

// discard reads on for the peer's close frame, so that the close of TCP does
// not overtake ours: unread bytes would turn it into a reset.
func (c *Conn) discard() {
	small := smallDiscards.Get().(*[smallPiece]byte)
	defer smallDiscards.Put(small)
	buf := small[:]
	c.raw.SetReadDeadline(c.offClock(c.closeBy))
	if c.in.found != Protocol {
		c.in.found = 0 // the refused frame is sound: it is walked over
	}
	for paid := c.received(); !c.killed && !c.in.closed; {
		var err error
		if c.in.found == 0 {
			_, err = c.step(buf)
		} else { // behind a broken frame there are none to follow
			_, err = c.receive(buf)
		}
		if err != nil {
			return
		}
		switch work := c.received() - paid; {
		case work >= discardPiece:
			paid += work
			left := c.closeBy - c.clock()
			if left <= 0 { // the deadline of the read is about to say so
				return
			}
			c.mu.Unlock()
			time.Sleep(min(discardPause, left))
			c.mu.Lock()
		case work >= discardBuffer && len(buf) < discardBuffer:
			buf = make([]byte, discardBuffer)
		}
	}
}

// received is the work that the peer has made so far.
func (c *Conn) received() int64 {
	return c.counters.InBytes + frameWork*c.counters.InFrames
}
