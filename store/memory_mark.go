package store

import "time"

const (
	markLife  = 24 * time.Hour // of a revocation without Until
	banMemory = time.Hour      // how long a ban's level outlives it
)

// mark changes the key's record first and tells the feed then, under the same lock: whoever hears of a mark finds it,
// and the feed has the marks of one key in their order.
func (m *Memory) mark(o *Mark, now time.Time) {
	o.Err = nil
	if o.Err = o.check(now); o.Err != nil {
		return
	}
	if o.Key.Kind == KeyNetwork {
		m.markNetwork(o, now)
		return
	}
	if m.markKey(o, now); o.Err == ErrFull && m.sweep(m.at(now)) {
		o.Err = nil
		m.markKey(o, now)
	}
}

func (o *Mark) check(now time.Time) error {
	if !o.Key.valid() {
		return ErrInvalid
	}
	switch o.Kind {
	case MarkRevoke:
		if !o.Key.revocable() {
			return ErrUnsupported
		}
		return nil
	case MarkBan:
		if !o.Key.bannable() {
			return ErrUnsupported
		}
		if o.Until.IsZero() && o.Base <= 0 || !o.Until.IsZero() && !o.Until.After(now) {
			return ErrInvalid // a ban that ends before it begins
		}
		return nil
	case MarkUnban:
		if !o.Key.bannable() {
			return ErrUnsupported
		}
		return nil
	}
	return ErrUnsupported
}

func (m *Memory) markKey(o *Mark, now time.Time) {
	t := m.at(now)
	h := m.hash(&o.Key)
	s := m.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	m.roll(s, t, 4)
	switch o.Kind {
	case MarkRevoke:
		if r := s.find(h, &o.Key); r == nil || r.mark.until == 0 {
			if !m.reserve() {
				o.Err = ErrFull
				return
			}
			m.revoked.Add(1)
		}
		r := s.record(h, &o.Key)
		r.mark.raise(m, o, now)
		m.feed.revoked(o, r.mark, now, t)
	case MarkBan:
		r := s.record(h, &o.Key)
		if r.banPlace < 0 {
			if len(s.bans) >= m.bounds.bans/shardCount {
				m.evictBan(s, t)
			}
			r.banPlace = len(s.bans)
			s.bans = append(s.bans, r)
		}
		if r.ban.raise(m, o, now) {
			m.feed.banned(o, r.ban, now, t)
		}
	case MarkUnban:
		if r := s.find(h, &o.Key); r != nil && r.banPlace >= 0 {
			s.unban(r)
			m.tidy(s, r, t)
		}
		m.feed.unbanned(o, now)
	}
}

// revocation is the cut in time of one key; until zero: none.
type revocation struct {
	before time.Time
	until  int64
}

func (v *revocation) raise(m *Memory, o *Mark, now time.Time) {
	before, until := o.Before, o.Until
	if before.IsZero() {
		before = now
	}
	if !until.After(now) {
		until = now.Add(markLife) // an expired token may still have an open session to end
	}
	if v.until <= m.at(now) {
		*v = revocation{}
	}
	if v.until == 0 || before.After(v.before) {
		v.before = before.Round(0)
	}
	v.until = max(v.until, m.until(until, now), 1)
}

// refuses compares whole seconds, as iat has no more: what was issued in the second of the cut may be older than it.
func (v revocation) refuses(k Key, issued time.Time, t int64) bool {
	if v.until <= t {
		return false
	}
	return k.single() || issued.IsZero() || issued.Unix() <= v.before.Unix()
}

// ban runs until until; its level is remembered until forget, zero: none.
type ban struct {
	until, forget int64
	level         int
}

// raise starts or lengthens the ban, and reports whether it did.
func (b *ban) raise(m *Memory, o *Mark, now time.Time) bool {
	t := m.at(now)
	if b.forget <= t {
		*b = ban{}
	}
	var end int64
	if !o.Until.IsZero() {
		end = m.until(o.Until, now)
	} else if b.until <= t {
		d, most := o.Base, max(o.Base, o.Max)
		for range b.level {
			if d >= most-d {
				d = most
				break
			}
			d *= 2
		}
		end = later(t, d)
		b.level++
	}
	if end <= b.until {
		return false
	}
	b.until, b.forget = end, later(end, banMemory)
	return true
}

func (s *shard) unban(r *record) {
	s.bans = remove(s.bans, r.banPlace, func(moved *record, at int) { moved.banPlace = at })
	r.ban, r.banPlace = ban{}, -1
}

// evictBan makes room for a ban: of the next few, the one that ends first goes.
func (m *Memory) evictBan(s *shard, t int64) {
	var first *record
	for range min(16, len(s.bans)) {
		if s.banHand >= len(s.bans) {
			s.banHand = 0
		}
		if r := s.bans[s.banHand]; first == nil || r.ban.until < first.ban.until {
			first = r
		}
		s.banHand++
	}
	if first.ban.until > t {
		m.lostBans.Add(1)
	}
	s.unban(first)
	m.tidy(s, first, t)
}
