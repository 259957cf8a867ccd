package storetest

import (
	"net/netip"
	"time"

	"github.com/wssecure/wssecure/store"
)

func ban(k store.Key, base, most time.Duration) store.Mark {
	return store.Mark{Key: k, Kind: store.MarkBan, Base: base, Max: most, Why: "failures"}
}

func issued(k store.Key, at time.Time) store.Admit { return store.Admit{Key: k, IssuedAt: at} }

var banRows = []row{
	{"L-04 ban: refused until it is over, attempts do not lengthen it", func(b *bench) {
		b.mark(ban(client, tick, tick))
		for range 10 {
			if v := b.want(store.Banned, rate(client, "r", slow, 1)); v.RetryAfter <= 0 || v.RetryAfter > tick {
				b.Fatalf("RetryAfter = %v, want at most %v", v.RetryAfter, tick)
			}
		}
		wait(tick + tick/3)
		b.want(store.None, rate(client, "r", slow, 3))
	}},
	{"L-21 ban: each within an hour of the last is twice as long, up to Max", func(b *bench) {
		for i, want := range []time.Duration{tick, 2 * tick, 3 * tick, 3 * tick} {
			b.mark(ban(client, tick, 3*tick))
			v := b.want(store.Banned, store.Admit{Key: client})
			if v.RetryAfter > want || v.RetryAfter < want-tick*2/3 {
				b.Fatalf("ban %d: RetryAfter = %v, want about %v", i+1, v.RetryAfter, want)
			}
			wait(want + tick/10)
			b.want(store.None, store.Admit{Key: client})
		}
	}},
	{"ban: three nodes that ban at once raise it once", func(b *bench) {
		const base = 4 * tick
		race(3, func(int) bool { b.mark(ban(client, base, time.Hour)); return true })
		if v := b.want(store.Banned, store.Admit{Key: client}); v.RetryAfter > base {
			b.Errorf("RetryAfter = %v, want at most %v", v.RetryAfter, base)
		}
	}},
	{"ban: without Max it does not grow", func(b *bench) {
		for range 2 {
			b.mark(ban(user, tick, 0))
			if v := b.want(store.Banned, store.Admit{Key: user}); v.RetryAfter > tick {
				b.Fatalf("RetryAfter = %v, want at most %v", v.RetryAfter, tick)
			}
			wait(tick + tick/10)
		}
	}},
	{"L-43 ban: until a fixed time, never shortened by another ban", func(b *bench) {
		b.mark(store.Mark{Key: user, Kind: store.MarkBan, Until: time.Now().Add(2 * time.Hour)})
		b.mark(store.Mark{Key: user, Kind: store.MarkBan, Until: time.Now().Add(time.Hour)})
		b.mark(ban(user, time.Minute, time.Hour))
		if v := b.want(store.Banned, store.Admit{Key: user}); v.RetryAfter < 119*time.Minute || v.RetryAfter > 2*time.Hour {
			b.Errorf("RetryAfter = %v, want two hours", v.RetryAfter)
		}
	}},
	{"L-43 ban: Unban forgets ban and level", func(b *bench) {
		for range 3 {
			b.mark(ban(client, time.Hour, 24*time.Hour))
			if v := b.want(store.Banned, store.Admit{Key: client}); v.RetryAfter > time.Hour {
				b.Fatalf("RetryAfter = %v, want at most an hour", v.RetryAfter)
			}
			b.mark(store.Mark{Key: client, Kind: store.MarkUnban})
			b.want(store.None, store.Admit{Key: client})
		}
		b.mark(store.Mark{Key: user, Kind: store.MarkUnban})
	}},
	{"ban: a refused Admit charges nothing and takes no lease; giving back passes", func(b *bench) {
		b.want(store.None, rate(user, "r", slow, 3))
		b.mark(store.Mark{Key: user, Kind: store.MarkBan, Until: time.Now().Add(time.Hour)})
		a := lease(user, 1, 1, 1)
		a.Bucket, a.Rate, a.N = "r", slow, 1
		b.want(store.Banned, a)
		b.want(store.None, rate(user, "r", slow, -1))
		b.mark(store.Mark{Key: user, Kind: store.MarkUnban})
		if v := b.want(store.None, a); v.Held != 1 {
			b.Errorf("Held = %d, want 1", v.Held)
		}
		b.want(store.OverRate, rate(user, "r", slow, 1))
	}},
	{"ban: of one key, no other", func(b *bench) {
		b.mark(ban(client, time.Hour, time.Hour))
		b.want(store.None, store.Admit{Key: user})
		b.want(store.None, store.Admit{Key: store.Address(netip.MustParsePrefix("198.51.100.8/32"))})
	}},
	{"ban: a network's reaches every address in it", func(b *bench) {
		until := time.Now().Add(time.Hour)
		b.mark(store.Mark{Key: store.Network(netip.MustParsePrefix("198.51.100.0/24")), Kind: store.MarkBan, Until: until})
		for _, p := range []string{"2001:db9::1/128", "2001:db9::/127", "2001:db9::/126", "2001:db8::/32", "2001:db9:7::/64"} {
			b.mark(store.Mark{Key: store.Network(netip.MustParsePrefix(p)), Kind: store.MarkBan, Until: until})
		}
		b.want(store.Banned, rate(client, "r", slow, 1))
		b.want(store.Banned, store.Admit{Key: store.Address(netip.MustParsePrefix("2001:db8:1:2::/64"))})
		b.want(store.Banned, store.Admit{Key: store.Address(netip.MustParsePrefix("2001:db9:7::/64"))})
		b.want(store.None, store.Admit{Key: store.Address(netip.MustParsePrefix("2001:db9::/64"))})
		b.want(store.None, store.Admit{Key: store.Address(netip.MustParsePrefix("198.51.101.1/32"))})
		b.want(store.None, store.Admit{Key: user})
		b.mark(store.Mark{Key: store.Network(netip.MustParsePrefix("198.51.100.0/24")), Kind: store.MarkUnban})
		b.want(store.None, rate(client, "r", slow, 3))
		b.want(store.Banned, store.Admit{Key: store.Address(netip.MustParsePrefix("2001:db8:1:2::/64"))})
	}},
}

var revokeRows = []row{
	{"revoke: what was issued in that second or before", func(b *bench) {
		before := time.Now().Truncate(time.Second).Add(500 * time.Millisecond)
		for _, k := range []store.Key{user, store.Everyone()} {
			b.want(store.None, issued(k, before.Add(-time.Hour)))
			b.mark(store.Mark{Key: k, Kind: store.MarkRevoke, Before: before})
			b.want(store.Revoked, issued(k, before.Add(-time.Hour)))
			b.want(store.Revoked, issued(k, before.Truncate(time.Second)))
			b.want(store.Revoked, issued(k, before))
			b.want(store.Revoked, issued(k, before.Add(300*time.Millisecond)))
			b.want(store.None, issued(k, before.Truncate(time.Second).Add(time.Second)))
			b.want(store.Revoked, issued(k, time.Time{}))
		}
		b.want(store.None, issued(store.Subject("https://id.example.com", "bob"), before.Add(-time.Hour)))
	}},
	{"revoke: Before zero is the store's now", func(b *bench) {
		b.mark(store.Mark{Key: user, Kind: store.MarkRevoke})
		b.want(store.Revoked, issued(user, time.Now().Add(-2*time.Second)))
		b.want(store.None, issued(user, time.Now().Add(2*time.Second)))
	}},
	{"revoke: a mark is never lowered", func(b *bench) {
		now := time.Now().Truncate(time.Second)
		b.mark(store.Mark{Key: user, Kind: store.MarkRevoke, Before: now})
		b.mark(store.Mark{Key: user, Kind: store.MarkRevoke, Before: now.Add(-time.Hour), Until: now.Add(tick)})
		b.want(store.Revoked, issued(user, now))
		wait(2 * tick)
		b.want(store.Revoked, issued(user, now))
		b.mark(store.Mark{Key: user, Kind: store.MarkRevoke, Before: now.Add(time.Minute)})
		b.want(store.Revoked, issued(user, now.Add(time.Minute)))
	}},
	{"revoke: one token, one login, one session: always", func(b *bench) {
		future := time.Now().Add(time.Hour)
		for _, k := range []store.Key{store.TokenID("i", "j"), store.OIDCSession("i", "s"), store.Session("id")} {
			b.want(store.None, issued(k, future))
			b.mark(store.Mark{Key: k, Kind: store.MarkRevoke})
			b.want(store.Revoked, issued(k, future))
			b.want(store.Revoked, issued(k, time.Time{}))
		}
		b.want(store.None, issued(store.TokenID("ij", ""), future))
		b.want(store.None, issued(store.OIDCSession("i", "j"), future))
	}},
	{"revoke: a mark lapses at Until", func(b *bench) {
		b.mark(store.Mark{Key: store.TokenID("i", "j"), Kind: store.MarkRevoke, Until: time.Now().Add(tick)})
		b.want(store.Revoked, issued(store.TokenID("i", "j"), time.Time{}))
		wait(tick + tick/3)
		b.want(store.None, issued(store.TokenID("i", "j"), time.Time{}))
	}},
	{"revoke: a refused Admit charges nothing and takes no lease", func(b *bench) {
		b.mark(store.Mark{Key: user, Kind: store.MarkRevoke})
		a := lease(user, 1, 1, 1)
		a.Bucket, a.Rate, a.N = "r", slow, 3
		b.want(store.Revoked, a)
		a.IssuedAt = time.Now().Add(time.Hour)
		if v := b.want(store.None, a); v.Held != 1 {
			b.Errorf("Held = %d, want 1", v.Held)
		}
	}},
	{"revoke: a network's mark is found from every address in it", func(b *bench) {
		now := time.Now()
		in := store.Network(netip.MustParsePrefix("198.51.100.7/32"))
		out := store.Network(netip.MustParsePrefix("198.51.101.7/32"))
		b.mark(store.Mark{Key: store.Network(netip.MustParsePrefix("198.51.100.0/24")), Kind: store.MarkRevoke, Before: now})
		b.want(store.Revoked, issued(in, now))
		b.want(store.Revoked, issued(in, time.Time{}))
		b.want(store.None, issued(in, now.Add(2*time.Second)))
		b.want(store.None, issued(out, now))
		// Keeping an address out is what bans are for: a session without credential may return.
		b.want(store.None, rate(client, "r", slow, 1))
	}},
	{"T13 revoke: after Mark has answered nobody older comes in", func(b *bench) {
		for i := range 100 {
			k := store.TokenID("i", string(rune('a'+i)))
			race(2, func(who int) bool {
				if who == 0 {
					b.mark(store.Mark{Key: k, Kind: store.MarkRevoke})
					b.want(store.Revoked, issued(k, time.Time{}))
					return true
				}
				b.admit(issued(k, time.Time{}))
				return true
			})
		}
	}},
}
