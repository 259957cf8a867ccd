package attack

import (
	"context"
	"sync/atomic"
	"time"
)

// This file is whether a refusal says anything. A server that has banned this address, or a proxy that has, refuses all
// that comes: who then counts refusals finds every check in place.

// controls are honest handshakes between attacks. One that begins when several attacks have ended is for all of them.
type controls struct {
	begun atomic.Int64
	turn  chan struct{} // holds one while one is under way
	last  answer
}

// after returns the answer to a control that has begun after the call.
func (c *controls) after(ask func() answer) answer {
	begun := c.begun.Load()
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if c.begun.Load() == begun {
		c.begun.Add(1)
		c.last = ask()
	}
	return c.last
}

// meant keeps a refusal only where an honest handshake behind it still is answered as the first was.
func (t *Target) meant(ctx context.Context, v Verdict) Verdict {
	a := t.controls.after(func() answer {
		a := t.again(ctx)
		pause := 200 * time.Millisecond
		if a.busy() {
			pause = min(a.retryAfter(), 2*time.Second)
		}
		if !a.like(t.honest) && sleep(ctx, pause) == nil {
			a = t.again(ctx)
		}
		return a
	})
	if a.like(t.honest) {
		return v
	}
	return unclear(v.Sent, v.Got, "an honest handshake behind it is no longer answered as before: it may have been refused for that alone: %s", t.got(a))
}

// again makes the honest handshake once more. It waits for what may come behind a 101 only where a server has been seen to
// take one back: there are as many of these as of attacks.
func (t *Target) again(ctx context.Context) answer {
	l, a := t.open(ctx, t.Honest())
	if l == nil {
		return a
	}
	defer l.Close()
	if t.takesBack.Load() {
		a = l.farewell(a)
	}
	return a
}
