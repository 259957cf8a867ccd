package wssecure_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestOriginConfiguration wants a nil guard and every line of want in its error.
func TestOriginConfiguration(t *testing.T) {
	anonymous := wssecure.InsecureAllowAnonymous(why)
	set, err := wssecure.NewOriginSet(wssecuretest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		opts []wssecure.Option
		want []string
	}{
		{"O-36 none", opts(wssecure.AllowOrigins()), []string{"AllowOrigins: the list is empty; name an origin, or leave the option out for same-origin"}},
		{"O-36 each", opts(wssecure.AllowOrigins(badOrigins...)), []string{
			`AllowOrigins: "" is empty; write "https://app.example.com"`,
			`AllowOrigins: "*" matches every site; list the origins, or use InsecureAllowAnyOrigin`,
			`AllowOrigins: "https://*" matches every site; list the origins, or use InsecureAllowAnyOrigin`,
			`AllowOrigins: "https://*.com" has fewer than two labels after the star; write "https://*.example.com"`,
			`AllowOrigins: "https://*x.com" has a star that is no whole first label; write "https://*.x.com"`,
			`AllowOrigins: "https://a.*.com" has a star that is no whole first label; list each name, or write a whole label, as "https://*.example.com"`,
			`AllowOrigins: "*.x.com" has no scheme; write "https://*.x.com"`,
			`AllowOrigins: "https://x/" has a path; write "https://x"`,
			`AllowOrigins: "null" is shared by sandboxed pages; use InsecureAllowNullOrigin`,
			`AllowOrigins: "wss://x" has a scheme no page has; write "https://x"`,
			`AllowOrigins: "https://münchen.de" is not ASCII; write its xn-- form`,
		}},
		{"O-36 twice", opts(wssecure.AllowOrigins("https://a.example", "https://a.example:443")), []string{
			`AllowOrigins: "https://a.example:443" repeats "https://a.example"; remove one`}},
		{"O-36 the option twice", opts(wssecure.AllowOrigins("https://a.example"), wssecure.AllowOrigins("https://b.example")), []string{"AllowOrigins: is given twice; keep one"}},
		{"O-35 file", opts(wssecure.AllowOrigins("file://")), []string{`AllowOrigins: "file://" has a scheme whose pages send "null"; write "https://app.example.com"`}},
		{"O-44 nil", opts(wssecure.AllowOriginSet(nil)), []string{"AllowOriginSet: the set is nil; pass NewOriginSet(...)"}},
		{"O-44 the zero value", opts(wssecure.AllowOriginSet(&wssecure.OriginSet{})), []string{"AllowOriginSet: the set is nil; pass NewOriginSet(...)"}},
		{"O-44 twice", opts(wssecure.AllowOriginSet(set), wssecure.AllowOriginSet(set)), []string{"AllowOriginSet: is given twice; keep one"}},
		{"O-44 beside AllowOrigins", opts(wssecure.AllowOrigins("https://a.example"), wssecure.AllowOriginSet(set)), []string{"AllowOriginSet: AllowOrigins is given too; put its origins into the set"}},
		{"O-44 before AllowOrigins", opts(wssecure.AllowOriginSet(set), wssecure.AllowOrigins("https://a.example")), []string{"AllowOriginSet: AllowOrigins is given too; put its origins into the set"}},
		{"O-42 and RequireOrigin", opts(wssecure.RequireOrigin(), wssecure.InsecureAllowMissingOrigin(why)), []string{"RequireOrigin: InsecureAllowMissingOrigin asks for the opposite; remove one"}},
		{"H-41 none", opts(wssecure.AllowHosts()), []string{`AllowHosts: the list is empty; name the hosts you serve, as "ws.example.com"`}},
		{"H-41 scheme", opts(wssecure.AllowHosts("https://ws.example.com")), []string{`AllowHosts: "https://ws.example.com" has a scheme; write "ws.example.com"`}},
		{"H-41 path", opts(wssecure.AllowHosts("ws.example.com/ws")), []string{`AllowHosts: "ws.example.com/ws" has a path`}},
		{"H-41 U-label", opts(wssecure.AllowHosts("münchen.de")), []string{`AllowHosts: "münchen.de" is not ASCII; write its xn-- form`}},
		{"H-41 star", opts(wssecure.AllowHosts("*")), []string{`AllowHosts: "*" `}},
		{"H-41 star and one label", opts(wssecure.AllowHosts("*.com")), []string{`AllowHosts: "*.com" `}},
		{"H-41 empty", opts(wssecure.AllowHosts("")), []string{`AllowHosts: "" is empty`}},
		{"H-43 TrustProxies", opts(wssecure.TrustProxies("X-Forwarded-For", "private")), []string{
			"AllowHosts: missing, and same-origin with TrustProxies is open to DNS rebinding; add AllowHosts, SetPublicURL or AllowOrigins"}},
		{"H-43 InsecureAllowPlaintext", opts(wssecure.InsecureAllowPlaintext(why)), []string{
			"AllowHosts: missing, and same-origin with InsecureAllowPlaintext is open to DNS rebinding; add AllowHosts, SetPublicURL or AllowOrigins"}},
		{"all at once", opts(wssecure.AllowOrigins(), wssecure.AllowHosts()), []string{"AllowOrigins: ", "AllowHosts: "}},
	} {
		t.Run(tc.name, func(t *testing.T) { wantConfigError(t, append(tc.opts, anonymous), tc.want) })
	}
	for _, more := range [][]wssecure.Option{
		opts(wssecure.AllowHosts("ws.example.com")),
		opts(wssecure.SetPublicURL("https://ws.example.com")),
		opts(wssecure.AllowOrigins("https://app.example.com")),
	} {
		if _, err := wssecure.New(append(more, anonymous, wssecure.TrustProxies("X-Forwarded-For", "private"), wssecure.InsecureAllowPlaintext(why))...); err != nil {
			t.Errorf("H-43: %v", err)
		}
	}
}

var badOrigins = []string{"", "*", "https://*", "https://*.com", "https://*x.com", "https://a.*.com", "*.x.com", "https://x/", "null", "wss://x", "https://münchen.de"}

func opts(o ...wssecure.Option) []wssecure.Option { return slices.Clip(o) }

func wantConfigError(t *testing.T, opts []wssecure.Option, want []string) {
	t.Helper()
	g, err := wssecure.New(opts...)
	if g != nil || err == nil {
		t.Fatalf("New = %v, %v; want a nil guard and an error", g, err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d errors, want %d:\n%v", len(lines), len(want), err)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("got  %s\nwant %s", lines[i], want[i])
		}
	}
}
