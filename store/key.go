package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Key names what is counted, banned or revoked. Make one with the functions below: they put it into the one form
// under which it is found again. Build it once per credential; it is comparable and costs nothing to pass on.
type Key struct {
	Kind   KeyKind
	Prefix netip.Prefix // of KeyIP and KeyNetwork
	ID     string       // of all others but KeyEveryone
}

// KeyKind is what a Key names.
type KeyKind uint8

// Kinds of keys.
const (
	KeyIP          KeyKind = iota + 1 // one client address: an IPv4 address, an IPv6 /64 or /48
	KeyNetwork                        // any network; found by every address in it
	KeySubject                        // issuer and subject
	KeyToken                          // issuer and jti
	KeyOIDCSession                    // issuer and sid
	KeySession                        // a session of this guard
	KeyCustom                         // a rule's own key: its name and value
	KeyEveryone                       // all sessions
)

// Address names one client as it is counted. The prefix is the caller's choice (an IPv4 /32, an IPv6 /64); host bits
// are cleared and an IPv4-mapped address becomes IPv4, so no client has two names.
func Address(p netip.Prefix) Key { return Key{Kind: KeyIP, Prefix: canonical(p)} }

// Network names a network. A ban of it reaches every KeyIP in it. Its revocation mark is asked for by an Admit of
// Network(the client's address), which finds every marked network around that address.
func Network(p netip.Prefix) Key { return Key{Kind: KeyNetwork, Prefix: canonical(p)} }

// Subject names a user, who always belongs to an issuer.
func Subject(iss, sub string) Key { return Key{Kind: KeySubject, ID: join(iss, sub)} }

// TokenID names one token by its jti.
func TokenID(iss, jti string) Key { return Key{Kind: KeyToken, ID: join(iss, jti)} }

// OIDCSession names a login at the issuer by its sid.
func OIDCSession(iss, sid string) Key { return Key{Kind: KeyOIDCSession, ID: join(iss, sid)} }

// Session names one session of a guard.
func Session(id string) Key { return Key{Kind: KeySession, ID: id} }

// Custom names a value of a rule's own key function.
// A long value is known by its digest: clients choose it, and a ban outlives them by an hour.
func Custom(name, value string) Key {
	if len(value) > longestValue {
		digest := sha256.Sum256([]byte(value))
		value = value[:longestValue] + string(digest[:]) // longer than any that is kept as it is
	}
	return Key{Kind: KeyCustom, ID: join(name, value)}
}

const longestValue = 64

// Everyone names all sessions.
func Everyone() Key { return Key{Kind: KeyEveryone} }

// join prefixes the first part with its length, so that ("a", "bc") is not ("ab", "c").
func join(a, b string) string { return strconv.Itoa(len(a)) + ":" + a + b }

func canonical(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

func (k Key) valid() bool {
	switch k.Kind {
	case KeyIP, KeyNetwork:
		return k.Prefix.IsValid() && k.ID == ""
	case KeySubject, KeyToken, KeyOIDCSession, KeySession, KeyCustom:
		return k.ID != "" && !k.Prefix.IsValid()
	case KeyEveryone:
		return k.ID == "" && !k.Prefix.IsValid()
	}
	return false
}

// bannable: a ban keeps a client out. Tokens and sessions are revoked instead, and nobody bans everyone.
func (k Key) bannable() bool {
	return k.Kind == KeyIP || k.Kind == KeyNetwork || k.Kind == KeySubject || k.Kind == KeyCustom
}

// revocable: addresses are banned instead, custom keys carry no credential.
func (k Key) revocable() bool {
	return k.Kind != KeyIP && k.Kind != KeyCustom
}

// single: the key names one grant, so its mark refuses whatever was issued when.
func (k Key) single() bool {
	return k.Kind == KeyToken || k.Kind == KeyOIDCSession || k.Kind == KeySession
}

// NodeID is a node epoch: one run of one process, or less when it had to start anew. Zero is nobody.
type NodeID uint64

// NewNodeID draws a random epoch.
func NewNodeID() NodeID {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails
		if id := NodeID(binary.LittleEndian.Uint64(b[:])); id != 0 {
			return id
		}
	}
}
