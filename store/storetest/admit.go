package storetest

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/store"
)

var rateRows = []row{
	{"rate: a burst, then a refusal that says when", func(b *bench) {
		for range 3 {
			b.want(store.None, rate(client, "handshakes", slow, 1))
		}
		v := b.want(store.OverRate, rate(client, "handshakes", slow, 1))
		if v.RetryAfter <= 0 || v.RetryAfter > time.Hour {
			b.Errorf("RetryAfter = %v, want at most the hour that a token takes", v.RetryAfter)
		}
	}},
	{"rate: a token is there when RetryAfter is over", func(b *bench) {
		r := store.Rate{N: 1, Per: tick, Burst: 1}
		b.want(store.None, rate(client, "r", r, 1))
		v := b.want(store.OverRate, rate(client, "r", r, 1))
		wait(v.RetryAfter + tick/10)
		b.want(store.None, rate(client, "r", r, 1))
	}},
	{"rate: several tokens are charged all or none", func(b *bench) {
		b.want(store.None, rate(client, "r", slow, 2))
		b.want(store.OverRate, rate(client, "r", slow, 2))
		b.want(store.None, rate(client, "r", slow, 1))
		b.want(store.OverRate, rate(client, "r", slow, 1))
		b.want(store.OverRate, rate(user, "r", slow, 4))
		b.want(store.None, rate(user, "r", slow, 3))
	}},
	{"rate: zero tokens count as one", func(b *bench) {
		for range 3 {
			b.want(store.None, rate(client, "r", slow, 0))
		}
		b.want(store.OverRate, rate(client, "r", slow, 0))
	}},
	{"rate: a token given back can be had again", func(b *bench) {
		b.want(store.None, rate(client, "r", slow, 3))
		b.want(store.None, rate(client, "r", slow, -1))
		b.want(store.None, rate(client, "r", slow, 1))
		b.want(store.OverRate, rate(client, "r", slow, 1))
	}},
	{"rate: giving back never goes beyond a full bucket", func(b *bench) {
		b.want(store.None, rate(client, "r", slow, 1))
		for range 5 {
			b.want(store.None, rate(client, "r", slow, -2))
		}
		b.want(store.None, rate(client, "r", slow, 3))
		b.want(store.OverRate, rate(client, "r", slow, 1))
	}},
	{"rate: keys, kinds and buckets count apart", func(b *bench) {
		id := store.Subject("a", "bc").ID
		for _, a := range []store.Admit{
			rate(store.Subject("a", "bc"), "r", slow, 3),
			rate(store.Subject("a", "bc"), "other", slow, 3),
			rate(store.Subject("ab", "c"), "r", slow, 3),
			rate(store.Key{Kind: store.KeyCustom, ID: id}, "r", slow, 3),
			rate(store.Address(netip.MustParsePrefix("2001:db8::/64")), "r", slow, 3),
			rate(store.Address(netip.MustParsePrefix("2001:db8::/48")), "r", slow, 3),
			rate(store.Address(netip.MustParsePrefix("192.0.2.1/32")), "r", slow, 3),
			rate(store.Address(netip.MustParsePrefix("192.0.2.2/32")), "r", slow, 3),
		} {
			b.want(store.None, a)
			b.want(store.OverRate, a)
		}
	}},
	{"rate: one address has one name", func(b *bench) {
		b.want(store.None, rate(store.Address(netip.MustParsePrefix("::ffff:192.0.2.1/128")), "r", slow, 3))
		b.want(store.OverRate, rate(store.Address(netip.MustParsePrefix("192.0.2.1/32")), "r", slow, 1))
		b.want(store.None, rate(store.Address(netip.MustParsePrefix("2001:db8::1/64")), "r", slow, 3))
		b.want(store.OverRate, rate(store.Address(netip.MustParsePrefix("2001:db8::2/64")), "r", slow, 1))
	}},
	{"rate: one counter, each rule compares it with its own limit", func(b *bench) {
		tight := store.Rate{N: 1, Per: time.Hour, Burst: 1}
		b.want(store.None, rate(client, "r", slow, 1))
		b.want(store.OverRate, rate(client, "r", tight, 1))
		b.want(store.None, rate(client, "r", slow, 2))
	}},
	{"L-26 rate: 100 at once, burst 10, exactly 10", func(b *bench) {
		r := store.Rate{N: 1, Per: time.Hour, Burst: 10}
		if n := race(100, func(int) bool { return b.admit(rate(client, "r", r, 1)).Refused == store.None }); n != 10 {
			b.Errorf("%d admitted, want 10", n)
		}
	}},
}

var capRows = []row{
	{"cap: as many leases as allowed, again after a release", func(b *bench) {
		for i := range uint64(3) {
			if v := b.want(store.None, lease(user, 3, 1, i)); v.Held != int(i)+1 {
				b.Errorf("Held = %d after %d leases", v.Held, i+1)
			}
		}
		b.want(store.OverCap, lease(user, 3, 1, 3))
		b.release(user, 1, 1)
		b.want(store.None, lease(user, 3, 1, 3))
		b.want(store.OverCap, lease(user, 3, 1, 4))
	}},
	{"cap: releasing is idempotent, and frees nobody else's lease", func(b *bench) {
		b.want(store.None, lease(user, 2, 1, 1))
		b.want(store.None, lease(user, 2, 2, 1))
		b.release(user, 1, 1)
		b.release(user, 1, 1)
		b.release(user, 3, 1)
		b.release(user, 2, 9)
		b.release(client, 2, 1)
		b.want(store.None, lease(user, 2, 1, 2))
		b.want(store.OverCap, lease(user, 2, 1, 3))
	}},
	{"cap: a lease already held counts once and is never refused", func(b *bench) {
		b.want(store.None, lease(user, 2, 1, 1))
		b.want(store.None, lease(user, 2, 1, 1))
		b.want(store.None, lease(user, 2, 1, 2))
		b.want(store.None, lease(user, 2, 1, 1))
		b.want(store.None, lease(user, 1, 1, 1))
		b.want(store.OverCap, lease(user, 2, 1, 3))
	}},
	{"cap: a lease lapses after Hold", func(b *bench) {
		a := lease(user, 1, 1, 1)
		a.Hold = tick
		b.want(store.None, a)
		b.want(store.OverCap, lease(user, 1, 1, 2))
		wait(tick + tick/3)
		b.want(store.None, lease(user, 1, 1, 2))
	}},
	{"cap: asking again prolongs a lease", func(b *bench) {
		a := lease(user, 1, 1, 1)
		a.Hold = tick
		for range 2 {
			b.want(store.None, a)
			wait(tick * 2 / 3)
		}
		b.want(store.OverCap, lease(user, 1, 1, 2))
	}},
	{"cap: a refused Admit charges nothing", func(b *bench) {
		both := lease(user, 1, 1, 1)
		both.Bucket, both.Rate, both.N = "r", slow, 1
		b.want(store.None, both)
		both.Conn = 2
		for range 5 {
			b.want(store.OverCap, both)
		}
		b.want(store.None, rate(user, "r", slow, 2))
		b.want(store.OverRate, both)
	}},
	{"cap: a refused Admit takes no lease", func(b *bench) {
		b.want(store.None, rate(user, "r", slow, 3))
		both := lease(user, 2, 1, 1)
		both.Bucket, both.Rate, both.N = "r", slow, 1
		for both.Conn = range 4 {
			b.want(store.OverRate, both)
		}
		if v := b.want(store.None, lease(user, 2, 1, 9)); v.Held != 1 {
			b.Errorf("Held = %d, want 1", v.Held)
		}
	}},
	{"L-26 cap: 100 at once, never more than 10 held", func(b *bench) {
		const most = 10
		if n := race(100, func(i int) bool {
			return b.admit(lease(user, most, store.NodeID(i%3+1), uint64(i))).Refused == store.None
		}); n != most {
			b.Errorf("%d leases, want %d", n, most)
		}
	}},
	{"cap: never exceeded while leases come and go", func(b *bench) {
		const most = 5
		var open, peak atomic.Int64
		race(40, func(i int) bool {
			for round := range 20 {
				conn := uint64(i*100 + round)
				if b.admit(lease(user, most, 1, conn)).Refused != store.None {
					continue
				}
				now := open.Add(1)
				for old := peak.Load(); now > old && !peak.CompareAndSwap(old, now); old = peak.Load() {
				}
				open.Add(-1)
				b.release(user, 1, conn)
			}
			return true
		})
		if peak.Load() > most || peak.Load() == 0 {
			b.Errorf("%d held at once, cap %d", peak.Load(), most)
		}
		for i := range uint64(most) {
			b.want(store.None, lease(user, most, 1, 1e6+i))
		}
		b.want(store.OverCap, lease(user, most, 1, 1e7))
	}},
}

var shapeRows = []row{
	{"verdict: Revoked, Banned, OverRate, OverCap, in that order", func(b *bench) {
		b.want(store.None, lease(user, 1, 1, 1))
		b.want(store.None, rate(user, "r", slow, 3))
		b.mark(store.Mark{Key: user, Kind: store.MarkRevoke})
		b.mark(store.Mark{Key: user, Kind: store.MarkBan, Until: time.Now().Add(time.Hour)})
		a := lease(user, 1, 1, 2)
		a.Bucket, a.Rate, a.N = "r", slow, 1
		b.want(store.Revoked, a) // banned or not: a recheck must learn it
		a.IssuedAt = time.Now().Add(time.Hour)
		if v := b.want(store.Banned, a); v.RetryAfter <= 0 || v.RetryAfter > time.Hour {
			b.Errorf("RetryAfter = %v, want what is left of the ban", v.RetryAfter)
		}
		b.mark(store.Mark{Key: user, Kind: store.MarkUnban})
		b.want(store.OverRate, a)
		a.Rate = store.Rate{}
		b.want(store.OverCap, a)
		b.release(user, 1, 1)
		b.want(store.None, a)
	}},
	{"batch: every op is answered, whatever became of the others", func(b *bench) {
		bad := store.Admit{}
		first := rate(client, "r", slow, 3)
		second := rate(client, "r", slow, 1)
		third := rate(user, "r", slow, 1)
		claim := store.Claim{Space: store.SpaceLogout, Value: "jti", TTL: time.Hour}
		b.do(&bad, &first, &second, &third, &claim)
		if bad.Err == nil || first.Verdict.Refused != store.None || second.Verdict.Refused != store.OverRate ||
			third.Verdict.Refused != store.None || third.Err != nil || !claim.First {
			b.Errorf("got %v %v %v %v %v", bad.Err, first.Verdict, second.Verdict, third.Verdict, claim.First)
		}
	}},
	{"batch: results of the last use are overwritten", func(b *bench) {
		a := rate(client, "r", slow, 1)
		a.Verdict, a.Err = store.Verdict{Refused: store.Banned, RetryAfter: 1, Held: 9, Local: true}, store.ErrFull
		c := store.Claim{Space: store.SpaceLogout, Value: "x", First: true, Local: true, Err: store.ErrFull}
		p := store.Put{Ticket: "t", TTL: time.Hour, Err: store.ErrFull}
		r := store.Redeem{Ticket: "unknown", Data: []byte("old"), OK: true, Err: store.ErrFull}
		m := store.Mark{Key: user, Kind: store.MarkUnban, Err: store.ErrFull}
		l := store.Release{Key: user, Node: 1, Err: store.ErrFull}
		n := store.Beat{Node: 1, TTL: time.Hour, Live: []store.NodeID{7, 8, 9}, Err: store.ErrFull}
		b.do(&a, &c, &p, &r, &m, &l, &n)
		if a.Verdict != (store.Verdict{}) || c.First || c.Local || r.OK || r.Data != nil || len(n.Live) != 1 {
			b.Errorf("left over: %+v %+v %+v %+v", a, c, r, n)
		}
		if err := errors.Join(a.Err, c.Err, p.Err, r.Err, m.Err, l.Err, n.Err); err != nil {
			b.Errorf("left over: %v", err)
		}
	}},
	{"batch: no ops, no error", func(b *bench) { b.do() }},
	{"refused: what contradicts itself is an error, never an admission", func(b *bench) {
		noHold, noNode, negative := lease(user, 1, 1, 1), lease(user, 1, 0, 1), lease(user, -1, 1, 1)
		noHold.Hold = 0
		for _, a := range []store.Admit{
			{}, {Key: store.Key{Kind: store.KeySubject}}, {Key: store.Key{Kind: store.KeyIP}}, {Key: store.Key{Kind: 99, ID: "x"}},
			noHold, noNode, negative,
			rate(client, "r", store.Rate{N: 1}, 1), rate(client, "r", store.Rate{Per: time.Second}, 1),
			rate(client, "r", store.Rate{N: -1, Per: time.Second, Burst: 1}, 1),
			rate(client, "r", store.Rate{N: 1, Per: time.Second, Burst: -1}, 1),
		} {
			if b.do(&a); a.Err == nil {
				b.Errorf("Admit %+v: no error", a)
			}
		}
		for _, m := range []store.Mark{
			{}, {Key: user}, {Kind: store.MarkRevoke}, {Key: client, Kind: store.MarkRevoke},
			{Key: user, Kind: store.MarkBan}, {Key: user, Kind: store.MarkBan, Until: time.Now().Add(-time.Second)},
			{Key: user, Kind: store.MarkBan, Base: -time.Second},
			{Key: store.Everyone(), Kind: store.MarkBan, Base: time.Second}, {Key: store.TokenID("i", "j"), Kind: store.MarkUnban},
		} {
			if b.do(&m); m.Err == nil {
				b.Errorf("Mark %+v: no error", m)
			}
		}
		claims := []store.Claim{{Value: "x", TTL: time.Hour}, {Space: store.SpaceLogout, Value: "x", TTL: -1}}
		for _, c := range claims {
			if b.do(&c); c.Err == nil || c.First {
				b.Errorf("Claim %+v: no error", c)
			}
		}
		for _, p := range []store.Put{{TTL: time.Hour}, {Ticket: "t"}, {Ticket: "t", TTL: -1}} {
			if b.do(&p); p.Err == nil {
				b.Errorf("Put %+v: no error", p)
			}
		}
		for _, n := range []store.Beat{{TTL: time.Second}, {Node: 1, TTL: -1}} {
			if b.do(&n); n.Err == nil {
				b.Errorf("Beat %+v: no error", n)
			}
		}
		v := b.want(store.None, rate(user, "r", slow, 3))
		if v.Held != 0 {
			b.Errorf("an invalid Admit left %d leases", v.Held)
		}
	}},
	{"refused: an operation from elsewhere is unsupported", func(b *bench) {
		type foreign struct{ *store.Admit }
		if err := b.s.Do(context.Background(), foreign{&store.Admit{}}); !errors.Is(err, store.ErrUnsupported) {
			b.Errorf("Do: %v, want ErrUnsupported", err)
		}
	}},
	{"ids: whatever a client sends is one key, and only its own", func(b *bench) {
		ids := []string{"{", "}", "a{b}c", "line\nbreak", "nul\x00", "nul\x00\x00", "\xff\xfe", strings.Repeat("x", 1<<20), "*", "a:b", " "}
		for i, id := range ids {
			k := store.Subject("https://id.example.com", id)
			b.want(store.None, rate(k, "r", slow, 3))
			b.want(store.OverRate, rate(k, "r", slow, 1))
			b.want(store.None, lease(k, 1, 1, uint64(i)))
			b.mark(store.Mark{Key: k, Kind: store.MarkRevoke})
			b.want(store.Revoked, rate(k, "r", slow, 1))
			c := store.Claim{Space: store.SpaceHandshakeKey, Value: id, TTL: time.Hour}
			p := store.Put{Ticket: id, Data: []byte(id[:1]), TTL: time.Hour}
			r := store.Redeem{Ticket: id}
			b.do(&c, &p)
			b.do(&r)
			if c.Err != nil || !c.First || p.Err != nil || !r.OK || string(r.Data) != id[:1] {
				b.Errorf("id %.20q: %v %v %v %v", id, c.Err, c.First, p.Err, r.OK)
			}
		}
		b.want(store.None, rate(user, "r", slow, 3))
	}},
}
