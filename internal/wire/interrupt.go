package wire

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrInterrupted is what a Read fails with after [Conn.Interrupt].
var ErrInterrupted = fmt.Errorf("wire: interrupted between messages: %w", os.ErrDeadlineExceeded)

// Interrupt makes a Read that waits between messages fail with ErrInterrupted;
// one that waits inside a message goes on, and the next that would wait between
// messages fails. A deadline would cut messages in half, and a library loses its
// place in the stream then.
func (c *Conn) Interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finishing {
		return
	}
	c.in.interrupted = true
	c.wake() // a paused Read looks again
	if c.in.inRaw && c.in.betweenMessages() {
		c.raw.SetReadDeadline(longAgo)
	}
}

// ClearInterrupt lets Reads wait again.
func (c *Conn) ClearInterrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.interrupted = false
	if !c.finishing {
		c.raw.SetReadDeadline(c.offClock(c.in.deadline))
	}
}

func (in *inbound) betweenMessages() bool { return !in.inMessage && in.left == 0 && in.held == 0 }

// nothingRead settles a raw read that brought nothing: by Interrupt, between
// messages, or so late that a message had begun, which is then read on (nil), or
// for what err says.
func (c *Conn) nothingRead(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	if !c.in.interrupted || c.finishing || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	c.raw.SetReadDeadline(c.offClock(c.in.deadline))
	if c.in.betweenMessages() {
		return ErrInterrupted
	}
	return nil
}
