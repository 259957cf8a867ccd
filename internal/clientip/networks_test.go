package clientip_test

import (
	"net/netip"
	"testing"

	"github.com/wssecure/wssecure/internal/clientip"
)

func TestNetworks(t *testing.T) {
	n, errs := clientip.NewNetworks("198.51.100.0/24", "198.51.100.128/25", "192.0.2.1", "2001:db8::/32", "2001:db8:1::/48", "::ffff:203.0.113.0/120")
	if errs != nil {
		t.Fatal(errs)
	}
	for _, tc := range []struct {
		addr string
		want bool
	}{
		{"198.51.100.0", true}, {"198.51.100.7", true}, {"198.51.100.200", true}, {"198.51.100.255", true},
		{"198.51.99.255", false}, {"198.51.101.0", false},
		{"192.0.2.1", true}, {"192.0.2.0", false}, {"192.0.2.2", false}, {"0.0.0.0", false}, {"255.255.255.255", false},
		{"2001:db8::", true}, {"2001:db8:2::1", true}, {"2001:db7::1", false}, {"2001:db9::1", false}, {"::", false},
		{"203.0.113.9", true}, {"::ffff:198.51.100.7", true}, {"2001:db8::1%eth0", true},
	} {
		if got := n.Contains(netip.MustParseAddr(tc.addr)); got != tc.want {
			t.Errorf("L-44 contains %s: %t", tc.addr, got)
		}
	}
	var none *clientip.Networks
	if none.Contains(netip.MustParseAddr("10.0.0.1")) || n.Contains(netip.Addr{}) {
		t.Error("a nil Networks or the zero Addr is contained")
	}
	if got, want := n.String(), "192.0.2.1/32 198.51.100.0/24 203.0.113.0/24 2001:db8::/32"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
}

// A narrow prefix must not stand between an address and the wide one.
func TestNestedNetworks(t *testing.T) {
	for _, list := range [][]string{{"10.1.0.0/16", "10.0.0.0/8"}, {"10.0.0.0/16", "10.0.0.0/8"}, {"10.0.0.0/8", "10.0.0.0"}} {
		n, errs := clientip.NewNetworks(list...)
		if errs != nil || !n.Contains(netip.MustParseAddr("10.2.0.1")) || n.String() != "10.0.0.0/8" {
			t.Errorf("%q: %v, %v", list, n, errs)
		}
	}
}

func TestNetworksFaults(t *testing.T) {
	const fix = `; write one, as "10.0.0.0/8", "10.0.0.1" or "private"`
	for _, tc := range []struct {
		row  string
		list []string
		want []string
	}{
		{"G-73", []string{"0.0.0.0/0"}, []string{`"0.0.0.0/0" exempts every client; name the networks you mean`}},
		{"G-73 none", nil, []string{`no network is given; name one, as "198.51.100.0/24" or "private"`}},
		{"G-73 half", []string{"8000::/1"}, []string{`"8000::/1" is wider than anyone's network; name the networks you mean`}},
		{"G-73 beyond unique-local", []string{"fc00::/6"}, []string{`"fc00::/6" is wider than anyone's network; name the networks you mean`}},
		{"G-73 all of IPv6 in use", []string{"2000::/8"}, []string{`"2000::/8" is wider than anyone's network; name the networks you mean`}},
		{"empty", []string{""}, []string{`"" is empty; name the networks you mean`}},
		{"star", []string{"*"}, []string{`"*" exempts every client; name the networks you mean`}},
		{"unspecified", []string{"0.0.0.0"}, []string{`"0.0.0.0" is nobody's address; name the networks you mean`}},
		{"name", []string{"proxy.example"}, []string{`"proxy.example" is no IP address or network` + fix}},
		{"mask", []string{"10.0.0.0/255.0.0.0"}, []string{`"10.0.0.0/255.0.0.0" is no IP address or network` + fix}},
		{"length", []string{"10.0.0.0/33"}, []string{`"10.0.0.0/33" is no IP address or network` + fix}},
		{"case", []string{"Private"}, []string{`"Private" is no IP address or network; write "private"`}},
		{"blank", []string{"10.0.0.0/8 "}, []string{`"10.0.0.0/8 " has a blank around it` + fix}},
		{"list", []string{"10.0.0.1,10.0.0.2"}, []string{`"10.0.0.1,10.0.0.2" holds more than one entry; pass each as a string of its own`}},
		{"port", []string{"10.0.0.1:80"}, []string{`"10.0.0.1:80" has a port; write "10.0.0.1"`}},
		{"brackets", []string{"[2001:db8::1]"}, []string{`"[2001:db8::1]" has brackets; write "2001:db8::1"`}},
		{"zone", []string{"fe80::1%eth0"}, []string{`"fe80::1%eth0" has a zone; write "fe80::1"`}},
		{"host bits", []string{"10.1.2.3/8"}, []string{`"10.1.2.3/8" has bits set beyond its length; write "10.0.0.0/8"`}},
		{"twice", []string{"10.0.0.1", "10.0.0.1/32"}, []string{`"10.0.0.1/32" repeats "10.0.0.1"; remove one`}},
		{"private twice", []string{"private", "private"}, []string{`"private" repeats "private"; remove one`}},
		{"every fault", []string{"x", "10.0.0.0/8", "y"}, []string{`"x" is no IP address or network` + fix, `"y" is no IP address or network` + fix}},
	} {
		t.Run(tc.row, func(t *testing.T) {
			n, errs := clientip.NewNetworks(tc.list...)
			if n != nil {
				t.Error("networks with faults are usable")
			}
			sameFaults(t, errs, tc.want)
		})
	}
	if _, errs := clientip.NewNetworks("private", "fc00::/7", "10.0.0.0/8", "44.0.0.0/8", "2a00::/16"); errs != nil {
		t.Errorf("networks that some have: %v", errs)
	}
}
