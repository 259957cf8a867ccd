package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// sum is all that is kept of a ticket or a logout id: a dump of memory redeems nothing, and the look-up takes the same
// time however much of a guess is right.
type sum [sha256.Size]byte

type secret struct {
	sum   sum
	data  []byte
	until int64
	place int // in shard.secretsIn
}

const (
	ticketSecret = 't'
	logoutSecret = 'l'
)

func sumOf(kind byte, value string) sum {
	var buf [128]byte
	return sha256.Sum256(append(append(buf[:0], kind), value...))
}

func (m *Memory) secretShard(x sum) *shard {
	return &m.shards[binary.LittleEndian.Uint64(x[:])%shardCount]
}

func (m *Memory) claim(o *Claim, now time.Time) {
	o.First, o.Local, o.Err = false, false, nil
	switch {
	case o.TTL < 0:
		o.Err = ErrInvalid
	case o.Space == SpaceHandshakeKey:
		d := m.replays.Digest(o.Value)
		if o.TTL == 0 {
			m.replays.Withdraw(d)
			return
		}
		o.First = m.replays.Add(d, o.TTL, now)
	case o.Space == SpaceLogout:
		x := sumOf(logoutSecret, o.Value)
		if o.TTL == 0 {
			m.spend(x)
			return
		}
		o.First, o.Err = m.keep(x, nil, o.TTL, now)
	default:
		o.Err = ErrInvalid
	}
}

func (m *Memory) peekClaim(o *Claim, now time.Time) {
	o.First, o.Local, o.Err = false, false, nil
	switch o.Space {
	case SpaceHandshakeKey:
		o.First = !m.replays.Has(m.replays.Digest(o.Value), now)
	case SpaceLogout:
		_, known := m.read(sumOf(logoutSecret, o.Value), now)
		o.First = !known
	default:
		o.Err = ErrInvalid
	}
}

func (m *Memory) put(o *Put, now time.Time) {
	o.Err = nil
	if o.Ticket == "" || o.TTL <= 0 || len(o.Data) > maxTicket {
		o.Err = ErrInvalid
		return
	}
	first, err := m.keep(sumOf(ticketSecret, o.Ticket), bytes.Clone(o.Data), o.TTL, now)
	if err == nil && !first {
		err = ErrInvalid
	}
	o.Err = err
}

func (m *Memory) redeem(o *Redeem, now time.Time) {
	if o.Keep {
		m.peekRedeem(o, now)
		return
	}
	o.Data, o.OK, o.Err = nil, false, nil
	x := sumOf(ticketSecret, o.Ticket)
	if data, until := m.spend(x); until > m.at(now) {
		o.Data, o.OK = data, true
	}
}

func (m *Memory) peekRedeem(o *Redeem, now time.Time) {
	o.Err = nil
	data, ok := m.read(sumOf(ticketSecret, o.Ticket), now)
	o.Data, o.OK = bytes.Clone(data), ok
}

// keep remembers x unless it is known.
func (m *Memory) keep(x sum, data []byte, ttl time.Duration, now time.Time) (first bool, err error) {
	t := m.at(now)
	first, err = m.tryKeep(x, data, ttl, t)
	if err == ErrFull && m.sweep(t) {
		return m.tryKeep(x, data, ttl, t)
	}
	return first, err
}

func (m *Memory) tryKeep(x sum, data []byte, ttl time.Duration, t int64) (first bool, err error) {
	s := m.secretShard(x)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.secrets[x]; old != nil {
		if old.until > t {
			return false, nil
		}
		m.forget(s, old)
	}
	m.roll(s, t, 4)
	if !m.reserve() {
		return false, ErrFull
	}
	if m.bytes.Add(int64(len(data))) > int64(m.bounds.bytes) {
		m.bytes.Add(-int64(len(data)))
		m.kept.Add(-1)
		return false, ErrFull
	}
	k := &secret{sum: x, data: data, until: later(t, ttl), place: len(s.secretsIn)}
	s.secrets[x] = k
	s.secretsIn = append(s.secretsIn, k)
	return true, nil
}

func (m *Memory) read(x sum, now time.Time) (data []byte, ok bool) {
	s := m.secretShard(x)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.secrets[x]
	if k == nil || k.until <= m.at(now) {
		return nil, false
	}
	return k.data, true // never written again
}

// spend takes x out, and returns what it held and until when; the zero time never lies ahead.
func (m *Memory) spend(x sum) (data []byte, until int64) {
	s := m.secretShard(x)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.secrets[x]
	if k == nil {
		return nil, -1
	}
	m.forget(s, k)
	return k.data, k.until
}

func (m *Memory) forget(s *shard, k *secret) {
	delete(s.secrets, k.sum)
	s.secretsIn = remove(s.secretsIn, k.place, func(moved *secret, at int) { moved.place = at })
	m.kept.Add(-1)
	m.bytes.Add(-int64(len(k.data)))
}
