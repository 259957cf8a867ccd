package clientip_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/wssecure/wssecure/internal/clientip"
)

func TestPeer(t *testing.T) {
	for _, tc := range []struct{ remote, want string }{
		{"192.0.2.1:1234", "192.0.2.1"},
		{"[2001:db8::1]:1234", "2001:db8::1"},
		{"[::ffff:192.0.2.1]:1234", "192.0.2.1"},
		{"[fe80::1%eth0]:1234", "fe80::1"},
		{"192.0.2.1", "192.0.2.1"}, // as middleware leaves it
		{"2001:db8::1", "2001:db8::1"},
		{"", ""},
		{"@", ""},
		{"/run/app.sock", ""},
		{"pipe", ""},
		{":1234", ""},
		{"localhost:1234", ""},
		{"192.0.2.1:1234:1", ""},
	} {
		a, ok := clientip.Peer(tc.remote)
		if ok != (tc.want != "") || ok && a.String() != tc.want || !ok && a.IsValid() {
			t.Errorf("L-36 Peer(%q) = %v, %t; want %q", tc.remote, a, ok, tc.want)
		}
	}
}

func TestBucket(t *testing.T) {
	for _, tc := range []struct{ addr, bucket, wide string }{
		{"192.0.2.1", "192.0.2.1/32", ""},
		{"::ffff:192.0.2.1", "192.0.2.1/32", ""},
		{"64:ff9b::192.0.2.1", "192.0.2.1/32", ""},
		{"64:ff9b:1::192.0.2.1", "64:ff9b:1::/64", "64:ff9b:1::/48"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"},
		{"2001:db8:1:2:ffff::", "2001:db8:1:2::/64", "2001:db8:1::/48"},
		{"fe80::1%eth0", "fe80::/64", "fe80::/48"},
		{"::1", "::1/128", ""},
		{"127.0.0.1", "127.0.0.1/32", ""},
	} {
		a := netip.MustParseAddr(tc.addr)
		if got := clientip.Bucket(a).String(); got != tc.bucket {
			t.Errorf("L-05 Bucket(%s) = %s, want %s", tc.addr, got, tc.bucket)
		}
		p, ok := clientip.Wide(a)
		if ok != (tc.wide != "") || ok && p.String() != tc.wide || !ok && p.IsValid() {
			t.Errorf("L-05 Wide(%s) = %v, %t; want %q", tc.addr, p, ok, tc.wide)
		}
	}
	if clientip.Bucket(netip.Addr{}).IsValid() {
		t.Error("no address has a bucket")
	}
	if _, ok := clientip.Wide(netip.Addr{}); ok {
		t.Error("no address has a /48")
	}
}

// The word and the question must mean the same ranges, edge for edge.
func TestPrivate(t *testing.T) {
	word, errs := clientip.NewNetworks("private")
	if errs != nil {
		t.Fatal(errs)
	}
	for _, tc := range []struct {
		addr string
		want bool
	}{
		{"10.0.0.0", true}, {"10.255.255.255", true}, {"9.255.255.255", false}, {"11.0.0.0", false},
		{"172.16.0.0", true}, {"172.31.255.255", true}, {"172.15.255.255", false}, {"172.32.0.0", false},
		{"192.168.0.0", true}, {"192.168.255.255", true}, {"192.167.255.255", false}, {"192.169.0.0", false},
		{"100.64.0.0", true}, {"100.127.255.255", true}, {"100.63.255.255", false}, {"100.128.0.0", false},
		{"169.254.0.0", true}, {"169.254.255.255", true}, {"169.253.255.255", false}, {"169.255.0.0", false},
		{"127.0.0.0", true}, {"127.255.255.255", true}, {"126.255.255.255", false}, {"128.0.0.0", false},
		{"::1", true}, {"::2", false}, {"::", false}, {"0.0.0.0", false},
		{"fc00::", true}, {"fdff:ffff::1", true}, {"fbff::1", false}, {"fe00::1", false},
		{"fe80::1", true}, {"fe80::1%eth0", true}, {"febf:ffff::1", true}, {"fe7f::1", false}, {"fec0::1", false},
		{"::ffff:10.0.0.1", true}, {"::ffff:192.0.2.1", false}, {"2001:db8::1", false},
	} {
		a := netip.MustParseAddr(tc.addr)
		if got := clientip.IsPrivate(a); got != tc.want {
			t.Errorf("T-30 IsPrivate(%s) = %t", tc.addr, got)
		}
		if got := word.Contains(a); got != tc.want {
			t.Errorf(`T-30 "private" contains %s: %t`, tc.addr, got)
		}
	}
	if clientip.IsPrivate(netip.Addr{}) {
		t.Error("no address is private")
	}
}

func TestHasForwarding(t *testing.T) {
	for _, name := range []string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Anything", "X-Real-IP",
		"Via", "CF-Connecting-IP", "True-Client-IP", "Fastly-Client-IP", "X-Client-IP", "X-Cluster-Client-IP",
		"X-Original-Forwarded-For", "Client-IP", "CDN-Loop", "x-envoy-external-address", "X-Azure-ClientIP",
	} {
		if !clientip.HasForwarding(headers(name, "")) {
			t.Errorf("T-28 %s is not seen", name)
		}
	}
	plain := http.Header{"Host": nil, "Origin": nil, "Upgrade": nil, "X-Requested-With": nil, "Sec-Websocket-Key": nil}
	if clientip.HasForwarding(plain) || clientip.HasForwarding(nil) {
		t.Error("T-28: seen where there is none")
	}
}
