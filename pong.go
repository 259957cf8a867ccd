package wssecure

import (
	"context"
	"time"
)

// This file answers pings in the library's place, which gives up a session when a
// pong has not gone out within five seconds: a long message may take its peer longer.

// answerPing leaves the pong to the wire.
func answerPing(ctx context.Context, payload []byte) bool {
	ctx.Value(connKey{}).(*Conn).wire.Pong(payload)
	return false
}

// readContext is what the library reads with. It never ends, and leads answerPing to
// the connection.
type readContext Conn

type connKey struct{}

func (*readContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*readContext) Done() <-chan struct{}       { return nil }
func (*readContext) Err() error                  { return nil }

func (c *readContext) Value(key any) any {
	if key == (connKey{}) {
		return (*Conn)(c)
	}
	return nil
}
