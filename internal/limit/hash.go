package limit

import (
	"hash/maphash"
	"math/bits"
	"net/netip"
)

// Hash stands for a key in Cells. Its seed is the table's own secret, so nobody can choose keys that fall together.
type Hash uint64

// HashPrefix hashes an address prefix.
func (c *Cells) HashPrefix(p netip.Prefix) Hash {
	var b [18]byte
	a := p.Addr()
	a16 := a.As16()
	copy(b[:], a16[:])
	b[16] = byte(p.Bits())
	if a.Is4() {
		b[17] = 1
	}
	return Hash(maphash.Bytes(c.seed, b[:]))
}

// HashString hashes a name; the same name under two kinds has two hashes.
func (c *Cells) HashString(kind byte, s string) Hash {
	return c.Join(Hash(maphash.String(c.seed, s)), Hash(kind)+1)
}

// Join hashes the pair of a, which must be a seeded hash, and b. Join(a, b) is not Join(b, a).
func (c *Cells) Join(a, b Hash) Hash {
	hi, lo := bits.Mul64(uint64(a)^c.salt[0], uint64(b)^c.salt[1])
	return Hash(hi ^ lo ^ uint64(a))
}
