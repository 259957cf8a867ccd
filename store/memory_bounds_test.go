package store_test

import (
	"errors"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/store"
)

func TestFullOfWhatIsNeverForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewSmallMemory(100, 1)
		lease := func(i int) *store.Admit {
			return &store.Admit{Key: user, Cap: 1000, Node: 1, Conn: uint64(i), Hold: time.Hour}
		}
		for i := range 50 {
			m.Do(ctx, lease(i))
			m.Do(ctx, &store.Put{Ticket: strconv.Itoa(i), TTL: time.Minute})
		}
		last := lease(99)
		last.Bucket, last.Rate, last.N = "r", store.Rate{N: 1, Per: time.Hour, Burst: 1}, 1
		put := store.Put{Ticket: "t", TTL: time.Minute}
		jti := store.Claim{Space: store.SpaceLogout, Value: "jti", TTL: time.Minute}
		revoke := store.Mark{Key: store.TokenID("i", "j"), Kind: store.MarkRevoke}
		m.Do(ctx, last, &put, &jti, &revoke)
		for _, err := range []error{last.Err, put.Err, jti.Err, revoke.Err} {
			if !errors.Is(err, store.ErrFull) {
				t.Errorf("got %v, want ErrFull", err)
			}
		}
		if jti.First {
			t.Error("a claim that found no room was first")
		}
		// Bans, rates and handshake keys have places of their own.
		mark(t, m, store.Mark{Key: client, Kind: store.MarkBan, Base: time.Minute})
		nonce := store.Claim{Space: store.SpaceHandshakeKey, Value: "n", TTL: time.Minute}
		if m.Do(ctx, &nonce); !nonce.First || nonce.Err != nil {
			t.Errorf("handshake key: %+v", nonce)
		}
		// What has lapsed makes room, wherever it lies.
		time.Sleep(time.Minute)
		if m.Do(ctx, last, &put, &jti, &revoke); last.Err != nil || last.Verdict.Refused != store.None || put.Err != nil || !jti.First || revoke.Err != nil {
			t.Errorf("after a minute: %v %v %v %v", last.Err, put.Err, jti.Err, revoke.Err)
		}
		if last.Verdict.Held != 51 {
			t.Errorf("Held = %d, want all 50 and this one: leases stay", last.Verdict.Held)
		}
	})
}

func TestTicketDataIsBounded(t *testing.T) {
	m := store.NewSmallMemory(1000, 1)
	large := make([]byte, 16<<10)
	for i := range 64 {
		p := store.Put{Ticket: strconv.Itoa(i), Data: large, TTL: time.Minute}
		if m.Do(ctx, &p); p.Err != nil {
			t.Fatalf("ticket %d: %v", i, p.Err)
		}
	}
	over := store.Put{Ticket: "over", Data: large, TTL: time.Minute}
	huge := store.Put{Ticket: "huge", Data: make([]byte, 16<<10+1), TTL: time.Minute}
	if m.Do(ctx, &over, &huge); !errors.Is(over.Err, store.ErrFull) || !errors.Is(huge.Err, store.ErrInvalid) {
		t.Errorf("got %v and %v", over.Err, huge.Err)
	}
	if m.Kept() != 64 {
		t.Errorf("%d places taken by 64 tickets", m.Kept())
	}
	m.Do(ctx, &store.Redeem{Ticket: "0"})
	if m.Do(ctx, &over); over.Err != nil {
		t.Errorf("a redeemed ticket's bytes are free again, yet %v", over.Err)
	}
}

func TestBansYieldOnlyToBansThatLastLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewSmallMemory(100, 16)
		const places = 16 * 64
		long := store.Mark{Key: client, Kind: store.MarkBan, Base: time.Hour}
		mark(t, m, long)
		for i := range 10 * places {
			mark(t, m, store.Mark{Key: address(i), Kind: store.MarkBan, Base: time.Minute})
		}
		// A flood of rates, claims and tickets takes no ban's place.
		for i := range 5000 {
			m.Do(ctx, &store.Admit{Key: address(1 << 20 * i), Bucket: "r", Rate: store.Rate{N: 1, Per: time.Hour}, N: 1},
				&store.Claim{Space: store.SpaceHandshakeKey, Value: strconv.Itoa(i), TTL: time.Hour},
				&store.Put{Ticket: strconv.Itoa(i), TTL: time.Hour})
		}
		_, bans, _ := m.Entries()
		if bans > places || bans < places/2 {
			t.Errorf("%d bans in %d places", bans, places)
		}
		if v := admit(t, m, store.Admit{Key: client}); v.Refused != store.Banned {
			t.Error("the longest ban gave way to shorter ones")
		}
		if m.Evictions() == 0 {
			t.Error("no eviction counted")
		}
	})
}

func TestNetworksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewSmallMemory(1, 1)
		revoke := func(i int) error {
			k := store.Network(netip.PrefixFrom(address(i<<8).Prefix.Addr(), 24))
			o := store.Mark{Key: k, Kind: store.MarkRevoke, Until: time.Now().Add(time.Hour)}
			m.Do(ctx, &o)
			return o.Err
		}
		for i := range 64 {
			if err := revoke(i); err != nil {
				t.Fatalf("network %d: %v", i, err)
			}
		}
		if err := revoke(64); !errors.Is(err, store.ErrFull) {
			t.Errorf("one too many: %v, want ErrFull", err)
		}
		if err := revoke(7); err != nil {
			t.Errorf("raising one that is there: %v", err)
		}
		time.Sleep(time.Hour)
		if err := revoke(64); err != nil {
			t.Errorf("after all have lapsed: %v", err)
		}
	})
}

func TestNothingStaysBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory()
		for i := range 2000 {
			k := store.Subject("i", strconv.Itoa(i))
			a := store.Admit{Key: k, Cap: 3, Node: 1, Conn: uint64(i), Hold: time.Hour}
			m.Do(ctx, &a, &store.Release{Key: k, Node: 1, Conn: uint64(i)})
			m.Do(ctx, &store.Put{Ticket: strconv.Itoa(i), TTL: time.Minute}, &store.Redeem{Ticket: strconv.Itoa(i)})
		}
		if records, _, secrets := m.Entries(); records != 0 || secrets != 0 || m.Kept() != 0 {
			t.Errorf("released and redeemed: %d records, %d secrets, %d kept", records, secrets, m.Kept())
		}
		for i := range 2000 {
			m.Do(ctx, &store.Admit{Key: store.Subject("i", strconv.Itoa(i)), Cap: 3, Node: 3, Conn: 1, Hold: time.Hour})
		}
		m.Do(ctx, &store.Beat{Node: 3})
		if records, _, _ := m.Entries(); records != 0 || m.Kept() != 0 {
			t.Errorf("its node has left: %d records, %d kept", records, m.Kept())
		}
		for i := range 2000 {
			k := store.Subject("i", strconv.Itoa(i))
			m.Do(ctx, &store.Admit{Key: k, Cap: 3, Node: 1, Conn: uint64(i), Hold: time.Minute},
				&store.Mark{Key: k, Kind: store.MarkRevoke, Until: time.Now().Add(time.Minute)},
				&store.Mark{Key: address(i), Kind: store.MarkBan, Base: time.Minute},
				&store.Put{Ticket: strconv.Itoa(i), TTL: time.Minute},
				&store.Claim{Space: store.SpaceLogout, Value: strconv.Itoa(i), TTL: time.Minute})
		}
		// What was refused holds no place.
		tight := store.Rate{N: 1, Per: time.Hour}
		for conn := range uint64(3) {
			m.Do(ctx, &store.Admit{Key: user, Bucket: "r", Rate: tight, Cap: 3, Node: 1, Conn: conn, Hold: time.Minute})
		}
		m.Do(ctx, &store.Release{Key: user, Node: 1, Conn: 0})
		if m.Kept() != 8000 {
			t.Errorf("%d kept, want 8,000", m.Kept())
		}
		time.Sleep(2 * time.Hour)
		for range 64 { // a Beat a second sweeps a shard each
			m.Do(ctx, &store.Beat{Node: 2, TTL: 5 * time.Second})
		}
		if records, bans, secrets := m.Entries(); records != 0 || bans != 0 || secrets != 0 || m.Kept() != 0 {
			t.Errorf("lapsed: %d records, %d bans, %d secrets, %d kept", records, bans, secrets, m.Kept())
		}
	})
}

func TestLapsedEntriesGoAsNewOnesCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory()
		for i := range 20_000 {
			m.Do(ctx, &store.Put{Ticket: strconv.Itoa(i), TTL: time.Second},
				&store.Mark{Key: address(i), Kind: store.MarkBan, Base: time.Second},
				&store.Mark{Key: store.TokenID("i", strconv.Itoa(i)), Kind: store.MarkRevoke, Until: time.Now().Add(time.Second)})
			time.Sleep(20 * time.Second)
		}
		// An hour's bans (their level is remembered) are 180; a second's tickets and marks one.
		if records, bans, secrets := m.Entries(); records > 1000 || bans > 600 || secrets > 300 {
			t.Errorf("%d records, %d bans, %d secrets", records, bans, secrets)
		}
	})
}

func TestEpochsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory()
		m.Do(ctx, &store.Beat{Node: 1, TTL: time.Second})
		m.Do(ctx, &store.Admit{Key: user, Cap: 1, Node: 1, Conn: 1, Hold: 24 * time.Hour})
		time.Sleep(time.Minute)
		for i := range 5000 {
			b := store.Beat{Node: store.NodeID(i + 2), TTL: time.Second}
			if m.Do(ctx, &b); b.Err != nil {
				t.Fatalf("epoch %d: %v", i, b.Err)
			}
			time.Sleep(time.Second)
		}
		// The first epoch has long been forgotten, and its lease with it.
		if v := admit(t, m, store.Admit{Key: user, Cap: 1, Node: 9999, Conn: 1, Hold: time.Hour}); v.Refused != store.None {
			t.Errorf("got %+v: the lease of a forgotten epoch still counts", v)
		}
	})
}
