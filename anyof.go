package wssecure

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"

	"github.com/wssecure/wssecure/internal/token"
)

// AnyOf joins verifiers of several issuers. A JWT goes to the verifier of its
// issuer alone, so that keys are never shared between issuers (RFC 8725 section
// 3.8); any other token goes to those without an issuer, in order.
func AnyOf(v ...Verifier) Verifier { return newAnyOf(v) }

// anyOf chooses by issuer before any key is touched.
type anyOf struct {
	byIssuer  map[string]*tokenVerifier
	own       []*tokenVerifier
	opaque    []Verifier // of no issuer: introspection's and the application's
	foreign   bool       // one of them is the application's
	mistakes  []error
	tokenSize int
}

func newAnyOf(list []Verifier) *anyOf {
	a := &anyOf{byIssuer: map[string]*tokenVerifier{}, tokenSize: defaultTokenSize}
	if len(list) == 0 {
		a.mistakes = append(a.mistakes, configError("AnyOf", "the list is empty; pass the verifiers to join"))
	}
	for _, v := range list {
		a.add(v)
	}
	return a
}

func (a *anyOf) add(v Verifier) {
	switch v := v.(type) {
	case nil:
		a.mistakes = append(a.mistakes, configError("AnyOf", "a verifier is nil; remove it"))
	case *tokenVerifier:
		a.mistakes = append(a.mistakes, v.faults()...)
		a.tokenSize = max(a.tokenSize, v.size())
		a.own = append(a.own, v)
		if v.opaque {
			a.opaque = append(a.opaque, v)
		}
		for _, issuer := range v.issuers() {
			if a.byIssuer[issuer] != nil {
				a.mistakes = append(a.mistakes, configError("AnyOf", "issuer "+strconv.Quote(issuer)+" has two verifiers; merge them"))
				return
			}
			a.byIssuer[issuer] = v
		}
	case *anyOf:
		a.mistakes = append(a.mistakes, configError("AnyOf", "holds another AnyOf; list its verifiers here"))
	default:
		if isNilFunc(v) {
			a.mistakes = append(a.mistakes, configError("AnyOf", nilFuncFault))
			return
		}
		a.opaque, a.foreign = append(a.opaque, v), true
	}
}

func (a *anyOf) Verify(ctx context.Context, text string) (*Identity, error) {
	return a.verifyFrom(ctx, text, netip.Prefix{})
}

func (a *anyOf) verifyFrom(ctx context.Context, text string, from netip.Prefix) (*Identity, error) {
	if v := a.of(text); v != nil {
		return v.verifyFrom(ctx, text, from)
	}
	err := error(ReasonTokenInvalid)
	for _, v := range a.opaque {
		if len(text) > sizeOf(v) {
			continue
		}
		id, failed := verifyFrom(ctx, v, text, from)
		if failed == nil {
			return id, nil
		}
		err = failed
		if reason := asRejection(failed, ReasonUnavailable).Reason; reason != ReasonTokenInvalid && reason != ReasonTokenForged {
			break
		}
	}
	return nil, asRejection(err, ReasonUnavailable)
}

// verifyFrom tells a verifier of ours which network the client is of.
func verifyFrom(ctx context.Context, v Verifier, text string, from netip.Prefix) (*Identity, error) {
	if own, ok := v.(ownVerifier); ok {
		return own.verifyFrom(ctx, text, from)
	}
	return v.Verify(ctx, text)
}

func (a *anyOf) of(text string) *tokenVerifier {
	issuer, ok := token.PeekIssuer(text, a.tokenSize)
	if !ok {
		return nil
	}
	return a.byIssuer[issuer]
}

func (a *anyOf) faults() []error { return a.mistakes }
func (a *anyOf) size() int       { return a.tokenSize }

func (a *anyOf) boundsItself() bool { return !a.foreign }

func (a *anyOf) known(text string) bool {
	if v := a.of(text); v != nil {
		return v.known(text)
	}
	return slices.ContainsFunc(a.opaque, func(v Verifier) bool {
		own, ok := v.(ownVerifier)
		return ok && own.known(text)
	})
}

func (a *anyOf) holes() []hole {
	var all []hole
	for _, v := range a.own {
		all = append(all, v.holes()...)
	}
	return all
}

// sizeOf is the longest token that v is asked about.
func sizeOf(v Verifier) int {
	if own, ok := v.(ownVerifier); ok {
		return own.size()
	}
	return defaultTokenSize
}

func (a *anyOf) ready() error {
	var errs []error
	for _, v := range a.own {
		errs = append(errs, v.ready())
	}
	return errors.Join(errs...)
}

func (a *anyOf) attach(c *core) {
	for _, v := range a.own {
		v.attach(c)
	}
}

func (a *anyOf) detach(c *core) {
	for _, v := range a.own {
		v.detach(c)
	}
}
