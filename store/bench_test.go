package store_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/wssecure/wssecure/store"
)

func TestAdmitAllocatesNothing(t *testing.T) {
	m := store.NewMemory()
	mark(t, m, store.Mark{Key: user, Kind: store.MarkRevoke})
	mark(t, m, store.Mark{Key: store.Network(netip.MustParsePrefix("10.0.0.0/8")), Kind: store.MarkBan, Base: time.Hour})
	ip := &store.Admit{Key: client, Bucket: "handshakes", Rate: store.Rate{N: 600, Per: time.Minute, Burst: 300}, N: 1}
	back := &store.Admit{Key: client, Bucket: "handshakes", Rate: ip.Rate, N: -1}
	subject := &store.Admit{Key: user, IssuedAt: time.Now().Add(time.Hour), Cap: 1, Node: 1, Conn: 1, Hold: time.Hour}
	everyone := &store.Admit{Key: store.Everyone()}
	nonce := &store.Claim{Space: store.SpaceHandshakeKey, Value: "dGhlIHNhbXBsZSBub25jZQ==", TTL: time.Minute}
	unknown := &store.Redeem{Ticket: "unknown"}
	if n := testing.AllocsPerRun(100, func() { m.Do(ctx, ip, back, subject, everyone, nonce, unknown) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDo(b *testing.B) {
	m := store.NewMemory()
	for i := range 1000 {
		m.Do(ctx, &store.Mark{Key: address(i), Kind: store.MarkBan, Base: time.Hour})
	}
	fast := store.Rate{N: 1_000_000_000, Per: time.Second}
	ip := store.Address(netip.MustParsePrefix("2001:db8::/64"))
	for _, row := range []struct {
		name  string
		admit store.Admit
	}{
		{"address-rate", store.Admit{Key: ip, Bucket: "handshakes", Rate: fast, N: 1}},
		{"subject-all", store.Admit{Key: user, Bucket: "subject", Rate: fast, N: 1, Cap: 64, Node: 1, Conn: 1, Hold: time.Hour, IssuedAt: time.Now()}},
		{"mark-only", store.Admit{Key: store.TokenID("https://id.example.com", "jti"), IssuedAt: time.Now()}},
		{"refused-banned", store.Admit{Key: address(1)}},
		{"refused-overrate", store.Admit{Key: ip, Bucket: "tight", Rate: store.Rate{N: 1, Per: 24 * time.Hour}, N: 1}},
	} {
		b.Run("Admit/"+row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Do(ctx, &row.admit)
			}
		})
	}
	b.Run("Admit/lease-and-release", func(b *testing.B) {
		b.ReportAllocs()
		a := store.Admit{Key: user, Cap: 64, Node: 1, Conn: 2, Hold: time.Hour}
		r := store.Release{Key: user, Node: 1, Conn: 2}
		for b.Loop() {
			m.Do(ctx, &a, &r)
		}
	})
}
