package wssecure_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// heldAnswers is a way to an authorization server that answers when release is
// closed.
type heldAnswers struct {
	http.RoundTripper
	asked   atomic.Int64
	release chan struct{}
}

func (h *heldAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	h.asked.Add(1)
	select {
	case <-h.release:
		return h.RoundTripper.RoundTrip(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// one network with many invented tokens leaves places at a slow
// authorization server to everybody else.
func TestOneNetworkLeavesPlacesAtTheAuthorizationServer(t *testing.T) {
	mine := wssecure.VerifierFunc(func(context.Context, string) (*wssecure.Identity, error) { return nil, wssecure.ReasonTokenInvalid })
	for _, row := range []struct {
		name   string
		around func(wssecure.Verifier) wssecure.Verifier
		from   func(i int) string
	}{
		{"A-42 alone", func(v wssecure.Verifier) wssecure.Verifier { return v }, func(int) string { return attacker }},
		{"A-42 a /48", func(v wssecure.Verifier) wssecure.Verifier { return v }, func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i) }},
		{"A-42 in AnyOf", func(v wssecure.Verifier) wssecure.Verifier { return wssecure.AnyOf(v) }, func(int) string { return attacker }},
		{"A-42 in AnyOf with the application's", func(v wssecure.Verifier) wssecure.Verifier { return wssecure.AnyOf(mine, v) }, func(int) string { return attacker }},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := wssecuretest.NewIssuer(t, "")
				way := &heldAnswers{RoundTripper: &network{handler: issuer.Handler()}, release: make(chan struct{})}
				g := &gate{t: t, issuer: issuer}
				g.start(stay, []wssecure.Option{wssecure.RequireToken(row.around(
					wssecure.Introspection(issuer.URL+wssecuretest.IntrospectionPath, wssecuretest.ClientID, wssecuretest.ClientSecret,
						wssecuretest.Audience, wssecure.HTTPClient(&http.Client{Transport: way}))))})
				var all sync.WaitGroup
				for i := range 200 {
					all.Go(func() { g.knock(row.from(i), bearer(fmt.Sprint("invented", i))) })
				}
				synctest.Wait()
				if n := way.asked.Load(); n != 16 {
					t.Errorf("%d of the invented tokens are asked about, want 16", n)
				}
				honest := make(chan answer, 1)
				token := issuer.Opaque("alice", lasting())
				go func() { honest <- g.knock("198.51.100.7", bearer(token)) }()
				synctest.Wait()
				close(way.release)
				wantAnswer(t, <-honest, 101, "")
				all.Wait()
			})
		})
	}
}
