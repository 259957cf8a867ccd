package wssecuretest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/attack"
)

// AttackOptions is what [Attack] may use. The zero value attacks as a stranger does; each field that is set lets more
// attacks be tried, and those that lack something are named in the test's output.
type AttackOptions struct {
	TLS  *tls.Config // to reach wss, with a client certificate where the server wants one; nil verifies by the system's roots
	Addr string      // host:port to connect to; empty means the URL's
	Host string      // the Host line and the name for TLS; empty means the URL's

	Origin       string        // one that the server admits; empty means the URL's own host
	Subprotocols []string      // that a client of the server offers
	Header       http.Header   // that a client of the server sends beside
	Token        func() string // good tokens, one a call; may be the same. Nil: the server asks for none
	From         TokenPlace    // where the token goes; the zero value is the Authorization header

	// Sign signs a JWT of exactly this header and payload with the key that the server trusts: for tokens that are
	// signed well and wrong otherwise. Issuer.SignRaw is one.
	Sign func(header, payload []byte) (string, error)
	// PublicKeys are the server's public keys as an attacker finds them, PEM or JWK: each is tried as an HMAC secret.
	PublicKeys [][]byte
	// Ticket issues a single-use ticket for pages of origin; it goes into the query parameter "ticket".
	Ticket func(ctx context.Context, origin string) (string, error)
	// Revoke ends what was opened with token, and refuses it from then on.
	Revoke func(ctx context.Context, token string) error
	// Log returns all that the server has logged so far.
	Log func() string

	// Patience is how long the server may wait for a peer that stalls inside headers or a message, or for a token in the
	// first message. Zero means 12 seconds, and no look at messages, pongs and writes.
	Patience time.Duration
	Passive  bool     // no frames, bursts or held connections
	Skip     []string // IDs of attacks to leave out
}

// A TokenPlace is a part of the handshake that carries the token.
type TokenPlace struct{ place attack.Place }

// FromSubprotocol puts the token behind a marker into the offered subprotocols.
func FromSubprotocol(marker string) TokenPlace {
	return TokenPlace{attack.Place{Kind: attack.InSubprotocol, Name: marker}}
}

// FromCookie puts the token into a cookie.
func FromCookie(name string) TokenPlace {
	return TokenPlace{attack.Place{Kind: attack.InCookie, Name: name}}
}

// FromQuery puts the token into a query parameter.
func FromQuery(name string) TokenPlace {
	return TokenPlace{attack.Place{Kind: attack.InQuery, Name: name}}
}

// Attack attacks the WebSocket endpoint at url, whatever serves it: foreign and malformed origins, hostile handshakes,
// forged tokens, bad frames, floods. The url begins with ws:// or wss://; the http:// or https:// of httptest will do.
// Each attack is a subtest named group/id; one that works fails it and says what was sent, what came back, why it matters
// and what closes it.
//
//	wssecuretest.Attack(t, s.URL, s.AttackOptions())
//
// An honest handshake comes first. When it is refused although options name a token, the test ends; without a token the
// attacks compare refusals as well as they can. What could not be tried is named in one line of the log (go test -v), with
// what it needs. All of it takes some twenty seconds, and the server must be the test's own: it is flooded.
func Attack(t *testing.T, url string, options AttackOptions) {
	t.Helper()
	target := options.target(url)
	if err := target.Prepare(t.Context()); err != nil {
		t.Fatalf("wssecuretest: %v", err)
	}
	switch ok, got := target.Admitted(); {
	case !ok && options.Token != nil:
		t.Fatalf("wssecuretest: the honest handshake is refused, with Origin %s and a token of AttackOptions.Token: %s", target.Origin, got)
	case !ok:
		t.Logf("the honest handshake, with Origin %s and no token, is refused, so that refusals are all that can be compared: %s", target.Origin, got)
	}
	for _, id := range options.Skip {
		if _, ok := attack.Find(id); !ok {
			t.Errorf("wssecuretest: Skip: no attack is called %q", id)
		}
	}
	results := &tally{skip: options.Skip}
	for _, group := range attack.Groups {
		t.Run(group, func(t *testing.T) {
			for _, a := range attack.All() {
				if a.Group == group {
					t.Run(a.ID, func(t *testing.T) { results.try(t, a, target) })
				}
			}
		})
	}
	t.Log(results)
}

func (o AttackOptions) target(url string) *attack.Target {
	target := &attack.Target{
		URL: url, Addr: o.Addr, TLS: o.TLS, Host: o.Host, Origin: o.Origin,
		Token: o.Token, Place: o.From.place, Subprotocols: o.Subprotocols,
		Sign: o.Sign, PublicKeys: o.PublicKeys, Ticket: o.Ticket, Revoke: o.Revoke, Log: o.Log,
		Active: !o.Passive, Patience: o.Patience, Slack: 3 * time.Second, // machines that test are busy
	}
	for name, values := range o.Header {
		for _, v := range values {
			target.Lines = append(target.Lines, name+": "+v)
		}
	}
	slices.Sort(target.Lines)
	return target
}

// AttackOptions are those for [Attack] on this server: its address, certificate and, where it has an Issuer, tokens of it
// and how to revoke them.
func (s *Server) AttackOptions() AttackOptions {
	o := AttackOptions{
		TLS:    &tls.Config{RootCAs: s.CertPool},
		Host:   Host,
		Origin: Origin,
		Log:    s.eventText,
	}
	if s.Issuer == nil {
		return o
	}
	const alg = "ES256"
	o.Token = func() string { return s.Issuer.Token("alice") }
	o.Sign = func(header, payload []byte) (string, error) { return s.Issuer.SignRaw(header, payload, alg), nil }
	o.PublicKeys = s.Issuer.published()
	o.Revoke = func(ctx context.Context, token string) error {
		_, err := s.Guard.Revoke(ctx, wssecure.TokenID(s.Issuer.URL, tokenID(token)), "attack")
		return err
	}
	return o
}

// eventText is every event with all its fields.
func (s *Server) eventText() string {
	var b strings.Builder
	for _, e := range s.Events() {
		fmt.Fprintf(&b, "%+v\n", e)
	}
	return b.String()
}

// published is each public key in the forms in which it lies about: PEM, DER and JWK.
func (i *Issuer) published() [][]byte {
	var forms [][]byte
	for _, fam := range families {
		i.mu.Lock()
		key := i.keys[fam]
		i.mu.Unlock()
		der := must(x509.MarshalPKIXPublicKey(key.private.Public()))
		forms = append(forms, der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), encode(key.public()))
	}
	return append(forms, i.JWKS())
}

// tokenID is the jti of one of the issuer's tokens.
func tokenID(token string) string {
	var claims struct{ JTI string }
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.JTI
}
