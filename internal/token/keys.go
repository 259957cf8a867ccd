package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/wssecure/wssecure/internal/strictjson"
)

const (
	maxKeys     = 256
	maxKeySize  = 64 << 10 // a large key with its certificates has a quarter of that
	minRSABits  = 2048
	maxRSABits  = 8192 // beyond, one signature check costs milliseconds
	maxExponent = 4    // bytes; crypto/rsa takes no more, and jwx would cut silently
)

// A key is one key ready to verify with. It is immutable but for retired.
type key struct {
	id       string // kid, "" when it has none
	raw      any    // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey or []byte
	verifier map[string]jws.Verifier
	print    [32]byte    // the same for the same key in the next set, which then keeps this one
	retired  atomic.Bool // no longer in the set: what it verified is no longer good
}

// A keySet is one whole set of usable keys. Verification takes one set and looks at no other.
type keySet struct {
	keys []*key
	byID map[string]*key

	// The last accepted headers: a header equal to one of them need not be decoded again. Only a verified signature
	// puts one here, so strangers cannot displace them; the set's end is theirs.
	seed    maphash.Seed
	headers [16]atomic.Pointer[header]
}

func newKeySet(keys []*key) *keySet {
	s := &keySet{keys: keys, byID: make(map[string]*key, len(keys)), seed: maphash.MakeSeed()}
	for _, k := range keys {
		if k.id != "" {
			s.byID[k.id] = k
		}
	}
	return s
}

func (s *keySet) slot(segment string) *atomic.Pointer[header] {
	return &s.headers[maphash.String(s.seed, segment)%uint64(len(s.headers))]
}

// accepted returns the header of a token accepted before that has this header segment, or nil.
func (s *keySet) accepted(segment string) *header {
	if h := s.slot(segment).Load(); h != nil && h.segment == segment {
		return h
	}
	return nil
}

// accept remembers the header of a token whose signature has verified.
func (s *keySet) accept(h *header) {
	if s.accepted(h.segment) != nil {
		return
	}
	own := *h
	own.segment = strings.Clone(h.segment) // not a piece of the request it came in
	s.slot(h.segment).Store(&own)
}

// inherit makes s keep the keys of old that it has again, and retires the others. It returns old when nothing changed.
// The caller publishes what it returns before it calls the returned function.
func (s *keySet) inherit(old *keySet) (*keySet, func()) {
	if old == nil {
		return s, func() {}
	}
	kept := make(map[[32]byte]*key, len(old.keys))
	for _, k := range old.keys {
		kept[k.print] = k
	}
	for i, k := range s.keys {
		if before, is := kept[k.print]; is {
			s.keys[i] = before
			delete(kept, k.print)
		}
	}
	if len(kept) == 0 && len(s.keys) == len(old.keys) {
		return old, func() {}
	}
	return newKeySet(s.keys), func() {
		for _, k := range kept {
			k.retired.Store(true)
		}
	}
}

// A rawKey is a member of "keys" with what we have read of it ourselves.
type rawKey struct {
	members      map[string]any
	id, alg, kty string
}

// Why a key is dropped. A remote set drops it in silence, since sets carry keys for many uses.
var (
	errPrivate = errors.New("is private; pass its public half")
	errUnfit   = errors.New("is no usable signing key")
)

// A shortKey is an HMAC key with fewer bytes than an algorithm needs.
type shortKey struct{ has, want int }

func (e *shortKey) Error() string { return fmt.Sprintf("has %d bytes; use %d or more", e.has, e.want) }

// parseKeys reads a JWK set (RFC 7517) strictly and returns its usable keys, how many it has in all, and why keys were
// dropped, by place. Only a set that is not one as a whole is an error.
func (j *judge) parseKeys(jwks []byte) (usable []*key, total int, dropped map[int]error, err error) {
	members, err := keyMembers(jwks)
	if err != nil {
		return nil, 0, nil, err
	}
	raws := make(map[int]*rawKey, len(members))
	dropped = make(map[int]error)
	for i, member := range members {
		r, err := readKey(member)
		if err != nil {
			dropped[i] = err
			continue
		}
		raws[i] = r
	}
	materials, err := materialize(raws)
	if err != nil {
		return nil, 0, nil, err
	}
	for i := range members {
		if dropped[i] != nil {
			continue
		}
		k, err := j.prepare(raws[i], materials[i])
		if err != nil {
			dropped[i] = err
			continue
		}
		usable = append(usable, k)
	}
	return unambiguous(usable), len(members), dropped, nil
}

// keyMembers returns the members of "keys", undecoded. A megabyte of small values must not become twenty of Go's, so
// the text is checked without being built, and counted while it is cut.
func keyMembers(jwks []byte) ([]json.RawMessage, error) {
	if err := strictjson.Check(jwks, strictjson.Limits{Depth: 16, Members: 32 * maxKeys}); err != nil {
		return nil, err
	}
	var set map[string]json.RawMessage // a map: names are exact, as they are not for struct fields
	if err := json.Unmarshal(jwks, &set); err != nil || set["keys"] == nil || set["keys"][0] != '[' {
		return nil, errors.New(`no list "keys": not a JWK set`)
	}
	d := json.NewDecoder(bytes.NewReader(set["keys"]))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var members []json.RawMessage
	for d.More() {
		if len(members) == maxKeys {
			return nil, fmt.Errorf("more than %d keys", maxKeys)
		}
		var member json.RawMessage
		if err := d.Decode(&member); err != nil {
			return nil, err
		}
		members = append(members, member)
	}
	return members, nil
}

// unambiguous drops every key whose kid another one has too: to choose between them would be to try them.
func unambiguous(keys []*key) []*key {
	times := make(map[string]int, len(keys))
	for _, k := range keys {
		times[k.id]++
	}
	return slices.DeleteFunc(keys, func(k *key) bool { return k.id != "" && times[k.id] > 1 })
}

// readKey judges what a key says of itself.
func readKey(member []byte) (*rawKey, error) {
	if len(member) > maxKeySize {
		return nil, errUnfit
	}
	m, err := strictjson.Object(member, strictjson.Limits{Depth: 16, Members: 256})
	if err != nil {
		return nil, errUnfit
	}
	r := &rawKey{members: m}
	for name, into := range map[string]*string{"kid": &r.id, "alg": &r.alg, "kty": &r.kty} {
		value, is := m[name]
		if !is {
			continue
		}
		if *into, is = value.(string); !is {
			return nil, errUnfit
		}
	}
	if use, is := m["use"]; is && use != "sig" {
		return nil, errUnfit
	}
	if ops, is := m["key_ops"]; is {
		list, _ := ops.([]any)
		if !slices.Contains(list, any("verify")) {
			return nil, errUnfit
		}
	}
	for _, name := range [...]string{"d", "p", "q", "dp", "dq", "qi", "oth"} {
		if has(m, name) {
			return nil, errPrivate
		}
	}
	if r.kty != "oct" && has(m, "k") {
		return nil, errPrivate
	}
	return r, nil
}

// materialize has jwx turn the keys into what crypto verifies with. It sees of each key only the members that are key
// material, under a kid of ours that tells us which it was.
func materialize(raws map[int]*rawKey) (made map[int]any, err error) {
	type set struct {
		Keys []map[string]string `json:"keys"`
	}
	s := set{Keys: []map[string]string{}}
	for i, r := range raws {
		material := map[string]string{"kid": strconv.Itoa(i), "kty": r.kty}
		for _, name := range [...]string{"crv", "x", "y", "n", "e", "k"} {
			if value, is := r.members[name].(string); is {
				material[name] = value
			}
		}
		s.Keys = append(s.Keys, material)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	// What an issuer serves must not be able to end the process.
	defer func() {
		if p := recover(); p != nil {
			made, err = nil, fmt.Errorf("key set: %v", p)
		}
	}()
	parsed, err := jwk.Parse(b, jwk.WithIgnoreParseError(true))
	if err != nil {
		return nil, err
	}
	made = make(map[int]any, parsed.Len())
	for at := range parsed.Len() {
		k, _ := parsed.Key(at)
		i, err := strconv.Atoi(k.KeyID())
		if err != nil {
			return nil, err
		}
		if k, is := k.(jwk.RSAPublicKey); is && len(k.E()) > maxExponent {
			continue
		}
		var raw any
		if k.Raw(&raw) == nil {
			made[i] = raw
		}
	}
	return made, nil
}

// prepare judges the material and makes a verifier ready for each algorithm on the list that the key may be used with.
func (j *judge) prepare(r *rawKey, raw any) (*key, error) {
	fits, err := j.fitting(raw)
	if err != nil {
		return nil, err
	}
	k := &key{id: r.id, raw: raw, verifier: make(map[string]jws.Verifier, len(fits)), print: r.print()}
	for _, alg := range fits {
		if r.alg != "" && r.alg != alg {
			continue
		}
		if k.verifier[alg], err = jws.NewVerifier(jwa.SignatureAlgorithm(alg)); err != nil {
			return nil, err
		}
	}
	if len(k.verifier) == 0 {
		return nil, errUnfit
	}
	return k, nil
}

// fitting returns the algorithms of the list that the material's type, size and curve allow.
func (j *judge) fitting(raw any) ([]string, error) {
	var names []string
	switch raw := raw.(type) {
	case *rsa.PublicKey:
		bits := raw.N.BitLen()
		if bits < minRSABits || bits > maxRSABits || raw.N.Bit(0) == 0 || raw.E < 3 || raw.E&1 == 0 || raw.E > math.MaxInt32 {
			return nil, errUnfit
		}
		names = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey:
		// ECDH is the way crypto/ecdsa offers to ask whether a point is on its curve.
		if _, err := raw.ECDH(); err != nil {
			return nil, errUnfit
		}
		names = []string{map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[raw.Params().Name]}
	case ed25519.PublicKey:
		if len(raw) != ed25519.PublicKeySize {
			return nil, errUnfit
		}
		names = []string{"EdDSA"}
	case []byte:
		return j.fittingSecret(raw)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !j.algs[name] })
	if len(names) == 0 {
		return nil, errUnfit
	}
	return names, nil
}

// fittingSecret refuses a secret shorter than the hash (RFC 7518 3.2): a short one is guessed offline from one token.
func (j *judge) fittingSecret(secret []byte) ([]string, error) {
	var names []string
	shortest := 0
	for i, name := range symmetric {
		size := 32 + 16*i
		if !j.algs[name] {
			continue
		}
		if len(secret) >= size {
			names = append(names, name)
		} else if shortest == 0 {
			shortest = size
		}
	}
	if len(names) > 0 {
		return names, nil
	}
	if shortest > 0 {
		return nil, &shortKey{len(secret), shortest}
	}
	return nil, errUnfit
}

// print hashes what makes the key this key: its material, its name and its algorithm.
func (r *rawKey) print() [32]byte {
	h := sha256.New()
	var size [8]byte
	for _, name := range [...]string{"kty", "kid", "alg", "crv", "x", "y", "n", "e", "k"} {
		value, _ := r.members[name].(string)
		binary.BigEndian.PutUint64(size[:], uint64(len(value)))
		h.Write(size[:])
		h.Write([]byte(value))
	}
	return [32]byte(h.Sum(nil))
}
