package storetest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/wssecure/wssecure/store"
)

var beatRows = []row{
	{"beat: who lives, and what time it is", func(b *bench) {
		before := time.Now()
		one := b.beat(1, time.Hour)
		if !one.Lost {
			b.Error("a first Beat finds its epoch missing: Lost")
		}
		if again := b.beat(1, time.Hour); again.Lost {
			b.Error("the second does not")
		}
		two := b.beat(2, time.Hour)
		slices.Sort(two.Live)
		if !slices.Equal(two.Live, []store.NodeID{1, 2}) {
			b.Errorf("Live = %v", two.Live)
		}
		if d := two.Now.Sub(before); d < -time.Minute || d > time.Minute {
			b.Errorf("the store's clock is %v away", d)
		}
	}},
	{"G2 beat: a node that leaves frees its leases at once, and only its own", func(b *bench) {
		b.beat(1, time.Hour)
		b.beat(2, time.Hour)
		b.want(store.None, lease(user, 2, 1, 1))
		b.want(store.None, lease(user, 2, 2, 1))
		if left := b.beat(1, 0); slices.Contains(left.Live, 1) {
			b.Errorf("Live = %v after leaving", left.Live)
		}
		b.want(store.None, lease(user, 2, 2, 2))
		b.want(store.OverCap, lease(user, 2, 2, 3))
	}},
	{"G2 beat: a node that falls silent loses its leases after TTL", func(b *bench) {
		b.beat(1, tick)
		b.beat(2, time.Hour)
		b.want(store.None, lease(user, 2, 1, 1))
		b.want(store.None, lease(user, 2, 2, 1))
		b.want(store.OverCap, lease(user, 2, 2, 2))
		wait(tick + tick/3)
		if live := b.beat(2, time.Hour).Live; slices.Contains(live, 1) {
			b.Errorf("Live = %v, want node 1 dead", live)
		}
		b.want(store.None, lease(user, 2, 2, 2))
		b.want(store.OverCap, lease(user, 2, 2, 3))
	}},
	{"beat: back from the dead it is told so, and its old leases stay void", func(b *bench) {
		b.beat(1, tick)
		b.beat(2, time.Hour)
		b.want(store.None, lease(user, 1, 1, 1))
		wait(tick + tick/3)
		if !b.beat(1, time.Hour).Lost {
			b.Error("Lost is not set")
		}
		b.want(store.None, lease(user, 1, 2, 1))
	}},
	{"beat: a lease lives as long as its node beats", func(b *bench) {
		b.beat(1, tick)
		b.want(store.None, lease(user, 1, 1, 1))
		for range 4 {
			wait(tick / 2)
			b.beat(1, tick)
		}
		b.beat(2, time.Hour)
		b.want(store.OverCap, lease(user, 1, 2, 1))
	}},
}

// follow collects events until stop, which returns what Follow returned.
func (b *bench) follow(after store.Cursor) (events <-chan store.Event, stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ch, done := make(chan store.Event, 1000), make(chan error, 1)
	go func() { done <- b.s.Follow(ctx, after, func(e store.Event) { ch <- e }) }()
	return ch, func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(time.Minute):
			return errors.New("Follow outlives its context")
		}
	}
}

func (b *bench) next(events <-chan store.Event) store.Event {
	b.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(time.Minute):
		b.Fatal("no event")
		panic("unreachable")
	}
}

func (b *bench) quiet(events <-chan store.Event) {
	b.Helper()
	select {
	case e := <-events:
		b.Errorf("unexpected event %+v", e)
	case <-time.After(tick):
	}
}

var feedRows = []row{
	{"feed: revocations, bans and their end, with what they say", func(b *bench) {
		events, stop := b.follow(store.Cursor{})
		before := time.Now().Truncate(time.Second)
		until := before.Add(time.Hour)
		b.mark(store.Mark{Key: user, Kind: store.MarkRevoke, Before: before, Why: "left the company"})
		if e := b.next(events); e.Kind != store.EventRevoke || e.Key != user || !e.Before.Equal(before) || e.Why != "left the company" ||
			!e.Until.After(before) || e.Cursor == (store.Cursor{}) {
			b.Errorf("revoked: %+v", e)
		}
		b.mark(store.Mark{Key: client, Kind: store.MarkBan, Until: until, Why: "abuse"})
		if e := b.next(events); e.Kind != store.EventBan || e.Key != client || e.Why != "abuse" ||
			e.Until.Sub(until).Abs() > time.Second {
			b.Errorf("banned: %+v", e)
		}
		b.mark(store.Mark{Key: client, Kind: store.MarkUnban})
		if e := b.next(events); e.Kind != store.EventUnban || e.Key != client {
			b.Errorf("unbanned: %+v", e)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			b.Errorf("Follow returned %v", err)
		}
	}},
	{"feed: in order, from the cursor on", func(b *bench) {
		for i := range 100 {
			b.mark(store.Mark{Key: store.Session(strconv.Itoa(i)), Kind: store.MarkRevoke})
		}
		events, stop := b.follow(store.Cursor{})
		var seen []store.Event
		for i := range 100 {
			e := b.next(events)
			if e.Key != store.Session(strconv.Itoa(i)) {
				b.Fatalf("event %d is %+v", i, e)
			}
			if i > 0 && e.Cursor.Compare(seen[i-1].Cursor) <= 0 {
				b.Fatalf("cursor %v after %v", e.Cursor, seen[i-1].Cursor)
			}
			seen = append(seen, e)
		}
		b.quiet(events)
		stop()
		events, stop = b.follow(seen[89].Cursor)
		for i := range 10 {
			if e := b.next(events); e != seen[90+i] {
				b.Fatalf("after the cursor: %+v, want %+v", e, seen[90+i])
			}
		}
		b.quiet(events)
		stop()
	}},
	{"feed: a follower that waits is woken; Tail stands at the end", func(b *bench) {
		b.mark(store.Mark{Key: store.Session("old"), Kind: store.MarkRevoke})
		events, stop := b.follow(b.beat(1, time.Hour).Tail)
		other, stopOther := b.follow(store.Cursor{})
		b.quiet(events)
		if e := b.next(other); e.Key != store.Session("old") {
			b.Errorf("got %+v", e)
		}
		b.mark(store.Mark{Key: store.Session("new"), Kind: store.MarkRevoke})
		if e, o := b.next(events), b.next(other); e.Key != store.Session("new") || e != o {
			b.Errorf("got %+v and %+v", e, o)
		}
		b.quiet(events)
		stop()
		stopOther()
	}},
	{"feed: a running ban that is not raised is no event", func(b *bench) {
		events, stop := b.follow(store.Cursor{})
		for range 3 {
			b.mark(ban(client, time.Hour, 2*time.Hour))
		}
		b.next(events)
		b.quiet(events)
		stop()
	}},
	{"feed: whoever hears of a mark finds it", func(b *bench) {
		heard := make(chan store.Verdict, 1)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- b.s.Follow(ctx, store.Cursor{}, func(e store.Event) {
				a := store.Admit{Key: e.Key}
				if err := b.s.Do(ctx, &a); err == nil {
					heard <- a.Verdict
				}
			})
		}()
		for i := range 50 {
			b.mark(store.Mark{Key: store.TokenID("i", strconv.Itoa(i)), Kind: store.MarkRevoke})
			if v := <-heard; v.Refused != store.Revoked {
				b.Fatalf("mark %d: refused %v, want revoked", i, v.Refused)
			}
		}
		cancel()
		<-done
	}},
	{"feed: a context that has ended delivers nothing", func(b *bench) {
		b.mark(store.Mark{Key: user, Kind: store.MarkRevoke})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := b.s.Follow(ctx, store.Cursor{}, func(e store.Event) { b.Errorf("delivered %+v", e) }); !errors.Is(err, context.Canceled) {
			b.Errorf("Follow returned %v", err)
		}
	}},
}
