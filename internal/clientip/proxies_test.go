package clientip_test

import (
	"errors"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/wssecure/wssecure/internal/clientip"
)

// row is one line of testdata/client.txt, which also seeds the fuzz targets.
type row struct {
	id, header string
	trust      []string
	peer, want netip.Addr
	lines      []string
}

func rows(t testing.TB) []row {
	t.Helper()
	text, err := os.ReadFile("testdata/client.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []row
	var trust []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "trust "); ok {
			trust = strings.Fields(rest)
			continue
		}
		addresses, quoted, found := strings.Cut(line, `"`)
		f := strings.Fields(addresses)
		r := row{id: f[0], header: trust[0], trust: trust[1:], peer: netip.MustParseAddr(f[1]), want: netip.MustParseAddr(f[2])}
		for rest := `"` + quoted; found && rest != ""; {
			q, err := strconv.QuotedPrefix(rest)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			value, _ := strconv.Unquote(q)
			r.lines = append(r.lines, value)
			rest = strings.TrimSpace(rest[len(q):])
		}
		all = append(all, r)
	}
	return all
}

func newProxies(t testing.TB, header string, prefixes ...string) *clientip.Proxies {
	t.Helper()
	p, errs := clientip.NewProxies(header, prefixes...)
	if errs != nil {
		t.Fatal(errs)
	}
	return p
}

// headers makes a request's header of one name's lines.
func headers(name string, lines ...string) http.Header {
	h := http.Header{}
	for _, l := range lines {
		h.Add(name, l)
	}
	return h
}

func TestClient(t *testing.T) {
	for _, r := range rows(t) {
		t.Run(r.id+" "+r.header+" "+strings.Join(r.lines, "|"), func(t *testing.T) {
			h := headers(r.header, r.lines...)
			// Another header's word never counts.
			for _, other := range []string{"X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP"} {
				if !strings.EqualFold(other, r.header) {
					h.Set(other, "198.51.100.200")
				}
			}
			if got := newProxies(t, r.header, r.trust...).Client(r.peer, h); got != r.want {
				t.Errorf("Client of %q from %v = %v, want %v", r.lines, r.peer, got, r.want)
			}
		})
	}
}

func TestHops(t *testing.T) {
	peer := netip.MustParseAddr("10.0.0.1")
	client := netip.MustParseAddr("203.0.113.7")
	p := newProxies(t, "X-Forwarded-For", "10.0.0.0/8")
	f := newProxies(t, "Forwarded", "10.0.0.0/8")
	for _, tc := range []struct {
		name    string
		proxies int
		want    netip.Addr
	}{
		{"L-35 client is the 50th entry", 49, client},
		{"L-35 client is the 51st entry", 50, peer},
		{"L-35 1,000 hops", 1000, peer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			oneLine := client.String() + strings.Repeat(", 10.0.0.2", tc.proxies)
			if got := p.Client(peer, headers("X-Forwarded-For", oneLine)); got != tc.want {
				t.Errorf("one line: %v, want %v", got, tc.want)
			}
			if got := p.Client(peer, headers("X-Forwarded-For", strings.Split(oneLine, ", ")...)); got != tc.want {
				t.Errorf("a line each: %v, want %v", got, tc.want)
			}
			elements := "for=" + client.String() + strings.Repeat(", for=10.0.0.2", tc.proxies)
			if got := f.Client(peer, headers("Forwarded", elements)); got != tc.want {
				t.Errorf("Forwarded: %v, want %v", got, tc.want)
			}
		})
	}
	forged := strings.Repeat("198.51.100.1, ", 1000) + client.String()
	if got := p.Client(peer, headers("X-Forwarded-For", forged)); got != client {
		t.Errorf("L-32 1,000 forged entries on the left: %v, want %v", got, client)
	}
}

func TestSecure(t *testing.T) {
	const xfp = "X-Forwarded-Proto"
	for _, tc := range []struct {
		row, header, peer string
		h                 http.Header
		want              bool
	}{
		{"T-22 https", "X-Forwarded-For", "10.0.0.1", headers(xfp, "https"), true},
		{"T-22 wss", "X-Real-IP", "10.0.0.1", headers(xfp, "WSS"), true},
		{"T-22 case", "X-Forwarded-For", "::ffff:10.0.0.1", headers(xfp, "HTTPS"), true},
		{"T-23 untrusted peer", "X-Forwarded-For", "192.0.2.1", headers(xfp, "https"), false},
		{"T-23 http", "X-Forwarded-For", "10.0.0.1", headers(xfp, "http"), false},
		{"T-23 ws", "X-Forwarded-For", "10.0.0.1", headers(xfp, "ws"), false},
		{"T-23 list", "X-Forwarded-For", "10.0.0.1", headers(xfp, "https,http"), false},
		{"T-23 equal list", "X-Forwarded-For", "10.0.0.1", headers(xfp, "https,https"), false},
		{"T-23 two lines", "X-Forwarded-For", "10.0.0.1", headers(xfp, "https", "https"), false},
		{"T-23 absent", "X-Forwarded-For", "10.0.0.1", http.Header{}, false},
		{"T-23 empty", "X-Forwarded-For", "10.0.0.1", headers(xfp, ""), false},
		{"T-23 long s", "X-Forwarded-For", "10.0.0.1", headers(xfp, "http\u017f"), false},
		{"T-23 Forwarded not configured", "X-Forwarded-For", "10.0.0.1", headers("Forwarded", "for=203.0.113.7;proto=https"), false},
		{"T-22 Forwarded", "Forwarded", "10.0.0.1", headers("Forwarded", "for=203.0.113.7;proto=https"), true},
		{"T-22 Forwarded wss", "Forwarded", "10.0.0.1", headers("Forwarded", `for=203.0.113.7;Proto="wss"`), true},
		{"T-22 Forwarded, two proxies", "Forwarded", "10.0.0.1", headers("Forwarded", "for=203.0.113.7;proto=https, for=10.0.0.2;proto=http"), true},
		{"T-22 Forwarded, a client inside", "Forwarded", "10.0.0.1", headers("Forwarded", "for=10.9.9.9;proto=https, for=10.0.0.2;proto=http"), true},
		{"T-22 Forwarded without proto", "Forwarded", "10.0.0.1", join(headers("Forwarded", "for=203.0.113.7"), headers(xfp, "https")), true},
		{"T-23 Forwarded, peer", "Forwarded", "192.0.2.1", headers("Forwarded", "for=203.0.113.7;proto=https"), false},
		{"T-23 Forwarded, forged left", "Forwarded", "10.0.0.1", headers("Forwarded", "for=203.0.113.7;proto=https, for=203.0.113.7;proto=http"), false},
		{"T-23 Forwarded, proxy's own leg", "Forwarded", "10.0.0.1", headers("Forwarded", "for=203.0.113.7;proto=http, for=10.0.0.2;proto=https"), false},
		{"T-23 Forwarded says no", "Forwarded", "10.0.0.1", join(headers("Forwarded", "for=203.0.113.7;proto=http"), headers(xfp, "https")), false},
		{"T-23 Forwarded is garbage", "Forwarded", "10.0.0.1", join(headers("Forwarded", "for=unknown;proto=https"), headers(xfp, "https")), false},
		{"T-23 Forwarded twice", "Forwarded", "10.0.0.1", headers("Forwarded", "for=203.0.113.7;proto=https;proto=https"), false},
		{"T-23 Forwarded without end", "Forwarded", "10.0.0.1", headers("Forwarded", "for=203.0.113.7;proto=https"+strings.Repeat(",for=10.0.0.2;proto=https", 50)), false},
	} {
		t.Run(tc.row, func(t *testing.T) {
			p := newProxies(t, tc.header, "10.0.0.0/8")
			if got := p.Secure(netip.MustParseAddr(tc.peer), tc.h); got != tc.want {
				t.Errorf("Secure = %t, want %t", got, tc.want)
			}
		})
	}
}

func join(a, b http.Header) http.Header {
	for name, lines := range b {
		a[name] = lines
	}
	return a
}

func TestNilProxiesTrustNobody(t *testing.T) {
	var p *clientip.Proxies
	peer := netip.MustParseAddr("10.0.0.1")
	h := join(headers("X-Forwarded-For", "203.0.113.7"), headers("X-Forwarded-Proto", "https"))
	if p.Trusts(peer) || p.Secure(peer, h) || p.Client(peer, h) != peer {
		t.Error("L-06: without TrustProxies the header counts")
	}
	if got := p.Client(netip.MustParseAddr("::ffff:10.0.0.1"), h); got != peer {
		t.Errorf("the peer is not canonical: %v", got)
	}
	if newProxies(t, "X-Forwarded-For", "private").Trusts(netip.Addr{}) {
		t.Error("no address is a proxy")
	}
}

func TestClientAllocations(t *testing.T) {
	peer := netip.MustParseAddr("10.0.0.1")
	for _, tc := range []struct{ header, line string }{
		{"X-Forwarded-For", "198.51.100.1, 203.0.113.7, 10.0.0.2"},
		{"X-Forwarded-For", "2001:db8::7"},
		{"X-Forwarded-For", "unknown"},
		{"X-Real-IP", "203.0.113.7"},
		{"Forwarded", `for=198.51.100.1, for="[2001:db8::7]:80";proto=https, for=10.0.0.2`},
	} {
		p, h := newProxies(t, tc.header, "private"), headers(tc.header, tc.line)
		h.Set("X-Forwarded-Proto", "https")
		if n := testing.AllocsPerRun(100, func() {
			p.Client(peer, h)
			p.Secure(peer, h)
			clientip.HasForwarding(h)
		}); n != 0 {
			t.Errorf("%s: %s: %v allocations", tc.header, tc.line, n)
		}
	}
}

func TestProxiesFaults(t *testing.T) {
	for _, tc := range []struct {
		row, header string
		prefixes    []string
		want        []string
	}{
		{"G-63", "X-Forwarded-For", nil, []string{`no prefix is given; name your proxies' networks, as "10.0.0.0/8" or "private"`}},
		{"G-64", "X-Forwarded-For", []string{"0.0.0.0/0"}, []string{`"0.0.0.0/0" trusts every client; name the networks of your proxies`}},
		{"G-64 IPv6", "X-Forwarded-For", []string{"::/0"}, []string{`"::/0" trusts every client; name the networks of your proxies`}},
		{"G-64 mapped", "X-Forwarded-For", []string{"::ffff:0.0.0.0/96"}, []string{`"::ffff:0.0.0.0/96" trusts every client; name the networks of your proxies`}},
		{"G-64 halves", "X-Forwarded-For", []string{"0.0.0.0/1", "128.0.0.0/1"}, []string{
			`"0.0.0.0/1" is wider than anyone's network; name the networks of your proxies`,
			`"128.0.0.0/1" is wider than anyone's network; name the networks of your proxies`,
		}},
		{"G-64 star", "X-Forwarded-For", []string{"*"}, []string{`"*" trusts every client; name the networks of your proxies`}},
		{"T-30 unknown word", "X-Forwarded-For", []string{"loadbalancer"}, []string{`"loadbalancer" is no IP address or network; write one, as "10.0.0.0/8", "10.0.0.1" or "private"`}},
		{"no header", "", []string{"private"}, []string{`no header is given; name the one your proxies set, as "X-Forwarded-For"`}},
		{"header forgotten", "10.0.0.0/8", []string{"private"}, []string{`"10.0.0.0/8" is a network; put the header your proxies set before it, as "X-Forwarded-For"`}},
		{"header forgotten, address", "10.0.0.1", []string{"private"}, []string{`"10.0.0.1" is a network; put the header your proxies set before it, as "X-Forwarded-For"`}},
		{"header forgotten, all", "private", nil, []string{
			`"private" is a network; put the header your proxies set before it, as "X-Forwarded-For"`,
			`no prefix is given; name your proxies' networks, as "10.0.0.0/8" or "private"`,
		}},
		{"no token", "X Forwarded For", []string{"private"}, []string{`"X Forwarded For" is no header name; write one, as "X-Forwarded-For"`}},
		{"Host", "host", []string{"private"}, []string{`"host" holds no client address; name the header that does, as "X-Forwarded-For"`}},
		{"Cookie", "Cookie", []string{"private"}, []string{`"Cookie" holds no client address; name the header that does, as "X-Forwarded-For"`}},
		{"Authorization", "Authorization", []string{"private"}, []string{`"Authorization" holds no client address; name the header that does, as "X-Forwarded-For"`}},
		{"another word of proxies", "X-Forwarded-Host", []string{"private"}, []string{`"X-Forwarded-Host" holds no client address; name the header that does, as "X-Forwarded-For"`}},
		{"the handshake's own", "Sec-WebSocket-Key", []string{"private"}, []string{`"Sec-WebSocket-Key" holds no client address; name the header that does, as "X-Forwarded-For"`}},
	} {
		t.Run(tc.row, func(t *testing.T) {
			p, errs := clientip.NewProxies(tc.header, tc.prefixes...)
			if p != nil {
				t.Error("proxies with faults are usable")
			}
			sameFaults(t, errs, tc.want)
		})
	}
}

func sameFaults(t *testing.T, got []error, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d faults %v, want %d", len(got), got, len(want))
	}
	for i := range got {
		if got[i].Error() != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
		var f *clientip.Fault
		if !errors.As(got[i], &f) || f.Wrong == "" || f.Fix == "" {
			t.Errorf("%v is no whole *Fault", got[i])
		}
	}
}
