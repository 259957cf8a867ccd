package wssecure_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
)

// forwarders are headers by which some proxy somewhere names its client.
var forwarders = []string{
	"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "True-Client-Ip", "X-Client-Ip",
	"X-Cluster-Client-Ip", "Fastly-Client-Ip", "Fly-Client-Ip", "X-Original-Forwarded-For", "X-Envoy-External-Address",
	"X-Azure-Clientip", "X-Appengine-User-Ip", "Do-Connecting-Ip", "Cloudfront-Viewer-Address", "Client-Ip", "X-Forwarded",
	"Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "Via", "Remote-Addr", "X-Remote-Addr",
}

// naming is what a header says to name a client.
func naming(header, client string) string {
	if header == "Forwarded" {
		return `for="` + client + `";proto=https`
	}
	return client
}

// TestForgedForwarding is L-06 and L-32: whatever a client writes, the handshake
// is its own. What is counted, what checks see and what events tell agree.
func TestForgedForwarding(t *testing.T) {
	const forged, proxy = "198.51.100.1", "10.0.0.1"
	for _, row := range []struct {
		name    string
		options []wssecure.Option
		peer    string
		honest  string // header that a trusted peer sets, beside the forged one
		client  string
	}{
		{name: "L-06 without TrustProxies", peer: attacker, client: attacker},
		{name: "L-06 without TrustProxies, a private peer", peer: proxy, client: proxy},
		{name: "L-06 a peer outside TrustProxies", peer: attacker, client: attacker,
			options: []wssecure.Option{wssecure.TrustProxies("X-Forwarded-For", "10.0.0.1/32")}},
		{name: "L-06 a private peer outside TrustProxies", peer: "10.0.0.2", client: "10.0.0.2",
			options: []wssecure.Option{wssecure.TrustProxies("X-Forwarded-For", "10.0.0.1/32")}},
		{name: "L-32 a trusted peer, another header", peer: proxy, honest: "X-Proxied-For", client: attacker,
			options: []wssecure.Option{wssecure.TrustProxies("X-Proxied-For", "private")}},
		{name: "L-35 a trusted peer without its header", peer: proxy, client: proxy,
			options: []wssecure.Option{wssecure.TrustProxies("X-Proxied-For", "private")}},
	} {
		for _, header := range forwarders {
			t.Run(row.name+", "+header, func(t *testing.T) {
				var seen string
				g := newGate(t, quiet, append(row.options, wssecure.RequireCheck("seen", checkSeen(&seen)))...)
				forge := func(r *http.Request) {
					r.Header[header] = []string{naming(header, forged), naming(header, forged)}
					if row.honest != "" {
						r.Header[row.honest] = []string{row.client}
					}
				}
				wantAnswer(t, g.knock(row.peer, forge), 101, "")
				g.await(wssecure.EventOpened, 1)
				if e := g.seen(wssecure.EventOpened)[0]; e.ClientIP.String() != row.client || e.PeerIP.String() != row.peer || seen != row.client {
					t.Errorf("the event has %s by %s, the check %s; want %s by %s", e.ClientIP, e.PeerIP, seen, row.client, row.peer)
				}
			})
		}
	}
}

// TestForgedEntries is L-33 to L-35 through a whole handshake: an attacker
// behind a trusted proxy that appends writes what it likes to the left.
func TestForgedEntries(t *testing.T) {
	const proxy = "10.0.0.1"
	long := strings.Repeat("10.0.0.9, ", 60)
	for _, row := range []struct {
		name, header string
		lines        []string
		client       string
	}{
		{"L-32 an address to the left", "X-Forwarded-For", []string{"198.51.100.1, " + attacker}, attacker},
		{"L-32 a line before", "X-Forwarded-For", []string{"198.51.100.1", attacker}, attacker},
		{"L-32 a proxy's address to the left", "X-Forwarded-For", []string{"10.0.0.1, " + attacker + ", 10.0.0.7"}, attacker},
		{"L-33 with port", "X-Forwarded-For", []string{attacker + ":80"}, attacker},
		{"L-33 IPv6 with zone", "X-Forwarded-For", []string{"2001:db8::9%eth0"}, "2001:db8::9"},
		{"L-33 unspecified", "X-Forwarded-For", []string{attacker + ", 0.0.0.0"}, proxy},
		{"L-35 a list where one address belongs", "X-Real-Ip", []string{"198.51.100.1, " + attacker}, proxy},
		{"L-34 quoted", "Forwarded", []string{`for="[2001:db8::9]:80";by=x`}, "2001:db8::9"},
		{"L-34 unknown", "Forwarded", []string{"for=" + attacker + ", for=unknown"}, proxy},
		{"L-34 obfuscated", "Forwarded", []string{"for=_hidden"}, proxy},
		{"L-34 for twice", "Forwarded", []string{"for=" + attacker + ";for=198.51.100.1"}, proxy},
		{"L-34 unquoted IPv6", "Forwarded", []string{"for=[2001:db8::9]"}, proxy},
		{"L-34 a quote to swallow the rest", "Forwarded", []string{`for="198.51.100.1`, "for=" + attacker}, attacker},
		{"L-35 garbage to the right", "X-Forwarded-For", []string{attacker + ", <script>"}, proxy},
		{"L-35 all trusted", "X-Forwarded-For", []string{"10.0.0.9, 10.0.0.8"}, proxy},
		{"L-35 empty", "X-Forwarded-For", []string{""}, proxy},
		{"L-35 none untrusted in the last 50", "X-Forwarded-For", []string{attacker + ", " + long + "10.0.0.9"}, proxy},
	} {
		t.Run(row.name, func(t *testing.T) {
			var seen string
			g := newGate(t, quiet, wssecure.TrustProxies(row.header, "private"), wssecure.RequireCheck("seen", checkSeen(&seen)))
			wantAnswer(t, g.knock(proxy, func(r *http.Request) { r.Header[row.header] = row.lines }), 101, "")
			if seen != row.client {
				t.Errorf("the client is %s, want %s", seen, row.client)
			}
			if strings.Contains(fmt.Sprint(g.all()), "<script>") {
				t.Error("an event repeats the header")
			}
		})
	}
}

func checkSeen(client *string) wssecure.Check {
	return func(_ context.Context, h *wssecure.Handshake) error {
		*client = h.ClientIP.String()
		return nil
	}
}
