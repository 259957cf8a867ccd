package wssecure

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/wssecure/wssecure/internal/clientip"
)

// This file says which of many events alike are told.

// minuteSample lets one of many through a minute, with the number before it.
type minuteSample struct {
	mu    sync.Mutex
	since time.Time
	held  int64
}

func (s *minuteSample) sample(now time.Time) (first bool, held int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.since.IsZero() && now.Sub(s.since) < time.Minute {
		s.held++
		return false, 0
	}
	held, s.held, s.since = s.held, 0, now
	return true, held
}

// sampler thins refusals in the log: of one reason and address, IPv6 by /64, five
// a minute, then every hundredth. Its table is fixed; a collision starts a count anew,
// which shows more lines, never fewer.
type sampler struct {
	mu    sync.Mutex
	seed  maphash.Seed
	cells []sampleCell
	lines *rate.Limiter
}

type sampleCell struct {
	key   uint64
	since time.Time
	seen  int64
}

func (s *sampler) init() {
	s.seed = maphash.MakeSeed()
	s.lines = rate.NewLimiter(linesASec, linesASec)
}

// allow reports whether this refusal gets a line, and how many before it got
// none.
func (s *sampler) allow(r Reason, from netip.Addr) (ok bool, suppressed int64) {
	now := time.Now() // an event's own time is the wall's, which somebody may set back
	type subject struct {
		reason Reason
		from   netip.Prefix // one client has more addresses than the log has lines
	}
	key := maphash.Comparable(s.seed, subject{r, clientip.Bucket(from)})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cells == nil {
		s.cells = make([]sampleCell, sampleCells)
	}
	c := &s.cells[key%sampleCells]
	if c.key != key || now.Sub(c.since) >= time.Minute {
		*c = sampleCell{key: key, since: now}
	}
	c.seen++
	switch {
	case c.seen <= firstLines:
	case (c.seen-firstLines)%everyNth == 0:
		suppressed = everyNth - 1
	default:
		return false, 0
	}
	return s.lines.Allow(), suppressed
}
