package wssecure

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/internal/clientip"
	"github.com/wssecure/wssecure/internal/limit"
)

// This file bounds what the process spends on others: functions of the
// application that do not return, and the tables that are this process's own.

var errOverdue = errors.New("1024 calls are past their deadline; no more are made until they return")

// LimitHandshakeTime bounds each call of a function of the application during a
// handshake: 10 seconds unless given. A late one is answered with 503.
func LimitHandshakeTime(t time.Duration) Option {
	return func(d *draft) {
		if !d.once("LimitHandshakeTime") {
			return
		}
		switch {
		case t == 0:
			d.fault("LimitHandshakeTime", "0s admits nobody; use 1s to 1m0s")
		case t < time.Second || t > time.Minute:
			d.fault("LimitHandshakeTime", "%s is out of range; use 1s to 1m0s", t)
		}
		d.handshakeTime = t
	}
}

// bounded runs a function of the application for at most limit, which during a
// handshake is LimitHandshakeTime's. A late verdict is ignored; at most 1,024
// calls of one
// function may be overdue. A panic is 500, an error without a Reason 503.
func (c *core) bounded(ctx context.Context, limit time.Duration, n *calls, fn func(context.Context) error) error {
	if n.overdue.Load() >= overdueCalls {
		return &Rejection{Reason: ReasonUnavailable, Err: errOverdue}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel() // here, not where fn runs: the end of ctx must not race the verdict
	done := make(chan error, 1)
	var settled atomic.Bool // by whoever comes first: the verdict or the deadline
	go func() {
		done <- protect(ctx, fn)
		if settled.Swap(true) {
			n.overdue.Add(-1)
		}
	}()
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
		return asRejection(err, ReasonUnavailable)
	case <-ctx.Done():
		n.overdue.Add(1)
		if settled.Swap(true) {
			n.overdue.Add(-1)
		}
		return &Rejection{Reason: ReasonUnavailable, Err: ctx.Err()}
	}
}

func protect(ctx context.Context, fn func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Rejection{Reason: ReasonInternal, Err: fmt.Errorf("panicked: %v", p)}
		}
	}()
	return fn(ctx)
}

const (
	totalCells   = 64
	addressCells = 1 << 16
	badKept      = 1 << 14
)

// totalRates counts handshakes of the whole process, for rules by total.
type totalRates struct {
	cells *limit.Cells
	all   limit.Hash
}

func newTotalRates() *totalRates {
	cells := limit.NewCells(totalCells)
	return &totalRates{cells, cells.HashString(0, "total")}
}

func (t *totalRates) take(r Rate) (ok bool, retry time.Duration) {
	return t.cells.Take(t.all, limit.NewLimit(limit.Rate(r)), 1, time.Now())
}

// addressBudget counts by address, IPv6 by /64 and by /48 with more of it. It is
// this process's own: what a hostile page or a stranger can do before any check
// must not touch a table that honest clients share.
type addressBudget struct {
	cells        *limit.Cells
	narrow, wide limit.Limit
}

var refusedOriginRate = PerMinute(refusedOriginsPerMinute)

func newAddressBudget(r Rate) *addressBudget {
	return &addressBudget{limit.NewCells(addressCells), limit.NewLimit(limit.Rate(r)), limit.NewLimit(limit.Rate(r.times(wideBudgetFactor)))}
}

func (b *addressBudget) take(a netip.Addr, now time.Time) bool {
	narrow := b.cells.HashPrefix(clientip.Bucket(a))
	if ok, _ := b.cells.Take(narrow, b.narrow, 1, now); !ok {
		return false
	}
	wide, ok := clientip.Wide(a)
	if !ok {
		return true
	}
	if ok, _ := b.cells.Take(b.cells.HashPrefix(wide), b.wide, 1, now); ok {
		return true
	}
	b.cells.Take(narrow, b.narrow, -1, now)
	return false
}

// badTokens remembers tokens that a verifier of the application found forged,
// for a minute: the same one counts once.
type badTokens struct{ seen *limit.Seen }

func newBadTokens() *badTokens { return &badTokens{limit.NewSeen(badKept)} }

func (b *badTokens) first(text string) bool {
	return b.seen.Add(b.seen.Digest(text), time.Minute, time.Now())
}

// minuteSample lets one of many through a minute, with the number before it.
type minuteSample struct {
	mu    sync.Mutex
	since time.Time
	held  int64
}

func (s *minuteSample) sample(now time.Time) (first bool, held int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.since.IsZero() && now.Sub(s.since) < time.Minute {
		s.held++
		return false, 0
	}
	held, s.held, s.since = s.held, 0, now
	return true, held
}
