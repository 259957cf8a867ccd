package store

import (
	"cmp"
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"time"
)

// This file asks for the marks of live sessions when the feed may not have told of all: it broke off, or has a gap. That
// is up to a million questions, of a store that may be in trouble already: so the feed does not wait for them, one batch
// that fails is asked again alone, and a feed that breaks off again and again has them asked more and more rarely.

// watch is what one caller wants asked for after a gap.
type watch struct{ live iter.Seq2[Key, time.Time] }

// Watch names the credentials of open sessions, each key with the time at which it was issued: a gap in the feed may hide
// that one is revoked, so their marks are asked for then. live is called while a Follow runs, may be called often and
// must not hold a lock meanwhile.
func (n *Node) Watch(live iter.Seq2[Key, time.Time]) (stop func()) {
	w := &watch{live}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watched = append(n.watched, w)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.watched = slices.DeleteFunc(n.watched, func(x *watch) bool { return x == w })
	}
}

// owe has the marks asked for, once more if that goes on already.
func (f *follower) owe() {
	select {
	case f.owed <- struct{}{}:
	default:
	}
}

// askBeside asks for what is owed until ctx ends or stop is called.
func (f *follower) askBeside(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		f.askWhatIsOwed(ctx)
	}()
	return func() {
		cancel()
		<-over
	}
}

func (f *follower) askWhatIsOwed(ctx context.Context) {
	rounds := spacing{most: f.n.maxStale / 2} // what a gap hides is heard of before this node's knowledge is too old
	for {
		select {
		case <-f.owed:
		case <-ctx.Done():
			return
		}
		if !rest(ctx, rounds.wait(time.Now())) {
			return
		}
		select {
		case <-f.owed: // the feed broke off again meanwhile
		default:
		}
		if !f.askWatched(ctx) {
			return
		}
		rounds.did(time.Now())
	}
}

// askWatched asks for the marks of all live sessions, some at a time, and reports whether it came to the end.
func (f *follower) askWatched(ctx context.Context) bool {
	f.n.mu.Lock()
	watched := slices.Clone(f.n.watched)
	f.n.mu.Unlock()
	if len(watched) == 0 {
		return true
	}
	// Without a mark on everyone none of its many questions need be asked; zero finds any.
	var everyone Verdict
	if !f.askUntilTold(ctx, []Admit{{Key: Everyone()}}, func(a *Admit) { everyone = a.Verdict }) {
		return false
	}
	var part []Admit
	for _, w := range watched {
		for key, issued := range w.live {
			if key.Kind == KeyEveryone && everyone.Refused != Revoked {
				continue
			}
			if part = append(part, Admit{Key: key, IssuedAt: issued}); len(part) < batchSize {
				continue
			}
			if !f.askUntilTold(ctx, part, f.revoked) {
				return false
			}
			part = part[:0]
		}
	}
	return f.askUntilTold(ctx, part, f.revoked)
}

// askUntilTold asks until there is an answer, and reports whether there was one before ctx ended.
func (f *follower) askUntilTold(ctx context.Context, part []Admit, found func(*Admit)) bool {
	pause := firstPause
	for f.n.askAdmits(ctx, part, found) != nil {
		if !rest(ctx, pause/2+rand.N(pause/2)) {
			return false
		}
		pause = min(2*pause, lastPause)
	}
	return true
}

func (n *Node) askAdmits(ctx context.Context, part []Admit, found func(*Admit)) error {
	if len(part) == 0 {
		return nil
	}
	admits := slices.Clone(part) // a store that is late may still write to them
	ops := make([]Op, len(admits))
	for i := range admits {
		ops[i] = &admits[i]
	}
	if err := n.ask(ctx, otherBudget, ops); err != nil {
		return err
	}
	for i := range admits {
		if err := admits[i].Err; undecided(err) {
			return err
		}
		if admits[i].Verdict.Refused == Revoked {
			found(&admits[i])
		}
	}
	return nil
}

// revoked: the mark is not older than this credential, and more than that nobody here needs to know.
func (f *follower) revoked(a *Admit) {
	f.hand(Event{Kind: EventRevoke, Key: a.Key, Before: a.IssuedAt})
}

// spacing keeps apart what a store in trouble would have done again and again: at once the first time, then after a
// second, two, and so on up to half a minute, and at once again when it was quiet for a minute.
type spacing struct {
	most       time.Duration // where it is less than half a minute; 0: it is not
	last, next time.Time
	pause      time.Duration
}

const (
	firstSpacing = time.Second
	lastSpacing  = 30 * time.Second
)

// wait is how long until it may be done again.
func (s *spacing) wait(now time.Time) time.Duration { return max(0, s.next.Sub(now)) }

// did adds jitter, so that nodes which lost the store together do not come back together.
func (s *spacing) did(now time.Time) {
	s.pause *= 2
	if s.pause == 0 || now.Sub(s.last) > 2*lastSpacing {
		s.pause = firstSpacing
	}
	s.pause = min(s.pause, lastSpacing, cmp.Or(s.most, lastSpacing))
	s.last, s.next = now, now.Add(s.pause+rand.N(s.pause/5))
}
