package attack

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// This file is whether a refusal says anything. A server that has banned this address, or a proxy that has, refuses all
// that comes: who then counts refusals finds every check in place.

// controls are honest handshakes between attacks. One that begins when several attacks have ended is for all of them.
type controls struct {
	begun atomic.Int64
	mu    sync.Mutex
	last  answer
}

// after returns the answer to a control that has begun after the call.
func (c *controls) after(ask func() answer) answer {
	turn := c.begun.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun.Load() == turn {
		c.begun.Add(1)
		c.last = ask()
	}
	return c.last
}

// meant keeps a refusal only where an honest handshake behind it still is answered as the first was.
func (t *Target) meant(ctx context.Context, v Verdict) Verdict {
	a := t.controls.after(func() answer {
		a := t.askTwice(ctx, t.Honest())
		if !a.like(t.honest) && sleep(ctx, 200*time.Millisecond) == nil {
			a = t.askTwice(ctx, t.Honest())
		}
		return a
	})
	if a.like(t.honest) {
		return v
	}
	return unclear(v.Sent, v.Got, "an honest handshake behind it is no longer answered as before: it may have been refused for that alone: %s", t.got(a))
}
