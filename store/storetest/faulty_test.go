package storetest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/store/storetest"
)

var key = store.Subject("https://id.example.com", "alice")

func put(ticket string) *store.Put { return &store.Put{Ticket: ticket, TTL: time.Hour} }

func TestFaultyConformsWhileItBehaves(t *testing.T) {
	storetest.RunInBubble(t, func(*testing.T) store.Store { return storetest.NewFaulty(store.NewMemory()) })
}

func TestFaultyFails(t *testing.T) {
	f, boom := storetest.NewFaulty(store.NewMemory()), errors.New("boom")
	f.Set(storetest.Fault{Err: boom, Times: 1})
	p := put("t")
	if err := f.Do(t.Context(), p); err != boom || p.Err != boom {
		t.Errorf("Do = %v, op %v", err, p.Err)
	}
	// It did not happen, so the ticket is free; and one batch is all that was to fail.
	if err := f.Do(t.Context(), p); err != nil || p.Err != nil {
		t.Errorf("Do = %v, op %v", err, p.Err)
	}
	if batches, ops := f.Calls(); batches != 2 || ops != 2 {
		t.Errorf("Calls = %d, %d", batches, ops)
	}
}

func TestFaultyLosesAnswers(t *testing.T) {
	f := storetest.NewFaulty(store.NewMemory())
	if err := f.Do(t.Context(), put("t")); err != nil {
		t.Fatal(err)
	}
	f.Set(storetest.Fault{Lose: true})
	r := store.Redeem{Ticket: "t"}
	if err := f.Do(t.Context(), &r); !errors.Is(err, storetest.ErrFault) || r.OK || r.Err == nil {
		t.Errorf("Do = %v, op %+v", err, r)
	}
	f.Heal()
	if err := f.Do(t.Context(), &r); err != nil || r.OK {
		t.Errorf("the redeem whose answer got lost did not happen: %v %+v", err, r)
	}
}

func TestFaultyStrikesOnlySomeOperations(t *testing.T) {
	f := storetest.NewFaulty(store.NewMemory())
	f.Set(storetest.Fault{Err: storetest.ErrFault, Only: func(op store.Op) bool { _, ok := op.(*store.Redeem); return ok }})
	p, r := put("t"), &store.Redeem{Ticket: "t", Keep: true}
	if err := f.Do(t.Context(), p, r); err == nil || p.Err != nil || r.Err == nil {
		t.Errorf("Do = %v, put %v, redeem %v", err, p.Err, r.Err)
	}
	if err := f.Do(t.Context(), put("u")); err != nil {
		t.Errorf("a batch without a redeem: %v", err)
	}
}

func TestFaultyDelaysAndHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, start := storetest.NewFaulty(store.NewMemory()), time.Now()
		f.Set(storetest.Fault{Delay: time.Second})
		if err := f.Do(t.Context(), put("t")); err != nil || time.Since(start) != time.Second {
			t.Errorf("Do = %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Millisecond)
		defer cancel()
		if err := f.Do(ctx, put("u")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("delayed past its context: %v", err)
		}
		f.Set(storetest.Fault{Hang: true})
		if err := f.Do(ctx, put("u")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hung past its context: %v", err)
		}
		go func() { time.Sleep(time.Minute); f.Heal() }()
		start = time.Now()
		if err := f.Do(t.Context(), put("u")); err != nil || time.Since(start) != time.Minute {
			t.Errorf("Do = %v after %v", err, time.Since(start))
		}
	})
}

func TestFaultyFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := store.NewMemory()
		f := storetest.NewFaulty(memory)
		var seen []store.Event
		done := make(chan error, 1)
		go func() { done <- f.Follow(t.Context(), store.Cursor{}, func(e store.Event) { seen = append(seen, e) }) }()
		mark := func() {
			m := store.Mark{Key: key, Kind: store.MarkRevoke}
			if err := memory.Do(context.Background(), &m); err != nil || m.Err != nil {
				t.Error(err, m.Err)
			}
			synctest.Wait()
		}
		if mark(); len(seen) != 1 {
			t.Errorf("%d events, want 1", len(seen))
		}
		f.Set(storetest.Fault{Hang: true})
		if mark(); len(seen) != 1 {
			t.Errorf("%d events while the feed hangs, want 1", len(seen))
		}
		f.Heal()
		if synctest.Wait(); len(seen) != 2 {
			t.Errorf("%d events after the hang, want 2", len(seen))
		}
		f.Set(storetest.Fault{Err: storetest.ErrFault})
		if err := <-done; !errors.Is(err, storetest.ErrFault) {
			t.Errorf("Follow = %v", err)
		}
	})
}
