package wssecure_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
)

// L-06: a header that anybody can send is no way around a ban. Where it may be
// the operator's own CDN, the event says so.
func TestBanOfAForwarderSaysSo(t *testing.T) {
	const cdn = "198.51.100.4"
	through := func(name string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = []string{"203.0.113.77"} }
	}
	for _, row := range []struct {
		name    string
		header  string
		options []wssecure.Option
		hint    bool
	}{
		{"L-04 no header", "X-Other", nil, false},
		{"L-06 X-Forwarded-For", "X-Forwarded-For", nil, true},
		{"L-06 CF-Connecting-IP", "Cf-Connecting-Ip", nil, true},
		{"L-32 of TrustProxies", "X-Forwarded-For", []wssecure.Option{wssecure.TrustProxies("X-Forwarded-For", cdn+"/32")}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := newTokenGate(t, quiet, row.options...)
			for range 21 {
				wantAnswer(t, g.knock(cdn, bearer(g.forged()), through(row.header)), 401, wssecure.ReasonTokenInvalid)
			}
			wantAnswer(t, g.knock(cdn, bearer(g.forged()), through(row.header)), 403, wssecure.ReasonBanned)
			g.await(wssecure.EventBanned, 1)
			if e := g.seen(wssecure.EventBanned)[0]; strings.HasPrefix(e.Hint, "banned-forwarder") != row.hint {
				t.Errorf("hint %q", e.Hint)
			}
		})
	}
}
