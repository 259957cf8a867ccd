package wssecure

import (
	"net/netip"
	"time"

	"github.com/wssecure/wssecure/internal/clientip"
	"github.com/wssecure/wssecure/internal/limit"
)

// This file counts in tables that are this process's own.

const (
	totalCells   = 64
	addressCells = 1 << 16
	badKept      = 1 << 14
)

// totalRates counts handshakes of the whole process, for rules by total.
type totalRates struct {
	cells *limit.Cells
	all   limit.Hash
}

func newTotalRates() *totalRates {
	cells := limit.NewCells(totalCells)
	return &totalRates{cells, cells.HashString(0, "total")}
}

func (t *totalRates) take(r Rate) (ok bool, retry time.Duration) {
	return t.cells.Take(t.all, limit.NewLimit(limit.Rate(r)), 1, time.Now())
}

// addressBudget counts by address, IPv6 by /64 and by /48 with more of it. It is
// this process's own: what a hostile page or a stranger can do before any check
// must not touch a table that honest clients share.
type addressBudget struct {
	cells        *limit.Cells
	narrow, wide limit.Limit
}

var refusedOriginRate = PerMinute(refusedOriginsPerMinute)

func newAddressBudget(r Rate) *addressBudget {
	return &addressBudget{limit.NewCells(addressCells), limit.NewLimit(limit.Rate(r)), limit.NewLimit(limit.Rate(r.times(wideBudgetFactor)))}
}

func (b *addressBudget) take(a netip.Addr, now time.Time) bool {
	narrow := b.cells.HashPrefix(clientip.Bucket(a))
	if ok, _ := b.cells.Take(narrow, b.narrow, 1, now); !ok {
		return false
	}
	wide, ok := clientip.Wide(a)
	if !ok {
		return true
	}
	if ok, _ := b.cells.Take(b.cells.HashPrefix(wide), b.wide, 1, now); ok {
		return true
	}
	b.cells.Take(narrow, b.narrow, -1, now)
	return false
}

// badTokens remembers tokens that a verifier of the application found forged,
// for a minute: the same one counts once.
type badTokens struct{ seen *limit.Seen }

func newBadTokens() *badTokens { return &badTokens{limit.NewSeen(badKept)} }

func (b *badTokens) first(text string) bool {
	return b.seen.Add(b.seen.Digest(text), time.Minute, time.Now())
}
