package token

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/wssecure/wssecure/internal/strictjson"
)

const (
	atOnce      = 32 // requests in flight: strangers' tokens must not become a flood at the authorization server
	againAtOnce = 32 // and beside them, about tokens found active before: the flood must not keep those from being asked about
	answerSize  = 64 << 10
	activeFor   = time.Minute
	inactiveFor = 10 * time.Second
)

// An Introspector judges opaque tokens by asking the authorization server about each (RFC 7662). It is safe for
// concurrent use. What it was told is good for a minute at most, a refusal for ten seconds.
type Introspector[T any] struct {
	judge         *judge
	endpoint      string
	authorization string
	fetch         *fetcher
	wrap          func(c *Claims, again func(context.Context) (T, error)) T

	seen    seen[T]
	refused refused

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	mu      sync.Mutex
	flights map[string]*flight[T]
	anew    int                  // of the flights, those about tokens found active before
	from    map[netip.Prefix]int // of the others, those of each network
}

// A flight is one request under way, for all who present its token.
type flight[T any] struct {
	anew  bool
	from  netip.Prefix // who asked first
	done  chan struct{}
	value T
	fault *Error
}

// NewIntrospector returns a verifier that asks at endpoint, with the client's id and secret by HTTP Basic. wrap is also
// given a function that asks about the same token anew, whatever is cached; it holds the token's text. Its errors are
// joined *ConfigErrors, none of which has the secret.
func NewIntrospector[T any](endpoint, clientID, clientSecret string, client *http.Client, r Rules,
	wrap func(c *Claims, again func(context.Context) (T, error)) T) (*Introspector[T], error) {
	var wrong []error
	if err := CheckURL(r.Option, endpoint); err != nil {
		wrong = append(wrong, err)
	}
	if clientID == "" {
		wrong = append(wrong, &ConfigError{r.Option, "the client id is empty; pass the one registered with the issuer"})
	}
	if clientSecret == "" {
		wrong = append(wrong, &ConfigError{r.Option, "the client secret is empty; pass the one registered with the issuer"})
	}
	f, err := newFetcher(client)
	if err != nil {
		wrong = append(wrong, err)
	}
	r.Issuer = endpoint
	j, err := newJudge(r, introspected)
	if err != nil {
		wrong = append(wrong, err)
	}
	if wrong != nil {
		return nil, errors.Join(wrong...)
	}
	// Each is form-encoded before they are joined, so that a colon in the id cannot move the border (RFC 6749 2.3.1).
	basic := url.QueryEscape(clientID) + ":" + url.QueryEscape(clientSecret)
	v := &Introspector[T]{
		judge: j, endpoint: endpoint, fetch: f, wrap: wrap,
		authorization: "Basic " + base64.StdEncoding.EncodeToString([]byte(basic)),
		seen:          seen[T]{seed: maphash.MakeSeed()},
		refused:       refused{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}},
		flights:       map[string]*flight[T]{},
		from:          map[netip.Prefix]int{},
	}
	v.ctx, v.stop = context.WithCancel(context.Background())
	return v, nil
}

var (
	errNoText   = &Error{Fault: Invalid, Err: errors.New("the token is empty")}
	errNoIss    = &Error{Fault: Invalid, Err: errors.New("claim iss is empty")}
	errInactive = &Error{Fault: Invalid, Err: ErrInactive}
	errBusy     = &Error{Fault: Unavailable, Err: fmt.Errorf("%d introspection requests are under way", atOnce)}
	errShare    = &Error{Fault: Unavailable, Err: errors.New("as many introspection requests of this network are under way as it may have beside others")}
	errClosed   = &Error{Fault: Unavailable, Err: errors.New("the verifier is closed")}
	errDPoP     = &Error{Fault: Invalid, Err: errors.New("not a Bearer token (token_type)")}
	errUse      = &Error{Fault: Invalid, Err: errors.New("not an access token (token_use)")}
)

// ErrInactive is in the chain of the refusal of a token of which the server says that it is not active, or no longer.
var ErrInactive = errors.New("the token is not active")

// Verify is VerifyFrom for a network that is not known.
func (v *Introspector[T]) Verify(ctx context.Context, text string) (T, error) {
	return v.VerifyFrom(ctx, text, netip.Prefix{})
}

// VerifyFrom returns what wrap made of the answer about text, or an *Error. It waits at most 5 seconds. A network that
// shows many tokens has no more requests under way than leave as many places to others.
func (v *Introspector[T]) VerifyFrom(ctx context.Context, text string, from netip.Prefix) (T, error) {
	var none T
	if len(text) > v.judge.rules.MaxSize {
		return none, errSize
	}
	if text == "" {
		return none, errNoText
	}
	if value, fault, known := v.look(text); known {
		return result(value, fault)
	}
	f, value, fault := v.join(text, false, from)
	if f == nil {
		return result(value, fault)
	}
	return v.wait(ctx, f)
}

// again asks about text whatever is cached, and replaces that.
func (v *Introspector[T]) again(ctx context.Context, text string) (T, error) {
	f, value, fault := v.join(text, true, netip.Prefix{})
	if f == nil {
		return result(value, fault)
	}
	return v.wait(ctx, f)
}

// result keeps a nil *Error from becoming an error.
func result[T any](value T, fault *Error) (T, error) {
	if fault != nil {
		return value, fault
	}
	return value, nil
}

// look returns what is still known of text.
func (v *Introspector[T]) look(text string) (value T, fault *Error, known bool) {
	now := time.Now()
	if value, ok := v.seen.get(text, nil, now); ok {
		return value, nil, true
	}
	fault = v.refused.look(text, now)
	return value, fault, fault != nil
}

// join returns the flight that asks about text, or why there is none.
func (v *Introspector[T]) join(text string, anew bool, from netip.Prefix) (f *flight[T], value T, fault *Error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if f := v.flights[text]; f != nil {
		return f, value, nil
	}
	// A flight may have landed since the caller looked.
	if !anew {
		if value, fault, known := v.look(text); known {
			return nil, value, fault
		}
	}
	if v.ctx.Err() != nil {
		return nil, value, errClosed
	}
	if fault := v.full(anew, from); fault != nil {
		return nil, value, fault
	}
	f = &flight[T]{anew: anew, from: from, done: make(chan struct{})}
	v.count(f, 1)
	text = strings.Clone(text) // not a piece of the request it came in
	v.flights[text] = f
	go v.fly(f, text)
	return f, value, nil
}

// full is why no more flight may take off, nil when one may. A network has a place for each that it leaves free: half of
// all when it is alone, and of what others have left when it is not. v.mu is held.
func (v *Introspector[T]) full(anew bool, from netip.Prefix) *Error {
	free := atOnce - (len(v.flights) - v.anew)
	switch {
	case anew && v.anew < againAtOnce:
		return nil
	case anew || free <= 0:
		return errBusy
	case from.IsValid() && v.from[from] >= free:
		return errShare
	}
	return nil
}

// count notes that f has taken off, or with -1 that it has landed. v.mu is held.
func (v *Introspector[T]) count(f *flight[T], n int) {
	if f.anew {
		v.anew += n
		return
	}
	v.from[f.from] += n
	if v.from[f.from] == 0 {
		delete(v.from, f.from)
	}
}

// wait gives up with ctx; the flight goes on for the others.
func (v *Introspector[T]) wait(ctx context.Context, f *flight[T]) (T, error) {
	select {
	case <-f.done:
		return result(f.value, f.fault)
	case <-ctx.Done():
		var none T
		return none, refuse(Unavailable, "waiting for the introspection: ", ctx.Err())
	}
}

// fly asks once and keeps what came. No caller's context is part of it: who gives up must not fail the others.
func (v *Introspector[T]) fly(f *flight[T], text string) {
	claims, ends, fault := v.ask(text)
	now := time.Now()
	switch {
	case fault == nil:
		f.value = v.wrap(claims, func(ctx context.Context) (T, error) { return v.again(ctx, text) })
		if until := now.Add(activeFor); until.Before(ends) {
			ends = until
		}
		v.seen.put(&entry[T]{text: text, value: f.value, key: noKey, ends: ends}, nil, now)
	case fault.Fault != Unavailable:
		v.seen.drop(text)
		v.refused.add(text, fault, now)
	}
	f.fault = fault
	v.mu.Lock()
	delete(v.flights, text)
	v.count(f, -1)
	v.mu.Unlock()
	close(f.done)
}

// noKey stands for the key of what no key has verified: it is never retired.
var noKey = &key{}

// ask sends one request and judges the answer. Whatever is wrong with the answer as such is the server's fault or ours,
// a status 401 too: it refuses our secret, not the caller's token.
func (v *Introspector[T]) ask(text string) (*Claims, time.Time, *Error) {
	fail := func(err error) (*Claims, time.Time, *Error) {
		return nil, time.Time{}, refuse(Unavailable, "introspection at "+v.endpoint+": ", err)
	}
	ctx, cancel := context.WithTimeout(v.ctx, fetchTime)
	defer cancel()
	form := url.Values{"token": {text}, "token_type_hint": {"access_token"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.endpoint, strings.NewReader(form))
	if err != nil {
		return fail(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", v.authorization)
	body, _, err := v.fetch.send(req, answerSize)
	if err != nil {
		return fail(err)
	}
	all, err := strictjson.Object(body, jsonLimits)
	if err != nil {
		return fail(err)
	}
	active, is := all["active"].(bool)
	if !is {
		return fail(errors.New("active is neither true nor false"))
	}
	if !active {
		return nil, time.Time{}, errInactive
	}
	claims, ends, fault := v.judge.answer(all, time.Now())
	if fault == nil {
		claims.Content = content([]byte("introspected"), []byte(text))
	}
	return claims, ends, fault
}

// answer judges what the server says of an active token, as claims does those of a JWT. exp and iss may be missing (RFC
// 7662 2.2); aud may not, since the server's other tokens are meant for others.
func (j *judge) answer(all map[string]any, now time.Time) (*Claims, time.Time, *Error) {
	c, notBefore, fault := readClaims(all)
	if fault != nil {
		return nil, time.Time{}, fault
	}
	if !has(all, "iss") {
		c.Issuer = j.rules.Issuer
	} else if c.Issuer == "" {
		return nil, time.Time{}, errNoIss
	}
	if !has(all, "sub") {
		r := reader{all: all}
		if c.Subject = r.text("client_id"); r.bad != nil {
			return nil, time.Time{}, r.bad
		}
	}
	for _, judge := range [...]func() *Error{
		func() *Error { return j.audience(all) },
		c.checkSubject,
		func() *Error { return j.checkUse(all) },
		func() *Error { return bearerOnly(all) },
	} {
		if fault := judge(); fault != nil {
			return nil, time.Time{}, fault
		}
	}
	ends, fault := j.dates(c, notBefore, now)
	if fault != nil {
		return nil, time.Time{}, fault
	}
	return c, ends, nil
}

// bearerOnly refuses what servers call active too, though it must not be shown as an access token by whoever holds it:
// refresh tokens, and tokens bound to a key of which we have seen no proof.
func bearerOnly(all map[string]any) *Error {
	if typ, is := all["token_type"].(string); is && (equalFold(typ, "DPoP") || equalFold(typ, "PoP")) {
		return errDPoP
	}
	if use, is := all["token_use"]; is && use != "access" && use != "access_token" {
		return errUse
	}
	return nil
}

// Known reports whether text was found active within the last minute. It is a look-up, never a request.
func (v *Introspector[T]) Known(text string) bool {
	_, ok := v.seen.get(text, nil, time.Now())
	return ok
}

// Ready returns nil: there is nothing to load before a token comes.
func (v *Introspector[T]) Ready() error { return nil }

// Close ends the requests under way. It may be called more than once.
func (v *Introspector[T]) Close() {
	v.stop()
	if v.fetch.ours {
		v.fetch.client.CloseIdleConnections()
	}
}

// A refused table remembers for a few seconds what was said of tokens that are no good, so that one of them asked a
// thousand times is one request. It holds hashes of the texts, which are strangers': they may be long, and many.
type refused struct {
	seeds [2]maphash.Seed
	mu    sync.Mutex
	m     map[forgedID]refusal
}

type refusal struct {
	fault *Error
	until time.Time
}

func (r *refused) id(text string) forgedID {
	return forgedID{maphash.String(r.seeds[0], text), maphash.String(r.seeds[1], text)}
}

func (r *refused) look(text string, now time.Time) *Error {
	id := r.id(text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, is := r.m[id]; is && now.Before(known.until) {
		return known.fault
	}
	return nil
}

func (r *refused) add(text string, fault *Error, now time.Time) {
	id := r.id(text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		r.m = map[forgedID]refusal{}
	}
	for len(r.m) >= forgedEntries {
		delete(r.m, earliest(r.m, func(known refusal) time.Time { return known.until }))
	}
	r.m[id] = refusal{fault, now.Add(inactiveFor)}
}
