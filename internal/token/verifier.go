// Package token judges JSON Web Tokens: a strict parser of the compact serialization, rules for header and claims, key
// sets that are static, shared secrets or fetched and kept fresh, and a cache of what was verified.
//
// It is the module's only importer of github.com/lestrrat-go/jwx, which turns a JWK into a key and checks one signature
// under one key with one algorithm. All else about a token is decided here, before the library sees a byte of it.
package token

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// A Verifier judges tokens of one issuer. It is safe for concurrent use.
//
// It is generic over what the caller makes of the claims, so that a token seen before gives back the very same value
// without an allocation. That value is shared by all who present the token.
type Verifier[T any] struct {
	judge  *judge
	keys   source
	wrap   func(*Claims) T
	seen   *seen[T]
	forged forged

	// By iss, where the issuer has tenants: each has keys of its own, and v has none.
	tenants map[string]*Verifier[T]
}

func newVerifier[T any](j *judge, keys source, wrap func(*Claims) T) *Verifier[T] {
	return &Verifier[T]{
		judge:  j,
		keys:   keys,
		wrap:   wrap,
		seen:   &seen[T]{seed: maphash.MakeSeed()},
		forged: forged{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}},
	}
}

// NewStatic returns a verifier that judges by the keys of a JWK set (RFC 7517). Its errors are joined *ConfigErrors.
func NewStatic[T any](jwks []byte, r Rules, wrap func(*Claims) T) (*Verifier[T], error) {
	j, err := newJudge(r, static)
	if err != nil {
		return nil, err
	}
	keys, err := j.staticKeys(jwks)
	if err != nil {
		return nil, err
	}
	return newVerifier(j, fixed{newKeySet(keys)}, wrap), nil
}

// NewSecrets returns a verifier for HMAC signatures under any of up to four secrets, newest first. Tokens need no kid,
// and one they have selects nothing. Its errors are joined *ConfigErrors.
func NewSecrets[T any](secrets [][]byte, r Rules, wrap func(*Claims) T) (*Verifier[T], error) {
	j, err := newJudge(r, secret)
	if err != nil {
		return nil, err
	}
	keys, err := j.secretKeys(secrets)
	if err != nil {
		return nil, err
	}
	return newVerifier(j, fixed{newKeySet(keys)}, wrap), nil
}

// NewRemote returns a verifier that judges by the JWK set at url and keeps it fresh, from the first Verify or Ready
// until Close. A nil client is one of our own. notify, if not nil, is called after every fetch, by one goroutine; it
// must not block. Its errors are joined *ConfigErrors.
func NewRemote[T any](url string, client *http.Client, r Rules, wrap func(*Claims) T, notify func(Notice)) (*Verifier[T], error) {
	var wrong []error
	if err := CheckURL(r.Option, url); err != nil {
		wrong = append(wrong, err)
	}
	f, err := newFetcher(client)
	if err != nil {
		wrong = append(wrong, err)
	}
	j, err := newJudge(r, remoteKeys)
	if err != nil {
		wrong = append(wrong, err)
	}
	if wrong != nil {
		return nil, errors.Join(wrong...)
	}
	return newVerifier(j, newRemote(known(url), f, j.remoteKeys, notify), wrap), nil
}

// Verify returns what wrap made of the claims of text, or an *Error. It waits, at most 5 seconds, only for the first
// key set and for a key not seen before.
func (v *Verifier[T]) Verify(ctx context.Context, text string) (T, error) {
	var none T
	if len(text) > v.judge.rules.MaxSize {
		return none, errSize
	}
	if v.tenants != nil {
		tenant, fault := v.tenant(text)
		if fault != nil {
			return none, fault
		}
		return tenant.Verify(ctx, text)
	}
	now := time.Now()
	set := v.keys.current(now)
	if set != nil {
		if value, ok := v.seen.get(text, set, now); ok {
			return value, nil
		}
		if known, again := v.forged.look(text, set, now); again {
			return none, errAgain
		} else if known {
			return none, errForged
		}
	}
	d, fault := v.judge.judge(ctx, text, v.keys, set, now)
	if fault != nil {
		return none, fault
	}
	now = time.Now()
	if d.key == nil {
		if v.forged.add(text, d.set, d.ends, now) {
			return none, errAgain
		}
		return none, show(Forged, "the signature does not verify under the key with kid ", d.kid)
	}
	e := &entry[T]{text: text, value: v.wrap(d.claims), key: d.key, ends: d.ends}
	if d.kid == "" {
		e.set = d.set
	}
	v.seen.put(e, d.set, now)
	return e.value, nil
}

// Known reports whether text was verified before and is still good. It is a look-up, never signature work.
func (v *Verifier[T]) Known(text string) bool {
	if len(text) > v.judge.rules.MaxSize {
		return false
	}
	if v.tenants != nil {
		tenant, fault := v.tenant(text)
		return fault == nil && tenant.Known(text)
	}
	now := time.Now()
	set := v.keys.current(now)
	if set == nil {
		return false
	}
	_, ok := v.seen.get(text, set, now)
	return ok
}

// Ready returns nil while there are keys to judge by, of every tenant. It does not wait; the first call starts fetching
// them.
func (v *Verifier[T]) Ready() error {
	if v.tenants == nil {
		return v.keys.ready()
	}
	var errs []error
	for _, issuer := range v.judge.rules.Issuers() {
		errs = append(errs, v.tenants[issuer].Ready())
	}
	return errors.Join(errs...)
}

// Close ends background work. Keys already held stay good for their time. It may be called more than once.
func (v *Verifier[T]) Close() {
	if v.tenants == nil {
		v.keys.close()
	}
	for _, tenant := range v.tenants {
		tenant.Close()
	}
}

// Issuer returns the issuer whose tokens v judges, as configured.
func (v *Verifier[T]) Issuer() string { return v.judge.rules.Issuer }

// staticKeys takes the developer's own set more strictly than an issuer's: what is wrong there can be mended.
func (j *judge) staticKeys(jwks []byte) ([]*key, error) {
	option := j.rules.Option
	usable, total, dropped, err := j.parseKeys(jwks)
	if err != nil {
		return nil, &ConfigError{option, fmt.Sprintf("the key set is unreadable (%v); pass {\"keys\":[...]}", err)}
	}
	var wrong []error
	for i := range total {
		var short *shortKey
		if errors.As(dropped[i], &short) || dropped[i] == errPrivate {
			wrong = append(wrong, &ConfigError{option, fmt.Sprintf("key %d %v", i+1, dropped[i])})
		}
	}
	if wrong == nil && len(usable) == 0 {
		wrong = append(wrong, &ConfigError{option, fmt.Sprintf(
			"no usable key among %d; pass public signing keys: RSA of 2048 bits or more, P-256, P-384, P-521, Ed25519", total)})
	}
	return usable, errors.Join(wrong...)
}

// remoteKeys takes what can be used of an issuer's set. A set without is a failure, not an order to forget.
func (j *judge) remoteKeys(jwks []byte) (*keySet, error) {
	keys, total, _, err := j.parseKeys(jwks)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no usable key among %d", total)
	}
	return newKeySet(keys), nil
}

const maxSecrets = 4

func (j *judge) secretKeys(secrets [][]byte) ([]*key, error) {
	option := j.rules.Option
	if len(secrets) == 0 {
		return nil, &ConfigError{option, "no secret is given; pass one of 32 random bytes or more"}
	}
	if len(secrets) > maxSecrets {
		return nil, &ConfigError{option, fmt.Sprintf("%d secrets are too many; keep the newest four", len(secrets))}
	}
	var keys []*key
	var wrong []error
	for i, secret := range secrets {
		k, err := j.secretKey(secret)
		if err != nil {
			wrong = append(wrong, &ConfigError{option, fmt.Sprintf("secret %d %v", i+1, err)})
			continue
		}
		for earlier := range i {
			if subtle.ConstantTimeCompare(secrets[earlier], secret) == 1 {
				wrong = append(wrong, &ConfigError{option, fmt.Sprintf("secret %d repeats secret %d; remove one", i+1, earlier+1)})
				break
			}
		}
		keys = append(keys, k)
	}
	return keys, errors.Join(wrong...)
}

func (j *judge) secretKey(secret []byte) (*key, error) {
	fits, err := j.fittingSecret(secret)
	if err != nil {
		return nil, err
	}
	own := append([]byte(nil), secret...)
	k := &key{raw: own, verifier: make(map[string]jws.Verifier, len(fits)), print: sha256.Sum256(own)}
	for _, alg := range fits {
		if k.verifier[alg], err = jws.NewVerifier(jwa.SignatureAlgorithm(alg)); err != nil {
			return nil, err
		}
	}
	return k, nil
}
