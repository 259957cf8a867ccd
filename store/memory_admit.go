package store

import (
	"cmp"
	"slices"
	"time"

	"github.com/wssecure/wssecure/internal/limit"
)

// admit judges ban, mark, rate and cap of one key in one step. Only the key's own cells and record are touched, all of
// them under its shard's lock whenever a lease is at stake, so a refusal has nothing to undo.
func (m *Memory) admit(a *Admit, now time.Time) {
	if a.onlyAsks() && m.unmarked(a.Key.Kind) {
		a.Verdict, a.Err = Verdict{}, nil
		return
	}
	q, ok := m.ask(a)
	if !ok {
		return
	}
	if a.N < 0 {
		m.rates.Take(q.bucket, q.limit, a.N, now)
		return
	}
	t := m.at(now)
	if a.Cap == 0 {
		if m.judge(a, q, t) && a.Rate != (Rate{}) {
			if ok, wait := m.rates.Take(q.bucket, q.limit, a.N, now); !ok {
				a.Verdict = Verdict{Refused: OverRate, RetryAfter: wait}
			}
		}
		return
	}
	if m.lease(a, q, now, t); a.Err == ErrFull && m.sweep(t) {
		m.lease(a, q, now, t)
	}
}

// onlyAsks: for ban and mark, and takes nothing.
func (a *Admit) onlyAsks() bool {
	return a.Cap == 0 && a.N >= 0 && a.Rate == (Rate{}) && a.Key.valid()
}

// unmarked reports whether no key of that kind has a ban or a mark, which is how it is most of the time.
func (m *Memory) unmarked(kind KeyKind) bool {
	switch kind {
	case KeyNetwork:
		return m.networks.now.Load() == nil
	case KeyToken, KeyOIDCSession, KeySession, KeyEveryone: // nobody bans these
		return m.revoked.Load() == 0
	}
	return false
}

// question is an Admit made ready.
type question struct {
	key    limit.Hash
	bucket limit.Hash
	limit  limit.Limit
}

func (m *Memory) ask(a *Admit) (q question, ok bool) {
	a.Verdict, a.Err = Verdict{}, nil
	if !a.Key.valid() || a.Cap < 0 {
		a.Err = ErrInvalid
		return q, false
	}
	if a.Cap > 0 && (a.Node == 0 || a.Hold <= 0 || a.N < 0) {
		a.Err = ErrInvalid // a lease that belongs to nobody or never lapses could not be freed
		return q, false
	}
	q.key = m.hash(&a.Key)
	if a.Rate == (Rate{}) {
		if a.N < 0 {
			a.Err = ErrInvalid
			return q, false
		}
		return q, true
	}
	l, err := limit.Rate(a.Rate).Limit()
	if err != nil {
		a.Err = ErrInvalid
		return q, false
	}
	q.limit = l
	q.bucket = m.rates.Join(q.key, m.rates.HashString(0, a.Bucket))
	return q, true
}

// judge asks ban and mark, and reports whether they admit.
func (m *Memory) judge(a *Admit, q question, t int64) bool {
	s := m.shard(q.key)
	s.mu.Lock()
	refused, wait := m.standing(a, s.find(q.key, &a.Key), t)
	s.mu.Unlock()
	a.Verdict = Verdict{Refused: refused, RetryAfter: wait}
	return refused == None
}

// standing is what ban and mark say of a key, r being nil when it has neither.
func (m *Memory) standing(a *Admit, r *record, t int64) (Refusal, time.Duration) {
	var end int64
	var revoked bool
	if r != nil {
		end = r.ban.until
		revoked = r.mark.refuses(a.Key, a.IssuedAt, t)
	}
	if a.Key.Kind == KeyIP || a.Key.Kind == KeyNetwork {
		e, before := m.networks.around(a.Key.Prefix, a.IssuedAt, t)
		end = max(end, e)
		revoked = revoked || before && a.Key.Kind == KeyNetwork
	}
	if revoked {
		return Revoked, 0 // a ban must not hide from a recheck that the credential is no longer good
	}
	if end > t {
		return Banned, time.Duration(end - t)
	}
	return None, 0
}

// lease is admit with a cap.
func (m *Memory) lease(a *Admit, q question, now time.Time, t int64) {
	a.Verdict, a.Err = Verdict{}, nil
	s := m.shard(q.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(q.key, &a.Key)
	if refused, wait := m.standing(a, r, t); refused != None {
		a.Verdict = Verdict{Refused: refused, RetryAfter: wait}
		return
	}
	at, held := 0, false
	if r != nil {
		if len(r.leases) >= a.Cap {
			m.prune(r, t)
		}
		at, held = r.find(a.Node, a.Conn)
		a.Verdict.Held = len(r.leases)
	}
	rated := a.Rate != (Rate{})
	if !held && a.Verdict.Held >= a.Cap {
		a.Verdict.Refused = OverCap
		if rated {
			if ok, wait := m.rates.PeekN(q.bucket, q.limit, a.N, now); !ok {
				a.Verdict.Refused, a.Verdict.RetryAfter = OverRate, wait
			}
		}
		return
	}
	if !held && !m.reserve() {
		a.Verdict, a.Err = Verdict{}, ErrFull
		return
	}
	if rated {
		if ok, wait := m.rates.Take(q.bucket, q.limit, a.N, now); !ok {
			a.Verdict.Refused, a.Verdict.RetryAfter = OverRate, wait
			if !held {
				m.kept.Add(-1)
			}
			return
		}
	}
	l := lease{node: a.Node, conn: a.Conn, until: later(t, a.Hold)}
	if held {
		r.leases[at].until = max(r.leases[at].until, l.until)
		return
	}
	if r == nil {
		m.roll(s, t, 4)
		r = s.record(q.key, &a.Key)
		at = 0
	}
	r.leases = slices.Insert(r.leases, at, l)
	a.Verdict.Held = len(r.leases)
}

func (m *Memory) peekAdmit(a *Admit, now time.Time) {
	q, ok := m.ask(a)
	if !ok || a.N < 0 {
		return
	}
	t := m.at(now)
	s := m.shard(q.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(q.key, &a.Key)
	refused, wait := m.standing(a, r, t)
	over, held := false, 0
	if r != nil {
		m.nodes.mu.RLock()
		for _, l := range r.leases {
			if l.until > t && !m.nodes.dead(l.node, t) {
				held++
			}
		}
		m.nodes.mu.RUnlock()
		_, mine := r.find(a.Node, a.Conn)
		over = a.Cap > 0 && held >= a.Cap && !mine
	}
	if refused == None && a.Rate != (Rate{}) {
		if ok, left := m.rates.PeekN(q.bucket, q.limit, a.N, now); !ok {
			refused, wait = OverRate, left
		}
	}
	if refused == None && over {
		refused = OverCap
	}
	a.Verdict = Verdict{Refused: refused, RetryAfter: wait, Held: held}
}

func (m *Memory) release(o *Release) {
	o.Err = nil
	if !o.Key.valid() {
		o.Err = ErrInvalid
		return
	}
	h := m.hash(&o.Key)
	s := m.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.find(h, &o.Key); r != nil && r.drop(o.Node, o.Conn) {
		m.kept.Add(-1)
		m.shrink(s, r)
	}
}

// lease is one open connection of a key. A record keeps them sorted by node and connection.
type lease struct {
	node  NodeID
	conn  uint64
	until int64
}

func (r *record) find(n NodeID, conn uint64) (at int, held bool) {
	return slices.BinarySearchFunc(r.leases, lease{node: n, conn: conn}, func(a, b lease) int {
		if c := cmp.Compare(a.node, b.node); c != 0 {
			return c
		}
		return cmp.Compare(a.conn, b.conn)
	})
}

// drop ends one lease and reports whether there was one.
func (r *record) drop(n NodeID, conn uint64) (held bool) {
	at, held := r.find(n, conn)
	if held {
		r.leases = slices.Delete(r.leases, at, at+1)
	}
	return held
}

// prune drops the leases that have lapsed and those of dead nodes.
func (m *Memory) prune(r *record, t int64) {
	before := len(r.leases)
	m.nodes.mu.RLock()
	r.leases = slices.DeleteFunc(r.leases, func(l lease) bool { return l.until <= t || m.nodes.dead(l.node, t) })
	m.nodes.mu.RUnlock()
	m.kept.Add(int64(len(r.leases) - before))
}

// shrink gives memory back after a lease went: a key without anything goes at once, not at the next sweep.
func (m *Memory) shrink(s *shard, r *record) {
	if len(r.leases) == 0 {
		r.leases = nil
		m.tidy(s, r, -1) // before all time: drops only what is empty
	} else if cap(r.leases) > 64 && len(r.leases) < cap(r.leases)/4 {
		r.leases = slices.Clone(r.leases)
	}
}
