package store_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/store"
)

var (
	client = store.Address(netip.MustParsePrefix("198.51.100.7/32"))
	user   = store.Subject("https://id.example.com", "alice")
	ctx    = context.Background()
)

func address(i int) store.Key {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(i))
	return store.Address(netip.PrefixFrom(netip.AddrFrom4(a), 32))
}

func admit(t *testing.T, m *store.Memory, a store.Admit) store.Verdict {
	t.Helper()
	if err := m.Do(ctx, &a); err != nil || a.Err != nil {
		t.Fatalf("Admit: %v, %v", err, a.Err)
	}
	return a.Verdict
}

func mark(t *testing.T, m *store.Memory, o store.Mark) {
	t.Helper()
	if err := m.Do(ctx, &o); err != nil || o.Err != nil {
		t.Fatalf("Mark: %v, %v", err, o.Err)
	}
}

func TestL21BansDoubleToAnHourAndForgetAfterAnHour(t *testing.T) {
	for _, k := range []store.Key{client, store.Network(netip.MustParsePrefix("198.51.100.0/24"))} {
		synctest.Test(t, func(t *testing.T) {
			m := store.NewMemory()
			for i := range 2000 { // others, so that the sweep comes by only now and then
				mark(t, m, store.Mark{Key: address(i), Kind: store.MarkBan, Base: 1000 * time.Hour})
			}
			failure := store.Mark{Key: k, Kind: store.MarkBan, Base: time.Minute, Max: time.Hour}
			for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
				want *= time.Minute
				mark(t, m, failure)
				time.Sleep(want / 2)
				mark(t, m, failure) // a running ban is not raised
				if v := admit(t, m, store.Admit{Key: client}); v.Refused != store.Banned || v.RetryAfter != want/2 {
					t.Fatalf("got %+v, want half of %v left", v, want)
				}
				time.Sleep(want / 2)
				if v := admit(t, m, store.Admit{Key: client}); v.Refused != store.None {
					t.Fatalf("banned beyond %v", want)
				}
				time.Sleep(time.Hour - 1) // the level is remembered for an hour
			}
			time.Sleep(time.Nanosecond)
			mark(t, m, failure)
			if v := admit(t, m, store.Admit{Key: client}); v.RetryAfter != time.Minute {
				t.Errorf("RetryAfter = %v an hour after the last ban, want a minute", v.RetryAfter)
			}
		})
	}
}

func TestBanLengthsDoNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory()
		const most = 1<<63 - 1
		mark(t, m, store.Mark{Key: client, Kind: store.MarkBan, Base: most, Max: most})
		mark(t, m, store.Mark{Key: user, Kind: store.MarkBan, Until: time.Unix(1<<40, 0)})
		time.Sleep(50 * 365 * 24 * time.Hour)
		for _, k := range []store.Key{client, user} {
			if v := admit(t, m, store.Admit{Key: k}); v.Refused != store.Banned || v.RetryAfter <= 0 {
				t.Errorf("%+v: %+v", k, v)
			}
		}
	})
}

func TestMarkOutlivesAnExpiredToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, k := store.NewMemory(), store.TokenID("i", "j")
		mark(t, m, store.Mark{Key: k, Kind: store.MarkRevoke, Until: time.Now().Add(-time.Hour)})
		time.Sleep(24*time.Hour - 1)
		if v := admit(t, m, store.Admit{Key: k}); v.Refused != store.Revoked {
			t.Errorf("got %+v, want revoked for a day", v)
		}
		time.Sleep(time.Nanosecond)
		if v := admit(t, m, store.Admit{Key: k}); v.Refused != store.None {
			t.Errorf("got %+v after a day", v)
		}
	})
}

// TestEveryKindOfKeyHasARateAndACap: also one of which nothing is marked.
func TestEveryKindOfKeyHasARateAndACap(t *testing.T) {
	m := store.NewMemory()
	for _, k := range []store.Key{
		client, user, store.Network(netip.MustParsePrefix("2001:db8::/48")), store.TokenID("i", "1"), store.OIDCSession("i", "1"), store.Session("1"), store.Everyone(), store.Custom("room", "1"),
	} {
		for _, want := range []store.Refusal{store.None, store.OverRate} {
			if v := admit(t, m, store.Admit{Key: k, Bucket: "b", Rate: store.Rate{N: 1, Per: time.Hour, Burst: 1}, N: 1, IssuedAt: time.Now()}); v.Refused != want {
				t.Errorf("%v: %v, want %v", k, v.Refused, want)
			}
		}
		for conn, want := range []store.Refusal{store.None, store.OverCap} {
			if v := admit(t, m, store.Admit{Key: k, Cap: 1, Node: 1, Conn: uint64(conn + 1), Hold: time.Hour, IssuedAt: time.Now()}); v.Refused != want {
				t.Errorf("%v: %v, want %v", k, v.Refused, want)
			}
		}
	}
}

func TestFeedGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory()
		// follow reads to the end of the feed, and tells how many events that were, and the first one's cursor.
		follow := func(after store.Cursor) (n int, first store.Cursor, err error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			err = m.Follow(ctx, after, func(e store.Event) {
				if n++; n == 1 {
					first = e.Cursor
				}
			})
			return n, first, err
		}
		const size = 1 << 16
		for range size {
			mark(t, m, store.Mark{Key: store.Session("id"), Kind: store.MarkRevoke})
		}
		n, first, err := follow(store.Cursor{})
		if n != size || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%d events, %v; want all", n, err)
		}
		mark(t, m, store.Mark{Key: store.Session("id"), Kind: store.MarkRevoke})
		if n, _, err := follow(store.Cursor{}); n != 0 || !errors.Is(err, store.ErrGap) {
			t.Errorf("%d events, %v; want ErrGap, as the first event is gone", n, err)
		}
		if n, _, err := follow(first); n != size || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d events, %v; want all, as only what was read already is gone", n, err)
		}
	})
}

func TestSlowFollowerIsToldOfTheGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory()
		gate, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- m.Follow(t.Context(), store.Cursor{}, func(store.Event) { <-gate }) }()
		mark(t, m, store.Mark{Key: store.Session("id"), Kind: store.MarkRevoke})
		synctest.Wait()
		for range 1<<16 + 1 {
			mark(t, m, store.Mark{Key: store.Session("id"), Kind: store.MarkRevoke})
		}
		close(gate)
		if err := <-done; !errors.Is(err, store.ErrGap) {
			t.Errorf("Follow = %v, want ErrGap", err)
		}
	})
}

func TestPeekChangesNothing(t *testing.T) {
	m := store.NewMemory()
	rate := store.Rate{N: 1, Per: time.Hour, Burst: 1}
	a := store.Admit{Key: user, Bucket: "r", Rate: rate, N: 1, Cap: 1, Node: 1, Conn: 1, Hold: time.Hour}
	c := store.Claim{Space: store.SpaceHandshakeKey, Value: "n", TTL: time.Hour}
	j := store.Claim{Space: store.SpaceLogout, Value: "j", TTL: time.Hour}
	m.Do(ctx, &store.Put{Ticket: "t", Data: []byte("x"), TTL: time.Hour})
	r := store.Redeem{Ticket: "t"}
	for range 3 {
		m.Peek(&a, &c, &j, &r)
		if a.Verdict != (store.Verdict{}) || a.Err != nil || !c.First || !j.First || !r.OK || string(r.Data) != "x" {
			t.Fatalf("%+v %+v %+v %+v", a, c, j, r)
		}
	}
	if records, _, _ := m.Entries(); records != 0 {
		t.Error("Peek left a record")
	}
	m.Do(ctx, &a, &c, &j, &r)
	if a.Verdict.Refused != store.None || !c.First || !j.First || !r.OK {
		t.Fatalf("%+v %+v %+v %+v", a, c, j, r)
	}
	m.Peek(&c, &j, &r)
	if c.First || j.First || r.OK {
		t.Errorf("%+v %+v %+v", c, j, r)
	}
	a.Conn = 2
	for _, want := range []store.Refusal{store.OverRate, store.Banned, store.Revoked} {
		if m.Peek(&a); a.Verdict.Refused != want || a.Verdict.Held != 1 {
			t.Errorf("Peek = %+v, want %v", a.Verdict, want)
		}
		mark(t, m, map[store.Refusal]store.Mark{
			store.OverRate: {Key: user, Kind: store.MarkBan, Base: time.Hour},
			store.Banned:   {Key: user, Kind: store.MarkRevoke},
			store.Revoked:  {Key: user, Kind: store.MarkUnban},
		}[want])
	}
	a.Rate, a.IssuedAt = store.Rate{}, time.Now().Add(time.Hour)
	if m.Peek(&a); a.Verdict.Refused != store.OverCap {
		t.Errorf("Peek = %+v, want over cap", a.Verdict)
	}
	for _, op := range []store.Op{&store.Mark{Key: user, Kind: store.MarkBan, Base: time.Hour}, &store.Release{Key: user, Node: 1, Conn: 1}, &store.Put{Ticket: "p", TTL: time.Hour}, &store.Beat{Node: 1, TTL: time.Hour}} {
		m.Peek(op)
	}
	if m.Peek(&a); a.Verdict.Refused != store.OverCap {
		t.Errorf("an operation that Peek does not know changed something: %+v", a.Verdict)
	}
}

func TestParallelUseOfEverything(t *testing.T) {
	m := store.NewSmallMemory(200, 2)
	following, cancel := context.WithCancel(ctx)
	var group, followers sync.WaitGroup
	followers.Go(func() { m.Follow(following, store.Cursor{}, func(store.Event) {}) })
	for worker := range 8 {
		group.Go(func() {
			for i := range 500 {
				k, id := store.Subject("i", strconv.Itoa(i%7)), strconv.Itoa(i%11)
				network := store.Network(netip.PrefixFrom(address(i%5<<24).Prefix.Addr(), 8))
				m.Do(ctx,
					&store.Admit{Key: k, Bucket: "r", Rate: store.Rate{N: 1000, Per: time.Second}, N: 1, Cap: 5, Node: store.NodeID(worker + 1), Conn: uint64(i), Hold: time.Minute},
					&store.Admit{Key: address(i % 5 << 24), Bucket: "r", Rate: store.Rate{N: 1000, Per: time.Second}},
					&store.Mark{Key: network, Kind: store.MarkBan + store.MarkKind(i%2), Base: time.Millisecond},
					&store.Mark{Key: address(i), Kind: store.MarkBan, Base: time.Millisecond},
					&store.Mark{Key: store.TokenID("i", id), Kind: store.MarkRevoke, Until: time.Now().Add(time.Millisecond)},
					&store.Put{Ticket: id, TTL: time.Millisecond}, &store.Redeem{Ticket: id, Keep: i%2 == 0},
					&store.Claim{Space: store.SpaceLogout, Value: id, TTL: time.Millisecond * time.Duration(i%2)},
					&store.Beat{Node: store.NodeID(worker + 1), TTL: time.Second * time.Duration(i%3)},
					&store.Release{Key: k, Node: store.NodeID(worker + 1), Conn: uint64(i)})
			}
		})
	}
	group.Wait()
	cancel()
	followers.Wait()
	for worker := range 8 {
		m.Do(ctx, &store.Beat{Node: store.NodeID(worker + 1)})
	}
	if m.Kept() > 22+14 || m.Kept() < 0 { // tickets, logout ids and marks that nobody has swept yet
		t.Errorf("%d kept", m.Kept())
	}
	m.Entries()
}

func ExampleMemory() {
	var s store.Store = store.NewMemory()
	a := store.Admit{
		Key:    store.Address(netip.MustParsePrefix("198.51.100.7/32")),
		Bucket: "handshakes",
		Rate:   store.Rate{N: 600, Per: time.Minute, Burst: 2},
		N:      1,
	}
	for range 3 {
		if err := s.Do(context.Background(), &a); err != nil || a.Err != nil {
			return // could not decide: refuse
		}
		fmt.Println(a.Verdict.Refused)
	}
	// Output:
	// none
	// none
	// over rate
}
