package wssecure

import (
	"context"
	"errors"

	"github.com/wssecure/wssecure/internal/token"
)

// Introspection verifies tokens of any form by asking the authorization server
// about each (RFC 7662): with a POST to endpoint, an https URL, as the client
// clientID with clientSecret by HTTP Basic. The answer must name audience in aud,
// and sub or else client_id. Its iss is the issuer, else endpoint is.
//
// An active token is not asked about again for a minute, or until its exp; one
// that is refused, for ten seconds. At most 32 requests of handshakes are under
// way, and of one address (IPv6 by /48) no more than leave as many places to
// others; what comes beyond gets 503, as does everybody whose token the server
// does not decide about. While a session is open its token is kept in memory and asked
// about every five minutes, in 32 requests that handshakes cannot take: the
// session ends with 3000 when it is no longer active, with 3003 when it lacks what
// the route requires, and with 1011 when the server has not answered for 15
// minutes.
func Introspection(endpoint, clientID, clientSecret, audience string, opts ...TokenOption) Verifier {
	v := newTokenVerifier("Introspection", endpoint, audience, opts)
	v.opaque = true
	v.trusts([]byte(clientID)) // its secret may change while tickets are under way
	v.again = &recheckRule{every: defaultIntrospectEvery, who: byContent, ask: askAgain}
	v.build(func(r token.Rules) (judge, error) {
		return token.NewIntrospector(endpoint, clientID, clientSecret, v.settings.client, r, v.wrapAnswer)
	})
	return v
}

// introspected is how an identity is asked about again. The token hides in the
// function, where nothing that prints an Identity finds it.
type introspected struct {
	rule *recheckRule
	ask  func(context.Context) (*Identity, error)
}

func (v *tokenVerifier) wrapAnswer(c *token.Claims, again func(context.Context) (*Identity, error)) *Identity {
	id := v.wrap(c)
	id.introspected = &introspected{v.again, again}
	return id
}

// byContent is one token as it speaks of one person.
func byContent(id *Identity) string { return id.content + id.prepared().subject.ID }

// askAgain asks the server about the token of id, whatever is cached.
func askAgain(ctx context.Context, _ *core, id *Identity) (*Identity, error) {
	next, err := id.introspected.ask(ctx)
	var fault *token.Error
	switch {
	case err == nil:
		return next, nil
	case errors.Is(err, token.ErrInactive):
		return nil, &Rejection{Reason: ReasonRevoked, Err: err}
	case errors.As(err, &fault) && fault.Fault != token.Unavailable:
		return nil, tokenRejection(err)
	}
	return nil, err
}
