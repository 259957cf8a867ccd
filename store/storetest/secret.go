package storetest

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/wssecure/wssecure/store"
)

func (b *bench) claim(s store.Space, value string, ttl time.Duration) bool {
	b.Helper()
	o := store.Claim{Space: s, Value: value, TTL: ttl}
	b.do(&o)
	if o.Err != nil {
		b.Fatalf("Claim %q: %v", value, o.Err)
	}
	return o.First
}

func (b *bench) put(ticket string, data []byte, ttl time.Duration) {
	b.Helper()
	o := store.Put{Ticket: ticket, Data: data, TTL: ttl}
	b.do(&o)
	if o.Err != nil {
		b.Fatalf("Put: %v", o.Err)
	}
}

func (b *bench) redeem(ticket string, keep bool) ([]byte, bool) {
	b.Helper()
	o := store.Redeem{Ticket: ticket, Keep: keep}
	b.do(&o)
	if o.Err != nil {
		b.Fatalf("Redeem: %v", o.Err)
	}
	return o.Data, o.OK
}

var spaces = []store.Space{store.SpaceHandshakeKey, store.SpaceLogout}

var secretRows = []row{
	{"claim: the first wins, in each space", func(b *bench) {
		for _, s := range spaces {
			if !b.claim(s, "v", time.Hour) || b.claim(s, "v", time.Hour) || !b.claim(s, "w", time.Hour) {
				b.Errorf("space %d: the first claim, and only that one, must win", s)
			}
		}
	}},
	{"claim: withdrawn, it can be had again", func(b *bench) {
		for _, s := range spaces {
			b.claim(s, "v", time.Hour)
			if b.claim(s, "v", 0) {
				b.Errorf("space %d: a withdrawal is no first claim", s)
			}
			b.claim(s, "never", 0)
			if !b.claim(s, "v", time.Hour) || b.claim(s, "v", time.Hour) {
				b.Errorf("space %d: a withdrawn value counts as new, once", s)
			}
		}
	}},
	{"claim: lapses after TTL, which a second claim does not lengthen", func(b *bench) {
		for _, s := range spaces {
			b.claim(s, "v", tick)
			wait(tick * 2 / 3)
			b.claim(s, "v", time.Hour)
			wait(tick * 2 / 3)
			if !b.claim(s, "v", time.Hour) {
				b.Errorf("space %d: still claimed", s)
			}
		}
	}},
	{"claim: 200 at once, one winner", func(b *bench) {
		for _, s := range spaces {
			if n := race(200, func(int) bool { return b.claim(s, "v", time.Hour) }); n != 1 {
				b.Errorf("space %d: %d winners", s, n)
			}
		}
	}},
	{"L-29 claim: of many values none is taken for another", func(b *bench) {
		for i := range 1000 {
			if !b.claim(store.SpaceHandshakeKey, "nonce"+strconv.Itoa(i), time.Hour) {
				b.Fatalf("nonce %d was never seen, yet refused", i)
			}
		}
	}},
	{"ticket: redeemed once, with its data", func(b *bench) {
		data := []byte("alice")
		b.put("t", data, time.Hour)
		data[0] = 'X'
		if got, ok := b.redeem("t", false); !ok || string(got) != "alice" {
			b.Errorf("got %q, %v", got, ok)
		}
		if got, ok := b.redeem("t", false); ok || got != nil {
			b.Errorf("redeemed twice: %q", got)
		}
		if _, ok := b.redeem("t", true); ok {
			b.Error("a spent ticket can still be read")
		}
	}},
	{"ticket: Keep reads and spends nothing", func(b *bench) {
		b.put("t", []byte("alice"), time.Hour)
		for range 3 {
			got, ok := b.redeem("t", true)
			if !ok || string(got) != "alice" {
				b.Fatalf("got %q, %v", got, ok)
			}
			got[0] = 'X' // the caller's own copy
		}
		if got, ok := b.redeem("t", false); !ok || string(got) != "alice" {
			b.Errorf("got %q, %v", got, ok)
		}
	}},
	{"ticket: unknown, or part of one", func(b *bench) {
		b.put("ticket", nil, time.Hour)
		for _, t := range []string{"", "ticke", "tickett", "TICKET", "ticket\x00"} {
			if _, ok := b.redeem(t, false); ok {
				b.Errorf("%q redeemed", t)
			}
		}
		if _, ok := b.redeem("ticket", false); !ok {
			b.Error("a ticket without data is a ticket")
		}
	}},
	{"ticket: over after TTL", func(b *bench) {
		b.put("t", []byte("x"), tick)
		b.put("kept", []byte("x"), time.Hour)
		wait(tick + tick/3)
		if _, ok := b.redeem("t", true); ok {
			b.Error("readable after its time")
		}
		if _, ok := b.redeem("t", false); ok {
			b.Error("redeemed after its time")
		}
		if _, ok := b.redeem("kept", false); !ok {
			b.Error("gone before its time")
		}
	}},
	{"ticket: an existing one is not overwritten, a redeemed one can be put back", func(b *bench) {
		b.put("t", []byte("alice"), time.Hour)
		o := store.Put{Ticket: "t", Data: []byte("mallory"), TTL: time.Hour}
		if b.do(&o); o.Err == nil {
			b.Error("overwritten without an error")
		}
		data, _ := b.redeem("t", false)
		b.put("t", data, time.Hour)
		if got, ok := b.redeem("t", false); !ok || string(got) != "alice" {
			b.Errorf("got %q, %v", got, ok)
		}
	}},
	{"ticket: a ticket is no logout id and no handshake key", func(b *bench) {
		b.put("v", nil, time.Hour)
		for _, s := range spaces {
			if !b.claim(s, "v", time.Hour) {
				b.Errorf("space %d: claimed by a ticket", s)
			}
			b.claim(s, "v", 0)
		}
		if _, ok := b.redeem("v", false); !ok {
			b.Error("withdrawing a claim spent a ticket")
		}
	}},
	{"T7 ticket: 1,000 redeem at once, one winner", func(b *bench) {
		data := bytes.Repeat([]byte("d"), 200)
		b.put("t", data, time.Hour)
		n := race(1000, func(int) bool {
			o := store.Redeem{Ticket: "t"}
			if err := b.s.Do(context.Background(), &o); err != nil || o.Err != nil {
				return false
			}
			return o.OK && bytes.Equal(o.Data, data)
		})
		if n != 1 {
			b.Errorf("%d winners", n)
		}
	}},
}
