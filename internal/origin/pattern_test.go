package origin_test

import (
	"strings"
	"testing"

	"github.com/wssecure/wssecure/internal/origin"
)

type faultRow struct{ row, pattern, want string }

// One row for each mistake; want is what follows "AllowOrigins: ".
var originFaults = []faultRow{
	{"G-04", "app.example.com", `"app.example.com" has no scheme; write "https://app.example.com"`},
	{"G-04 a port", "app.example.com:8443", `"app.example.com:8443" has no scheme; write "https://app.example.com:8443"`},
	{"G-04 localhost", "localhost:3000", `"localhost:3000" has no scheme; write "http://localhost:3000"`},
	{"G-04 a star", "*.x.com", `"*.x.com" has no scheme; write "https://*.x.com"`},
	{"G-04 slashes", "//app.example.com", `"//app.example.com" has no scheme; write "https://app.example.com"`},
	{"G-04 one slash", "https:/app.example.com", `"https:/app.example.com" is not of the form scheme://host; write "https://app.example.com"`},
	{"G-04 no slash", "http:app.example.com", `"http:app.example.com" is not of the form scheme://host; write "http://app.example.com"`},
	{"G-04 no colon", "https//app.example.com", `"https//app.example.com" is not of the form scheme://host; write "https://app.example.com"`},
	{"G-04 before ://", "://app.example.com", `"://app.example.com" has no scheme; write "https://app.example.com"`},
	{"G-05", "wss://app.example.com", `"wss://app.example.com" has a scheme no page has; write "https://app.example.com"`},
	{"G-05 ws", "ws://localhost:3000", `"ws://localhost:3000" has a scheme no page has; write "http://localhost:3000"`},
	{"G-05 short", "wss://x", `"wss://x" has a scheme no page has; write "https://x"`},
	{"G-05 upper case", "WSS://x.example", `"WSS://x.example" has a scheme no page has; write "https://x.example"`},
	{"G-05 star", "*://app.example.com", `"*://app.example.com" has a star for a scheme; write "https://app.example.com"`},
	{"G-05 malformed", "ht tps://a.example", `"ht tps://a.example" contains a blank; write "https://a.example"`},
	{"G-05 digits", "1https://a.example", `"1https://a.example" has a malformed scheme; write "https://a.example"`},
	{"O-35 file", "file://", `"file://" has a scheme whose pages send "null"; write "https://app.example.com"`},
	{"O-35 a star", "chrome-extension://*", `"chrome-extension://*" has a star under a scheme other than https and http; list each name whole`},
	{"G-06", "null", `"null" is shared by sandboxed pages; use InsecureAllowNullOrigin`},
	{"G-06 upper case", "Null", `"Null" is shared by sandboxed pages; use InsecureAllowNullOrigin`},
	{"G-07", "https://app.example.com/", `"https://app.example.com/" has a path; write "https://app.example.com"`},
	{"G-07 short", "https://x/", `"https://x/" has a path; write "https://x"`},
	{"G-07 a glob", "https://app.example.com/*", `"https://app.example.com/*" has a path; write "https://app.example.com"`},
	{"G-07 a star", "https://*.example.com/", `"https://*.example.com/" has a path; write "https://*.example.com"`},
	{"G-07 query", "https://app.example.com?a=b", `"https://app.example.com?a=b" has a query; write "https://app.example.com"`},
	{"G-07 fragment", "https://app.example.com#a", `"https://app.example.com#a" has a fragment; write "https://app.example.com"`},
	{"G-07 backslash", `https://app.example.com\x`, `"https://app.example.com\\x" has a backslash; write "https://app.example.com"`},
	{"G-07 user", "https://me:pw@app.example.com", `"https://me:pw@app.example.com" has user information; write "https://app.example.com"`},
	{"G-07 escape", "https://app%2eexample.com", `"https://app%2eexample.com" has a percent-escape; write "https://app.example.com"`},
	{"G-08", "*", `"*" matches every site; list the origins, or use InsecureAllowAnyOrigin`},
	{"G-08 https", "https://*", `"https://*" matches every site; list the origins, or use InsecureAllowAnyOrigin`},
	{"G-08 ports", "https://*:*", `"https://*:*" matches every site; list the origins, or use InsecureAllowAnyOrigin`},
	{"G-08 schemes", "*://*", `"*://*" matches every site; list the origins, or use InsecureAllowAnyOrigin`},
	{"G-09", "https://*example.com", `"https://*example.com" has a star that is no whole first label; write "https://*.example.com"`},
	{"G-09 http", "http://*example.com:8080", `"http://*example.com:8080" has a star that is no whole first label; write "http://*.example.com:8080"`},
	{"G-09 x", "https://*x.com", `"https://*x.com" has a star that is no whole first label; write "https://*.x.com"`},
	{"G-09 two", "https://**.example.com", `"https://**.example.com" has a star that is no whole first label; write "https://*.example.com"`},
	{"G-09 two labels", "https://*.*.example.com", `"https://*.*.example.com" has a star that is no whole first label; write "https://*.example.com"`},
	{"G-09 middle", "https://a.*.com", `"https://a.*.com" has a star that is no whole first label; list each name, or write a whole label, as "https://*.example.com"`},
	{"G-09 prefix", "https://app-*.vercel.app", `"https://app-*.vercel.app" has a star that is no whole first label; list each name, or write a whole label, as "https://*.example.com"`},
	{"G-09 suffix", "https://*-team.vercel.app", `"https://*-team.vercel.app" has a star that is no whole first label; list each name, or write a whole label, as "https://*.example.com"`},
	{"G-09 port", "https://app.example.com:*", `"https://app.example.com:*" has a star for a port; list each port`},
	{"G-09 in the port", "https://:8*", `"https://:8*" has a star that is no whole first label; list each name, or write a whole label, as "https://*.example.com"`},
	{"G-09 address", "https://*.192.0.2.1", `"https://*.192.0.2.1" has a star before an IP address; list each address`},
	{"G-11", "https://*.com", `"https://*.com" has fewer than two labels after the star; write "https://*.example.com"`},
	{"G-11 dot", "https://*.com.", `"https://*.com." has fewer than two labels after the star; write "https://*.example.com"`},
	{"G-11 none", "https://*.", `"https://*." has fewer than two labels after the star; write "https://*.example.com"`},
	{"G-12", "https://münchen.example", `"https://münchen.example" is not ASCII; write its xn-- form`},
	{"G-12 bytes", "https://a\xe9.example", `"https://a\xe9.example" is not ASCII; write its xn-- form`},
	{"empty", "", `"" is empty; write "https://app.example.com"`},
	{"blank", " ", `" " has a blank around it; write "https://app.example.com"`},
	{"blank before", " https://a.example", `" https://a.example" has a blank around it; write "https://a.example"`},
	{"line end", "https://a.example\n", `"https://a.example\n" has a blank around it; write "https://a.example"`},
	{"control", "https://a\x00.example", `"https://a\x00.example" contains a control character; write "https://app.example.com"`},
	{"quotes", `"https://a.example"`, `"\"https://a.example\"" has quotes around it; write "https://a.example"`},
	{"commas", "https://a.example,https://b.example", `"https://a.example,https://b.example" holds more than one entry; pass each as a string of its own`},
	{"blanks", "https://a.example https://b.example", `"https://a.example https://b.example" holds more than one entry; pass each as a string of its own`},
	{"no host", "https://", `"https://" has no host; write "https://app.example.com"`},
	{"no host, a path", "https:///app.example.com", `"https:///app.example.com" has no host; write "https://app.example.com"`},
	{"no host, a port", "https://:443", `"https://:443" has no host; write "https://app.example.com"`},
	{"empty port", "https://a.example:", `"https://a.example:" has an empty port; write "https://a.example"`},
	{"port 0", "https://a.example:0", `"https://a.example:0" has a port that is not 1 to 65535; write "https://a.example"`},
	{"port 65536", "https://a.example:65536", `"https://a.example:65536" has a port that is not 1 to 65535; write "https://a.example"`},
	{"port with zero", "https://a.example:0443", `"https://a.example:0443" has a port that is not 1 to 65535; write "https://a.example"`},
	{"port name", "https://a.example:https", `"https://a.example:https" has a port that is not 1 to 65535; write "https://a.example"`},
	{"trailing dot", "https://a.example.", `"https://a.example." ends in a dot; write "https://a.example"`},
	{"trailing dot, port", "https://a.example.:8443", `"https://a.example.:8443" ends in a dot; write "https://a.example:8443"`},
	{"empty label", "https://a..example", `"https://a..example" has an empty label; write "https://app.example.com"`},
	{"leading dot", "https://.example.com", `"https://.example.com" has an empty label; write "https://app.example.com"`},
	{"character", "https://a!.example", `"https://a!.example" has the character '!'; write "https://app.example.com"`},
	{"bare IPv6", "https://2001:db8::1", `"https://2001:db8::1" has an IPv6 address without brackets; write "https://[2001:db8::1]"`},
	{"zone", "https://[fe80::1%25eth0]", `"https://[fe80::1%25eth0]" has a zone; write "https://[fe80::1]"`},
	{"open bracket", "https://[::1", `"https://[::1" has a malformed IPv6 address; write "https://app.example.com"`},
	{"number", "https://127.1", `"https://127.1" ends in a number and is no IPv4 address; write "https://app.example.com"`},
}

func TestListFaults(t *testing.T) {
	for _, tc := range originFaults {
		t.Run(tc.row, func(t *testing.T) {
			l, errs := origin.NewList("https://good.example", tc.pattern)
			if l != nil || len(errs) != 1 {
				t.Fatalf("NewList = %v, %d faults %v", l, len(errs), errs)
			}
			if got := errs[0].Error(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
	for _, tc := range []struct {
		row  string
		list []string
		want []string
	}{
		{"G-03", nil, []string{"the list is empty; name an origin, or leave the option out for same-origin"}},
		{"G-13", []string{"https://a.example", "https://a.example:443"}, []string{`"https://a.example:443" repeats "https://a.example"; remove one`}},
		{"G-13 stars", []string{"https://*.a.example", "HTTPS://*.A.example"}, []string{`"HTTPS://*.A.example" repeats "https://*.a.example"; remove one`}},
		{"every fault", []string{"null", "https://a.example", "*", "https://A.example"}, []string{
			`"null" is shared by sandboxed pages; use InsecureAllowNullOrigin`,
			`"*" matches every site; list the origins, or use InsecureAllowAnyOrigin`,
			`"https://A.example" repeats "https://a.example"; remove one`,
		}},
	} {
		t.Run(tc.row, func(t *testing.T) {
			l, errs := origin.NewList(tc.list...)
			if l != nil {
				t.Error("a list with faults is usable")
			}
			sameFaults(t, errs, tc.want)
		})
	}
	newList(t, "https://*.a.example", "https://b.a.example", "https://a.example", "http://a.example") // no two alike
}

var hostFaults = []faultRow{
	{"G-14", "https://ws.example.com", `"https://ws.example.com" has a scheme; write "ws.example.com"`},
	{"H-41 scheme and path", "wss://ws.example.com:8443/ws", `"wss://ws.example.com:8443/ws" has a scheme; write "ws.example.com:8443"`},
	{"H-41 path", "ws.example.com/ws", `"ws.example.com/ws" has a path; write "ws.example.com"`},
	{"H-41 U-label", "münchen.example", `"münchen.example" is not ASCII; write its xn-- form`},
	{"H-41 star", "*", `"*" matches every host; name the hosts you serve, or leave the option out`},
	{"H-41 star and port", "*:443", `"*:443" matches every host; name the hosts you serve, or leave the option out`},
	{"H-41 one label", "*.com", `"*.com" has fewer than two labels after the star; write "*.example.com"`},
	{"H-41 half star", "*example.com", `"*example.com" has a star that is no whole first label; write "*.example.com"`},
	{"H-41 half star, a port", "*example.com:8443", `"*example.com:8443" has a star that is no whole first label; write "*.example.com:8443"`},
	{"H-41 inner star", "a.*.com", `"a.*.com" has a star that is no whole first label; list each name, or write a whole label, as "*.example.com"`},
	{"H-41 empty", "", `"" is empty; write "ws.example.com"`},
	{"H-41 blank", "ws.example.com ", `"ws.example.com " has a blank around it; write "ws.example.com"`},
	{"H-41 user", "me@ws.example.com", `"me@ws.example.com" has user information; write "ws.example.com"`},
	{"H-41 port", "ws.example.com:", `"ws.example.com:" has an empty port; write "ws.example.com"`},
	{"H-41 number", "127.1", `"127.1" ends in a number and is no IPv4 address; write "ws.example.com"`},
	{"H-41 IPv6", "::1", `"::1" has an IPv6 address without brackets; write "[::1]"`},
	{"H-41 list", "a.example,b.example", `"a.example,b.example" holds more than one entry; pass each as a string of its own`},
}

func TestHostsFaults(t *testing.T) {
	for _, tc := range hostFaults {
		t.Run(tc.row, func(t *testing.T) {
			_, errs := origin.NewHosts("good.example", tc.pattern)
			sameFaults(t, errs, []string{tc.want})
		})
	}
	_, errs := origin.NewHosts()
	sameFaults(t, errs, []string{`the list is empty; name the hosts you serve, as "ws.example.com"`})
	_, errs = origin.NewHosts("a.example", "A.example")
	sameFaults(t, errs, []string{`"A.example" repeats "a.example"; remove one`})
}

func TestPublicFaults(t *testing.T) {
	for _, tc := range []faultRow{
		{"G-62", "https://ws.example.com/ws", `"https://ws.example.com/ws" has a path; write "https://ws.example.com"`},
		{"G-62 slash", "https://ws.example.com/", `"https://ws.example.com/" has a path; write "https://ws.example.com"`},
		{"G-62 query", "https://ws.example.com?x", `"https://ws.example.com?x" has a query; write "https://ws.example.com"`},
		{"G-62 wss", "wss://ws.example.com", `"wss://ws.example.com" has a scheme other than https and http; write "https://ws.example.com"`},
		{"G-62 extension", "capacitor://a.example", `"capacitor://a.example" has a scheme other than https and http; write "https://a.example"`},
		{"G-62 no scheme", "ws.example.com", `"ws.example.com" has no scheme; write "https://ws.example.com"`},
		{"G-62 star", "https://*.example.com", `"https://*.example.com" has a star; write the one name clients use, as "https://ws.example.com"`},
		{"G-62 empty", "", `"" is empty; write "https://ws.example.com"`},
		{"G-62 U-label", "https://münchen.example", `"https://münchen.example" is not ASCII; write its xn-- form`},
		{"G-62 null", "null", `"null" has no scheme; write "https://null"`},
		{"G-62 port", "https://ws.example.com:0", `"https://ws.example.com:0" has a port that is not 1 to 65535; write "https://ws.example.com"`},
	} {
		t.Run(tc.row, func(t *testing.T) {
			o, err := origin.ParsePublic(tc.pattern)
			if err == nil || o != (origin.Origin{}) {
				t.Fatalf("ParsePublic = %+v, %v", o, err)
			}
			if err.Error() != tc.want {
				t.Errorf("got  %s\nwant %s", err, tc.want)
			}
		})
	}
	o, err := origin.ParsePublic("HTTPS://WS.example.com:443")
	if err != nil || o.String() != "https://ws.example.com" {
		t.Errorf("ParsePublic = %v, %v", o, err)
	}
}

// A name that leaves no room for a label could match nothing.
func TestStarLeavesRoom(t *testing.T) {
	base := strings.Repeat(strings.Repeat("a", 62)+".", 4)[:251]
	newList(t, "https://*."+base[1:])
	if _, errs := origin.NewList("https://*." + base + "a"); len(errs) != 1 {
		t.Errorf("252 bytes after the star: %v", errs)
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
	}
}
