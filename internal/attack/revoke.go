package attack

import (
	"context"
	"crypto/elliptic"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"

	"github.com/wssecure/wssecure/internal/quote"
)

// This file is sockets that outlive their right to be open.

// atOnce is how soon a session must end when it has to.
const atOnce = 3 * time.Second

// outlived opens a session with a token that is about to end for this server, whatever skew it allows: the oldest one that
// is still admitted.
func outlived(ctx context.Context, t *Target) Verdict {
	for _, age := range []int64{298, 118, 88, 58, 28, 13, 8, 3, -2} {
		now := time.Now().Unix()
		token, err := t.signed(nil, members{"exp": now - age, "iat": now - 3600, "nbf": now - 3600})
		if err != nil {
			return unclear("", "", "Sign: %s", quote.Cut(err.Error(), longestGot))
		}
		h := t.with(token)
		l, a := t.open(ctx, h)
		if l == nil {
			continue
		}
		if !l.farewell(a).admitted() {
			l.Close()
			continue
		}
		defer l.Close()
		return t.endsWithToken(ctx, l, token, fmt.Sprintf("a session whose token had %d s to live", -age))
	}
	return unclear("tokens that have just expired, or soon do", "none of them is admitted", "no session to look at")
}

// endsWithToken waits until the token is refused for a new socket; then the old one must have ended.
func (t *Target) endsWithToken(ctx context.Context, l *link, token, sent string) Verdict {
	for range 15 {
		if e := l.watch(2*time.Second, nil); e.over() {
			return held(sent, e.String())
		}
		if a := t.ask(ctx, t.with(token)); a.admitted() {
			continue
		}
		if e := l.watch(t.within(atOnce), nil); e.over() {
			return held(sent, e.String())
		}
		return broken(sent, "the session is open", "the same token is refused for a new one")
	}
	return unclear(sent, "the session is open, and the token still admits others", "it did not expire within half a minute")
}

func revokeSession(ctx context.Context, t *Target) Verdict {
	token := t.token()
	l, v, ok := t.sessionOf(ctx, t.with(token))
	if !ok {
		return v
	}
	defer l.Close()
	if err := t.Revoke(ctx, token); err != nil {
		return unclear("", "", "Revoke: %s", quote.Cut(t.redact(err.Error()), longestGot))
	}
	const sent = "nothing: the session was left alone"
	if e := l.watch(t.within(atOnce), nil); e.over() {
		return held(sent, e.String())
	}
	return broken(sent, "the session is open", "%v after its token was revoked", t.within(atOnce))
}

// revokeTwin replaces s by n - s, which is as good (SEC 1, section 4.1.4).
func revokeTwin(ctx context.Context, t *Target) Verdict {
	j := t.jwt()
	signature, err := base64.RawURLEncoding.DecodeString(j.parts[2])
	if err != nil || j.header["alg"] != "ES256" || len(signature) != 64 {
		return left("the token is not signed with ES256")
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	twin := j.parts[0] + "." + j.parts[1] + "." + base64url(signature)
	t.hide(twin)
	token := strings.Join(j.parts[:], ".")
	t.ask(ctx, t.with(token)) // what was never shown may be known by nothing but its text
	if err := t.Revoke(ctx, token); err != nil {
		return unclear("", "", "Revoke: %s", quote.Cut(t.redact(err.Error()), longestGot))
	}
	h := t.with(twin)
	return t.taken(ctx, t.mustRefuse(ctx, "the revoked token with s replaced by n - s", h), h, atOnce)
}

func revokeRace(ctx context.Context, t *Target) Verdict {
	const rounds, beside = 6, 6
	sent := fmt.Sprintf("%d handshakes at once while their token was revoked, %d times", beside, rounds)
	admitted := 0
	for round := range rounds {
		token := t.token()
		links := make([]*link, beside)
		var racing sync.WaitGroup
		for i := range links {
			racing.Go(func() {
				if l, a := t.open(ctx, t.with(token)); a.status() == 101 {
					links[i] = l
				} else if l != nil {
					l.Close()
				}
			})
		}
		// A little later each round: into the handshake, the check, the registration.
		sleep(ctx, time.Duration(round)*400*time.Microsecond)
		err := t.Revoke(ctx, token)
		racing.Wait()
		survivor, n := survivors(links, t.within(atOnce))
		admitted += n
		switch {
		case err != nil:
			return unclear(sent, "", "Revoke: %s", quote.Cut(t.redact(err.Error()), longestGot))
		case survivor != nil:
			return broken(sent, survivor.String(), "a session survived the revocation of its token")
		}
	}
	return held(sent, fmt.Sprintf("%d were admitted first, and all of them ended", admitted))
}

// survivors closes all links, and returns the ending of one that had none in time, and how many links there were.
func survivors(links []*link, d time.Duration) (survivor *ending, n int) {
	end := time.Now().Add(d)
	for _, l := range links {
		if l == nil {
			continue
		}
		n++
		// The time is one for all: the last is looked at when it should long be over.
		if e := l.watch(max(time.Until(end), 100*time.Millisecond), nil); !e.over() {
			survivor = &e
		}
		l.Close()
	}
	return survivor, n
}
