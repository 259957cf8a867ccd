package wire

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// A budget is one rate of a session. It draws on its limiter in chunks of an
// eighth of the burst, so that most small frames cost a subtraction, and piece
// by piece only near the limit. The limiter is made when the first chunk is
// used up: a session that says little never has one.
type budget struct {
	lim    *rate.Limiter
	credit int
}

func newBudget(r Rate) budget {
	return budget{credit: r.chunk()}
}

// over is what draw returns when the peer may not be made to wait.
const over = time.Duration(-1)

// spend takes n from what is drawn already, if there is enough.
func (b *budget) spend(n int) bool {
	if n > b.credit {
		return false
	}
	b.credit -= n
	return true
}

// draw spends n where spend could not. The result is how long the peer has to
// be held back for it; with strict it is over, and nothing spent, when that is
// not nothing.
func (b *budget) draw(r Rate, at time.Time, n int, strict bool) time.Duration {
	if b.lim == nil {
		b.lim = rate.NewLimiter(r.limit(), r.burst())
		b.lim.AllowN(at, r.chunk()) // the one that every session begins with
	}
	need := n - b.credit
	if chunk := r.chunk(); need <= chunk && b.lim.AllowN(at, chunk) {
		b.credit = chunk - need
		return 0
	}
	if strict {
		if !b.lim.AllowN(at, need) {
			return over
		}
		b.credit = 0
		return 0
	}
	b.credit = 0
	var wait time.Duration
	for need > 0 {
		k := min(need, r.burst())
		wait = b.lim.ReserveN(at, k).DelayFrom(at)
		need -= k
	}
	return wait
}

// change follows new limits; what was spent stays spent.
func (b *budget) change(r Rate, at time.Time) {
	b.credit = min(b.credit, r.chunk())
	if b.lim != nil {
		b.lim.SetLimitAt(at, r.limit())
		b.lim.SetBurstAt(at, r.burst())
	}
}

// owed is how long it is until what was spent beyond r is there again.
func (b *budget) owed(r Rate, at time.Time) time.Duration {
	if b.lim == nil {
		return 0
	}
	return b.lim.ReserveN(at, 0).DelayFrom(at)
}

func (r Rate) burst() int { return max(r.Burst, 1) }
func (r Rate) chunk() int { return max(r.Burst/8, 1) }

// limit is zero, which lets through the burst and nothing more, for a rate
// that makes no sense: no value turns a budget off.
func (r Rate) limit() rate.Limit {
	if r.N <= 0 || r.Per <= 0 {
		return 0
	}
	return rate.Limit(float64(r.N) / r.Per.Seconds())
}

// sum is a + b, for a and b that are not negative, without wrapping.
func sum[T ~int64](a, b T) T {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}
