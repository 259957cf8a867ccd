package endpoint

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A Pace bounds what a scan costs its target.
type Pace struct {
	PerSecond int // connections begun
	Total     int // in all

	places chan struct{}
	mu     sync.Mutex
	begun  int
	next   time.Time
}

// NewPace allows conns connections at once, perSecond new ones a second and total in all.
func NewPace(conns, perSecond, total int) *Pace {
	return &Pace{PerSecond: perSecond, Total: total, places: make(chan struct{}, conns)}
}

// ErrSpent ends what would go beyond the total.
var ErrSpent = errors.New("the number of connections that was allowed is used up")

// Left is how many connections may still be begun.
func (p *Pace) Left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Total - p.begun
}

// enter waits for a place; leave gives it back, once however often it is called.
func (p *Pace) enter(ctx context.Context) (leave func(), err error) {
	pause, err := p.turn()
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return sync.OnceFunc(func() { <-p.places }), nil
}

// turn is how long the next connection has to wait.
func (p *Pace) turn() (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begun >= p.Total {
		return 0, ErrSpent
	}
	p.begun++
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	pause := p.next.Sub(now)
	p.next = p.next.Add(time.Second / time.Duration(p.PerSecond))
	return pause, nil
}
