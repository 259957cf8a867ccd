package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// follower is one Follow of a Node.
type follower struct {
	n     *Node
	after Cursor // what the caller has seen already

	applying sync.Mutex // apply runs once at a time
	apply    func(Event)
	over     bool

	mu     sync.Mutex
	cursor Cursor
	anew   bool // from the start of the feed
	cut    context.CancelFunc
	notes  []Event // of the node itself, in order
	noting bool

	owed chan struct{} // the marks of what Watch names are to be asked for
}

const (
	rewindBy   = 10_000 // milliseconds that are read again after a reconnect
	firstPause = 50 * time.Millisecond
	lastPause  = 500 * time.Millisecond
	mostNotes  = 4096
)

// Follow implements Store. It never returns ErrGap: where events are missing it asks for the marks of all that Watch
// names, and delivers an EventRevoke for each one found. The feed is read from its start, whatever the cursor, for this
// node's own tables. Beside the shared store's events come EventDown and EventUp, without a Cursor, and what a Mark could
// only do here. Delivered twice is what a reconnect reads again.
func (n *Node) Follow(ctx context.Context, after Cursor, apply func(Event)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f := &follower{n: n, after: after, apply: apply, owed: make(chan struct{}, 1)}
	n.join(f)
	defer n.part(f)
	defer f.askBeside(ctx)()
	var from Cursor
	pause := firstPause
	for {
		began := time.Now()
		err := f.follow(ctx, from)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		for {
			if !rest(ctx, pause/2+rand.N(pause/2)) {
				return ctx.Err()
			}
			pause = min(2*pause, lastPause)
			if from, err = n.resume(ctx, f, from, err); err == nil {
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
}

func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// follow reads the shared feed until it breaks off.
func (f *follower) follow(ctx context.Context, from Cursor) error {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	f.mu.Lock()
	f.cut = cut
	f.mu.Unlock()
	return f.n.shared.Follow(ctx, from, f.deliver)
}

func (f *follower) deliver(e Event) {
	f.n.learn(e)
	f.mu.Lock()
	if e.Cursor.Compare(f.cursor) > 0 {
		f.cursor = e.Cursor
	}
	f.mu.Unlock()
	if e.Cursor.Compare(f.after) > 0 {
		f.hand(e)
	}
}

func (f *follower) hand(e Event) {
	f.applying.Lock()
	defer f.applying.Unlock()
	if !f.over {
		f.apply(e)
	}
}

// resume finds out where to read on after the feed broke off, and has the marks asked for that may have been missed.
func (n *Node) resume(ctx context.Context, f *follower, from Cursor, broke error) (Cursor, error) {
	f.mu.Lock()
	cursor, anew := f.cursor, f.anew
	f.mu.Unlock()
	next := Cursor{Milli: cursor.Milli - min(cursor.Milli, rewindBy)}
	switch {
	case anew:
		next = Cursor{}
	case errors.Is(broke, ErrGap) && from != cursor:
		next = cursor // what was to be read again is gone; it had been read
	case errors.Is(broke, ErrGap):
		// Not as this node: a Beat of its epoch would be told, once and in the heart's place, that the epoch is lost.
		o := Beat{Node: NewNodeID()} // leaves at once: only Tail is wanted
		if err := n.ask(ctx, otherBudget, []Op{&o}); err != nil || o.Err != nil {
			return from, errors.Join(ErrGap, err, o.Err)
		}
		n.feed.missing(time.Now())
		next = o.Tail
	}
	f.owe()
	f.mu.Lock()
	if anew {
		f.cursor, f.anew = Cursor{}, false
	} else if next.Compare(f.cursor) > 0 {
		f.cursor = next
	}
	f.mu.Unlock()
	if next.Compare(cursor) > 0 {
		n.feed.reached(next, time.Now())
	}
	return next, nil
}

func (n *Node) join(f *follower) {
	n.mu.Lock()
	n.followers = append(n.followers, f)
	n.mu.Unlock()
	n.startHeart()
}

func (n *Node) part(f *follower) {
	n.stopHeart()
	n.mu.Lock()
	n.followers = slices.DeleteFunc(n.followers, func(x *follower) bool { return x == f })
	n.mu.Unlock()
	f.applying.Lock()
	f.over = true
	f.applying.Unlock()
}

// restartFeeds opens the feeds anew, from the last event or from the very start.
func (n *Node) restartFeeds(anew bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.followers {
		f.mu.Lock()
		f.anew = f.anew || anew
		if f.cut != nil {
			f.cut()
		}
		f.mu.Unlock()
	}
}

// tell gives all followers an event of this node. It does not wait: the caller may be a follower's apply.
func (n *Node) tell(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.followers {
		f.note(e)
	}
}

func (f *follower) note(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.notes) >= mostNotes {
		f.notes = f.notes[1:]
	}
	f.notes = append(f.notes, e)
	if !f.noting {
		f.noting = true
		go f.handNotes()
	}
}

func (f *follower) handNotes() {
	for {
		f.mu.Lock()
		if len(f.notes) == 0 {
			f.noting = false
			f.mu.Unlock()
			return
		}
		e := f.notes[0]
		f.notes = f.notes[1:]
		f.mu.Unlock()
		f.hand(e)
	}
}

// lost and regained run once for each time that the breaker opens and closes.
func (n *Node) lost() { n.tell(Event{Kind: EventDown}) }

func (n *Node) regained() {
	n.heart.mu.Lock()
	n.heart.failed = true // what happened in between is to be told anew
	n.heart.mu.Unlock()
	n.tell(Event{Kind: EventUp})
	select {
	case n.heart.kick <- struct{}{}:
	default:
	}
}
