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

// bounded runs a function of the application under the time of
// LimitHandshakeTime. A late verdict is ignored; at most 1,024 calls of one
// function may be overdue. A panic is 500, an error without a Reason 503.
func (c *core) bounded(ctx context.Context, p *policy, n *calls, fn func(context.Context) error) error {
	if n.overdue.Load() >= overdueCalls {
		return &Rejection{Reason: ReasonUnavailable, Err: errOverdue}
	}
	ctx, cancel := context.WithTimeout(ctx, p.handshakeTime)
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
	totalCells  = 64
	originCells = 1 << 16
	badKept     = 1 << 14
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

func (t *totalRates) take(rule rateRule) (ok bool, retry time.Duration) {
	return t.cells.Take(t.all, limit.NewLimit(limit.Rate(rule.rate)), 1, time.Now())
}

// originBudget counts refused origins by address. It is this process's own: a
// hostile page must not touch a table that honest clients share.
type originBudget struct {
	cells *limit.Cells
	limit limit.Limit
}

func newOriginBudget() *originBudget {
	rate := limit.Rate{N: refusedOriginsPerMinute, Per: time.Minute, Burst: refusedOriginsPerMinute}
	return &originBudget{limit.NewCells(originCells), limit.NewLimit(rate)}
}

func (b *originBudget) take(a netip.Addr) bool {
	ok, _ := b.cells.Take(b.cells.HashPrefix(clientip.Bucket(a)), b.limit, 1, time.Now())
	return ok
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

// tasks counts what runs, so that Shutdown can wait for it.
type tasks struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to 0; nil while nobody waits
}

func (t *tasks) enter() {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
}

func (t *tasks) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n--
	if t.n == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// wait returns when nothing runs, or with ctx's error.
func (t *tasks) wait(ctx context.Context) error {
	for {
		t.mu.Lock()
		if t.n == 0 {
			t.mu.Unlock()
			return nil
		}
		if t.idle == nil {
			t.idle = make(chan struct{})
		}
		idle := t.idle
		t.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
