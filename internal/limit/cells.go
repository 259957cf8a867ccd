package limit

import (
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Cells counts the rates of very many keys in a fixed number of cells. A cell is 16 bytes: the key's hash and its
// bucket's theoretical arrival time, the moment at which the bucket is full again (GCRA). A cell whose time has come is
// as good as empty, so nothing has to be swept.
//
// A key may sit in any of the eight cells of two cache lines. When all eight are taken by buckets not yet full, the one
// nearest to full moves to its own other line, and is forgotten when that has no room: a newcomer displaces another
// newcomer, never the client far over its limit. Evictions counts the forgotten. Forgetting fails open for that one
// client; a cap on the total has to stand behind it.
//
// Charging is one compare-and-swap on the cell; a refused Take only reads, so that a flood moves no cache line. Only a
// key's first charge takes a lock, which keeps a key from being entered twice.
//
// Times must come from time.Now or Now: their monotonic reading makes a clock set back or forth harmless.
type Cells struct {
	base     time.Time
	seed     maphash.Seed
	salt     [2]uint64
	lines    uint64
	segments []atomic.Pointer[segment]

	_       [64]byte // what follows is written, what stands above is read by every Take
	used    atomic.Uint64
	evicted atomic.Uint64
	entries [64]entryLock
}

const (
	cellsPerLine    = 4
	linesPerSegment = 256 // 16 KiB: an idle process does not pay for a full table
)

type (
	cell struct {
		print atomic.Uint64 // the key's hash, zero: never used
		state atomic.Uint64 // see pack
	}
	line      [cellsPerLine]cell
	segment   [linesPerSegment]line
	entryLock struct {
		sync.Mutex
		_ [56]byte
	}
)

// A state is the arrival time in nanoseconds since base, a generation that changes with the cell's owner, and a bit
// that is set while the owner changes. A compare-and-swap from a state that was read together with the owner's hash
// therefore never charges a new owner.
const (
	stateLocked = 1
	stateGen    = 0b1110
	stateShift  = 4
)

func pack(arrival int64, from uint64) uint64 { return uint64(arrival)<<stateShift | from&stateGen }

func arrival(state uint64) int64 { return int64(state >> stateShift) }

// eternity ends the clock of a table, twenty years after it was made: 36 fit in a state.
const eternity = int64(20 * 365 * 24 * time.Hour)

// NewCells returns a table of n cells, rounded up to whole cache lines. Memory is 16 bytes a cell, taken in steps as
// keys arrive, and never more.
func NewCells(n int) *Cells {
	lines := max(1, (uint64(max(n, 1))+cellsPerLine-1)/cellsPerLine)
	return &Cells{
		base:     time.Now(),
		seed:     maphash.MakeSeed(),
		salt:     [2]uint64{rand.Uint64(), rand.Uint64()},
		lines:    lines,
		segments: make([]atomic.Pointer[segment], (lines+linesPerSegment-1)/linesPerSegment),
	}
}

// Now is the time for Take and Peek, from the monotonic clock alone: a third cheaper than time.Now, which is most of a
// Take's cost. Its wall time is right only as long as nobody sets the clock.
func (c *Cells) Now() time.Time { return c.base.Add(time.Since(c.base)) }

// Take charges n tokens to h, all or none. A refused Take changes nothing and says when n tokens will be there (a full
// bucket's time, if n is more than that ever holds). A negative n gives tokens back, never beyond a full bucket, and
// is never refused; zero counts as one.
func (c *Cells) Take(h Hash, l Limit, n int, now time.Time) (ok bool, retry time.Duration) {
	t := c.clock(now)
	if n < 0 {
		c.giveBack(uint64(h), l, n, t)
		return true, 0
	}
	cost, beyond := l.cost(max(n, 1))
	if beyond {
		return false, time.Duration(l.full)
	}
	for {
		x, s := c.find(uint64(h))
		if x == nil {
			if c.enter(uint64(h), t+cost, t) {
				return true, 0
			}
			continue
		}
		next := max(arrival(s), t) + cost
		if wait := next - t - l.full; wait > 0 {
			if x.state.Load() != s {
				continue
			}
			return false, time.Duration(wait)
		}
		if x.state.CompareAndSwap(s, pack(next, s)) {
			return true, 0
		}
	}
}

// Peek says what Take of one token would, and charges nothing.
func (c *Cells) Peek(h Hash, l Limit, now time.Time) (ok bool, retry time.Duration) {
	return c.PeekN(h, l, 1, now)
}

// PeekN says what Take of n tokens would, and charges nothing.
func (c *Cells) PeekN(h Hash, l Limit, n int, now time.Time) (ok bool, retry time.Duration) {
	if n < 0 {
		return true, 0
	}
	cost, beyond := l.cost(max(n, 1))
	if beyond {
		return false, time.Duration(l.full)
	}
	x, s := c.find(uint64(h))
	if x == nil {
		return true, 0
	}
	t := c.clock(now)
	if wait := max(arrival(s), t) + cost - t - l.full; wait > 0 {
		return false, time.Duration(wait)
	}
	return true, 0
}

// Evictions counts the buckets that were forgotten before they were full again.
func (c *Cells) Evictions() uint64 { return c.evicted.Load() }

// Len is the number of cells that hold a key, full buckets included.
func (c *Cells) Len() int { return int(c.used.Load()) }

// Size is the number of cells.
func (c *Cells) Size() int { return int(c.lines * cellsPerLine) }

func (c *Cells) clock(now time.Time) int64 { return min(max(int64(now.Sub(c.base)), 0), eternity) }

func (c *Cells) giveBack(h uint64, l Limit, n int, t int64) {
	cost := l.full
	if int64(n) >= -(l.full / l.every) {
		cost = -int64(n) * l.every
	}
	for {
		x, s := c.find(h)
		if x == nil || arrival(s) <= t {
			return // full already
		}
		if x.state.CompareAndSwap(s, pack(max(arrival(s)-cost, 0), s)) {
			return
		}
	}
}

// places are the two lines in which h may sit. Multiply-shift spreads over any number of lines, not only powers of two.
func (c *Cells) places(h uint64) (first, second uint64) {
	first, _ = bits.Mul64(h, c.lines)
	second, _ = bits.Mul64(h*0x9e3779b97f4a7c15, c.lines)
	if first == second {
		if second++; second == c.lines {
			second = 0
		}
	}
	return first, second
}

// find returns the cell of h and its state, or nil. The state was h's if it is still the cell's: whoever acts on it
// swaps it or looks again.
func (c *Cells) find(h uint64) (*cell, uint64) {
	h = max(h, 1)
	first, second := c.places(h)
	for {
		x := c.look(first, h)
		if x == nil {
			x = c.look(second, h)
		}
		if x == nil {
			x = c.look(first, h) // it may have moved there meanwhile
		}
		if x == nil {
			return nil, 0
		}
		s := x.state.Load()
		if s&stateLocked == 0 && x.print.Load() == h {
			return x, s
		}
		runtime.Gosched() // its owner is changing: look again
	}
}

func (c *Cells) look(at, h uint64) *cell {
	g := c.segments[at/linesPerSegment].Load()
	if g == nil {
		return nil
	}
	w := &g[at%linesPerSegment]
	for i := range w {
		if w[i].print.Load() == h {
			return &w[i]
		}
	}
	return nil
}

// enter gives h a cell. It reports false when another goroutine did so first.
func (c *Cells) enter(h uint64, next, t int64) bool {
	h = max(h, 1)
	e := &c.entries[h%uint64(len(c.entries))]
	e.Lock()
	defer e.Unlock()
	if x, _ := c.find(h); x != nil {
		return false
	}
	first, second := c.places(h)
	a, b := c.line(first), c.line(second)
	for {
		x, s := victim(a, b, t)
		if x == nil || !x.state.CompareAndSwap(s, s|stateLocked) {
			runtime.Gosched()
			continue
		}
		if x.print.Load() == 0 {
			c.used.Add(1)
		} else if arrival(s) > t && !c.move(x, s, t) {
			c.evicted.Add(1)
		}
		x.print.Store(h)
		x.state.Store(pack(next, s+1<<1))
		return true
	}
}

// move copies the bucket of x, which is locked and was in state s, to a free cell of its own two lines. It waits for
// nobody, so that two who move hold up neither each other nor those who look.
func (c *Cells) move(x *cell, s uint64, t int64) bool {
	h := x.print.Load()
	first, second := c.places(h)
	free, was := victim(c.line(first), c.line(second), t)
	if free == nil || arrival(was) > t || !free.state.CompareAndSwap(was, was|stateLocked) {
		return false
	}
	if free.print.Load() == 0 {
		c.used.Add(1)
	}
	free.print.Store(h)
	free.state.Store(pack(arrival(s), was+1<<1))
	return true
}

func (c *Cells) line(at uint64) *line {
	p := &c.segments[at/linesPerSegment]
	g := p.Load()
	if g == nil {
		p.CompareAndSwap(nil, new(segment))
		g = p.Load()
	}
	return &g[at%linesPerSegment]
}

// victim chooses the cell to give away: a free one from the emptier line, which keeps the lines evenly filled; else of
// all eight the bucket nearest to full. Nil: all of them are changing owners.
func victim(a, b *line, t int64) (*cell, uint64) {
	xa, sa, freeA := a.soonest(t)
	xb, sb, freeB := b.soonest(t)
	switch {
	case xa == nil:
		return xb, sb
	case xb == nil:
		return xa, sa
	case freeA > 0 || freeB > 0:
		if freeA >= freeB {
			return xa, sa
		}
		return xb, sb
	case arrival(sa) <= arrival(sb):
		return xa, sa
	}
	return xb, sb
}

// soonest returns the line's cell with the earliest arrival time, and how many of its cells are free.
func (w *line) soonest(t int64) (x *cell, state uint64, free int) {
	for i := range w {
		s := w[i].state.Load()
		if s&stateLocked != 0 {
			continue
		}
		if arrival(s) <= t {
			free++
		}
		if x == nil || arrival(s) < arrival(state) {
			x, state = &w[i], s
		}
	}
	return x, state, free
}
