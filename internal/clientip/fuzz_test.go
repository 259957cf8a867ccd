package clientip_test

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/wssecure/wssecure/internal/clientip"
)

// Whatever a header holds, the client is the peer, or an address that stands
// in the header and is no proxy.
func FuzzClient(f *testing.F) {
	for _, r := range rows(f) {
		f.Add(r.header, r.peer.String(), strings.Join(r.lines, "\n"))
	}
	f.Fuzz(func(t *testing.T, header, remote, text string) {
		p, errs := clientip.NewProxies(header, "10.0.0.0/8", "2001:db8:ffff::/48")
		if errs != nil {
			return
		}
		peer, ok := clientip.Peer(remote)
		if !ok {
			return
		}
		lines := strings.Split(text, "\n")
		got := p.Client(peer, headers(header, lines...))
		if got == peer {
			return
		}
		if !p.Trusts(peer) || p.Trusts(got) {
			t.Fatalf("Client of %q from %v = %v", lines, peer, got)
		}
		if !got.IsValid() || got.IsUnspecified() || got.Is4In6() || got.Zone() != "" {
			t.Fatalf("Client of %q = %v is not canonical", lines, got)
		}
		if !mentions(text, got) {
			t.Fatalf("Client of %q = %v, which is not there", lines, got)
		}
		p.Secure(peer, headers(header, lines...))
	})
}

var notAddress = regexp.MustCompile(`[^0-9A-Fa-f:.]+`)

// mentions looks for a among all that could be an address in text, with and
// without what could be a port.
func mentions(text string, a netip.Addr) bool {
	text = strings.ReplaceAll(text, `\`, "")
	for _, word := range notAddress.Split(text, -1) {
		bare, _, _ := strings.Cut(word, ":")
		for _, w := range []string{word, bare, strings.TrimSuffix(word, ":")} {
			if b, err := netip.ParseAddr(w); err == nil && b.Unmap() == a {
				return true
			}
		}
	}
	return false
}

// The second reader of Forwarded: the grammar of RFC 7239 as patterns, applied
// from the left to the whole line.
const (
	token    = `[!#$%&'*+\-.^_` + "`" + `|~0-9A-Za-z]+`
	quotedRE = `"(?:[^"\\]|\\[\s\S])*"`
	pairRE   = `(?:(` + token + `)=(` + token + `|` + quotedRE + `))?`
)

var (
	ws        = `[ \t]*`
	elementRE = ws + `(?:` + pairRE + ws + `(?:;` + ws + pairRE + ws + `)*)`
	lineRE    = regexp.MustCompile(`^` + elementRE + `(?:,` + elementRE + `)*$`)
	nextRE    = regexp.MustCompile(`^` + elementRE)
	eachPair  = regexp.MustCompile(`(` + token + `)=(` + token + `|` + quotedRE + `)`)
	pairBack  = regexp.MustCompile(`\\([\s\S])`)
	nodeRE    = regexp.MustCompile(`^(?:([0-9.]+)|\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(?:%[0-9A-Za-z\-._~%]+)?\])(?::([0-9]{1,5}|_[0-9A-Za-z._\-]+))?$`)
)

// naiveNode is the address in for= of one element.
func naiveNode(element string) (a netip.Addr, ok bool) {
	seen := map[string]int{}
	for _, m := range eachPair.FindAllStringSubmatch(element, -1) {
		name, value := strings.ToLower(m[1]), m[2]
		seen[name]++
		if name != "for" {
			continue
		}
		if strings.HasPrefix(value, `"`) {
			value = pairBack.ReplaceAllString(value[1:len(value)-1], "$1")
		}
		n := nodeRE.FindStringSubmatch(value)
		if n == nil || len(value) > 64 {
			return a, false
		}
		if port, err := strconv.Atoi(n[3]); err == nil && port > 65535 {
			return a, false
		}
		b, err := netip.ParseAddr(n[1] + n[2])
		if err != nil || b.Unmap().IsUnspecified() {
			return a, false
		}
		a = b.Unmap()
	}
	return a, seen["for"] == 1 && seen["proto"] <= 1
}

// naiveClient reads well-formed lines as the specification says it.
func naiveClient(t *testing.T, p *clientip.Proxies, peer netip.Addr, lines []string) (netip.Addr, bool) {
	t.Helper()
	var elements []string
	for _, line := range lines {
		if !lineRE.MatchString(line) {
			return peer, false
		}
		for {
			e := nextRE.FindString(line)
			elements = append(elements, e)
			if line = line[len(e):]; line == "" {
				break
			}
			line = line[1:]
		}
	}
	for hops := 0; len(elements) > 0 && hops < 50; hops++ {
		last := elements[len(elements)-1]
		elements = elements[:len(elements)-1]
		a, ok := naiveNode(last)
		if !ok {
			return peer, true
		}
		if !p.Trusts(a) {
			return a, true
		}
	}
	return peer, true
}

func FuzzForwarded(f *testing.F) {
	for _, r := range rows(f) {
		if r.header == "Forwarded" {
			f.Add(strings.Join(r.lines, "\n"))
		}
	}
	p := newProxies(f, "Forwarded", "10.0.0.0/8")
	peer := netip.MustParseAddr("10.0.0.1")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		got := p.Client(peer, headers("Forwarded", lines...))
		want, wellFormed := naiveClient(t, p, peer, lines)
		if wellFormed && got != want {
			t.Fatalf("Client of %q = %v, want %v", lines, got, want)
		}
		// What the proxy appends decides, whatever stands before it.
		honest := append(lines[:len(lines)-1:len(lines)-1], lines[len(lines)-1]+", for=203.0.113.7;proto=https")
		h := headers("Forwarded", honest...)
		if got := p.Client(peer, h); got.String() != "203.0.113.7" || !p.Secure(peer, h) {
			t.Fatalf("Client of %q = %v, secure %t", honest, got, p.Secure(peer, h))
		}
	})
}

// Peer has a quick way for what most peers have; it must read as netip does.
func FuzzPeer(f *testing.F) {
	for _, s := range []string{
		"192.0.2.1:50123", "0.0.0.0:0", "255.255.255.255:65535", "256.0.0.1:1", "260.0.0.1:1", "999.0.0.1:1", "192.0.2.1:65536", "192.0.2.1:00080",
		"192.0.2.1:000080", "192.0.2.1:", "192.0.2.1:+1", "192.0.2.01:1", "192.0.2.00:1", "192.0.2:1", "192.0.2.1.1:1", ".0.2.1:1", "192..2.1:1",
		"192.0.2.1", "192.0.2.1:1:1", "[192.0.2.1]:1", "[::ffff:192.0.2.1]:1", "[2001:db8::1]:1", "1.2.3.4 :1", "1.2.3.4:1 ", ":1", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want netip.Addr
		if ap, err := netip.ParseAddrPort(s); err == nil {
			want = ap.Addr()
		} else if a, err := netip.ParseAddr(s); err == nil {
			want = a
		}
		want = want.Unmap().WithZone("")
		if got, ok := clientip.Peer(s); got != want || ok != want.IsValid() {
			t.Fatalf("Peer(%q) = %v, %t; netip reads %v", s, got, ok, want)
		}
	})
}
