package wssecure

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// This file says what open sessions are asked about again, and what an answer
// decides; recheckgroup.go asks.

// SetRecheck asks fn again and again about the identity of every open session:
// once for each person and interval, at a random point of the interval's last
// tenth, with the identity of one of that person's sessions. nil lets them stay.
// A [*Rejection] or a [Reason] in the error's chain ends them with its close code,
// else with 3003. Any other error, a panic, or no answer within 10 seconds is
// asked again after 1 second, doubling to a minute; after three intervals without
// an answer they end with 1011. The marks of [Guard.Revoke] are asked again too.
// every is at least a second.
func SetRecheck(every time.Duration, fn func(ctx context.Context, id *Identity) error) Option {
	return func(d *draft) {
		if !d.once("SetRecheck") {
			return
		}
		if every < time.Second {
			d.fault("SetRecheck", "%s is too often; use 1s or more", every)
		}
		if fn == nil {
			d.fault("SetRecheck", "the function is nil; pass one, or leave the option out")
		}
		asked := new(calls)
		d.recheck = &recheckRule{
			every: every,
			who:   func(id *Identity) string { return id.prepared().subject.ID },
			ask: func(ctx context.Context, c *core, id *Identity) (*Identity, error) {
				return nil, c.askFunction(ctx, asked, func(ctx context.Context) error { return fn(ctx, id) })
			},
		}
	}
}

// recheckRule says how often to ask, about whom in one question, and whom. ask
// returns the identity as it is now, nil when it cannot have changed.
type recheckRule struct {
	every time.Duration
	who   func(*Identity) string
	ask   func(ctx context.Context, c *core, id *Identity) (*Identity, error)
}

const (
	recheckTime       = 10 * time.Second
	recheckRetryFirst = time.Second
	recheckRetryMost  = time.Minute
	recheckPatience   = 3 // intervals
)

// pause spreads the questions: a fleet that came at once must not ask at once.
func (r *recheckRule) pause() time.Duration {
	return r.every - rand.N(r.every/10+1)
}

// undecided is an answer that is none. It hides its reason from asRejection.
type undecided struct{ rejection *Rejection }

func (u *undecided) Error() string { return u.rejection.Error() }

// decided is the rejection that err stands for, nil when it decides nothing.
func decided(err error) *Rejection {
	if rejection := asRejection(err, ""); rejection.Reason != "" {
		return rejection
	}
	return nil
}

// lastly is how sessions end about which nothing was decided for too long.
func lastly(err error) *Rejection {
	var u *undecided
	if errors.As(err, &u) {
		return u.rejection
	}
	return &Rejection{Reason: ReasonUnavailable, Err: err}
}

// askFunction asks a function of the application: what it has decided is told
// apart from what has kept it from deciding.
func (c *core) askFunction(ctx context.Context, n *calls, fn func(context.Context) error) error {
	var said atomic.Pointer[Rejection]
	err := c.bounded(ctx, recheckTime, n, func(ctx context.Context) error {
		err := fn(ctx)
		if rejection := decided(err); rejection != nil {
			said.Store(rejection)
			return nil
		}
		return err
	})
	if err != nil {
		return &undecided{asRejection(err, ReasonUnavailable)}
	}
	if rejection := said.Load(); rejection != nil {
		return rejection
	}
	return nil
}
