package attack

import (
	"context"
	"sync"
	"time"
)

// Pace bounds what the attacker may cost the target. Zero sets no bound.
type Pace struct {
	Conns     int // open at once
	PerSecond int // connections begun
	Total     int // in all
}

// pacer keeps a Pace.
type pacer struct {
	limits Pace
	places chan struct{}

	mu    sync.Mutex
	begun int
	next  time.Time
}

func (p *pacer) start(limits Pace) {
	p.limits, p.places = limits, nil
	if limits.Conns > 0 {
		p.places = make(chan struct{}, limits.Conns)
	}
}

// enter waits for a place; leave gives it back.
func (p *pacer) enter(ctx context.Context) error {
	pause, err := p.turn()
	if err != nil {
		return err
	}
	if pause > 0 {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
	if p.places == nil {
		return ctx.Err()
	}
	select {
	case p.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pacer) leave() {
	if p.places != nil {
		<-p.places
	}
}

// turn is how long the next connection has to wait.
func (p *pacer) turn() (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limits.Total > 0 && p.begun >= p.limits.Total {
		return 0, errSpent
	}
	p.begun++
	if p.limits.PerSecond <= 0 {
		return 0, nil
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	pause := p.next.Sub(now)
	p.next = p.next.Add(time.Second / time.Duration(p.limits.PerSecond))
	return pause, nil
}

// allows reports whether so many connections may be open at once, and so many begun in a burst of about a second.
func (p *pacer) allows(open, burst int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.limits
	return (l.Conns == 0 || l.Conns >= open) && (l.PerSecond == 0 || l.PerSecond >= burst) && (l.Total == 0 || l.Total-p.begun >= burst)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
