package benchmarks

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"time"

	jwtmiddleware "github.com/auth0/go-jwt-middleware/v2"
	"github.com/auth0/go-jwt-middleware/v2/validator"
	"github.com/go-chi/httprate"
	"github.com/unrolled/secure"
	jose "gopkg.in/go-jose/go-jose.v2"

	"github.com/wssecure/wssecure/wssecuretest"
)

// composed is what a careful program puts together from well-known libraries,
// each used as its documentation shows: five headers, a rate by address, the
// origin by hand, a token, and then coder/websocket. The keys are at hand.
func composed(tb testing.TB, issuer *wssecuretest.Issuer, perHour int) http.Handler {
	tb.Helper()
	keys := &jose.JSONWebKeySet{}
	if err := json.Unmarshal(issuer.JWKS(), keys); err != nil {
		tb.Fatal(err)
	}
	v, err := validator.New(func(context.Context) (any, error) { return keys, nil }, validator.RS256, issuer.URL, []string{wssecuretest.Audience})
	if err != nil {
		tb.Fatal(err)
	}
	headers := secure.New(secure.Options{
		STSSeconds: 31_536_000, FrameDeny: true, ContentTypeNosniff: true,
		ContentSecurityPolicy: "default-src 'self'", ReferrerPolicy: "no-referrer",
	})
	socket := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := acceptCoder(w, r); err == nil {
			_ = s.close()
		}
	})
	checked := originByHand("https://app.example.com", jwtmiddleware.New(v.ValidateToken).CheckJWT(socket))
	return headers.Handler(httprate.LimitBy(perHour, time.Hour, byPeer)(checked))
}

// byPeer is the address of the connection, as the limiter's users without a proxy take it.
func byPeer(r *http.Request) (string, error) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return host, err
}

func originByHand(want string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != want {
			http.Error(w, "origin not allowed", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
