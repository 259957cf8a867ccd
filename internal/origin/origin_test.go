package origin_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wssecure/wssecure/internal/origin"
)

// row is one line of a table in testdata.
type row struct {
	id, want, input string
	list            []string
}

// rows reads a table; the same rows seed the fuzz targets.
func rows(t testing.TB, file string) []row {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []row
	var list []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "list "); ok {
			list = strings.Fields(rest)
			continue
		}
		id, rest, _ := strings.Cut(line, " ")
		want, quoted, _ := strings.Cut(strings.TrimSpace(rest), " ")
		input, err := strconv.Unquote(strings.TrimSpace(quoted))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, row{id: id, want: want, input: input, list: list})
	}
	return all
}

func newList(t testing.TB, patterns ...string) *origin.List {
	t.Helper()
	l, errs := origin.NewList(patterns...)
	if errs != nil {
		t.Fatal(errs)
	}
	return l
}

var verdicts = map[origin.Verdict]string{origin.None: "none", origin.Star: "star", origin.Exact: "exact"}

func TestMatch(t *testing.T) {
	for _, r := range rows(t, "testdata/origins.txt") {
		t.Run(r.id+" "+strconv.Quote(r.input), func(t *testing.T) {
			if got := verdicts[newList(t, r.list...).Match(r.input)]; got != r.want {
				t.Errorf("Match = %s, want %s, of %q", got, r.want, r.list)
			}
		})
	}
}

func TestLength(t *testing.T) {
	label := strings.Repeat("a", 63) + "."
	name := label + label + label + strings.Repeat("b", 61) // 253 bytes
	for _, tc := range []struct {
		row, input string
		ok         bool
	}{
		{"O-32 a name of 253 bytes", "https://" + name, true},
		{"O-32 a name of 254 bytes", "https://" + name + "b", false},
		{"O-32 301 bytes", strings.Repeat("x", 301-len("://a")) + "://a", false},
		{"O-32 300 bytes", strings.Repeat("x", 300-len("://a")) + "://a", true},
		{"O-32 60 KB", "https://" + strings.Repeat("a.", 30000) + "a", false},
	} {
		t.Run(tc.row, func(t *testing.T) {
			if _, err := origin.Parse(tc.input); (err == nil) != tc.ok {
				t.Errorf("Parse: %v, want accepted: %t", err, tc.ok)
			}
		})
	}
	if _, err := origin.ParseHost(name); err != nil {
		t.Errorf("H-06 253 bytes: %v", err)
	}
	if _, err := origin.ParseHost(name + "b"); err == nil {
		t.Error("H-06 254 bytes: accepted")
	}
	if _, err := origin.ParseHost(name + "."); err == nil {
		t.Error("H-06 254 bytes with the dot: accepted")
	}
}

func TestString(t *testing.T) {
	for in, want := range map[string]string{
		"HTTPS://APP.example.com:443":      "https://app.example.com",
		"http://a.example:80":              "http://a.example",
		"http://a.example:443":             "http://a.example:443",
		"https://[2001:0DB8:0::1]:8443":    "https://[2001:db8::1]:8443",
		"https://[::FFFF:c000:201]":        "https://[::ffff:192.0.2.1]",
		"capacitor://localhost":            "capacitor://localhost",
		"capacitor://localhost:8080":       "capacitor://localhost:8080",
		"https://under_score.a-b.example1": "https://under_score.a-b.example1",
	} {
		o, err := origin.Parse(in)
		if err != nil {
			t.Errorf("Parse(%q): %v", in, err)
		}
		if got := o.String(); got != want {
			t.Errorf("Parse(%q).String() = %q, want %q", in, got, want)
		}
	}
}

func TestParseFillsDefaults(t *testing.T) {
	o, err := origin.Parse("https://a.example")
	if want := (origin.Origin{Scheme: "https", Host: "a.example", Port: 443}); err != nil || o != want {
		t.Errorf("Parse = %+v, %v; want %+v", o, err, want)
	}
	o, err = origin.Parse("capacitor://localhost")
	if want := (origin.Origin{Scheme: "capacitor", Host: "localhost"}); err != nil || o != want {
		t.Errorf("Parse = %+v, %v; want %+v", o, err, want)
	}
}

// A request must not be able to buy memory with its Origin, refused or not.
func TestAllocations(t *testing.T) {
	l := newList(t, "https://app.example.com", "https://[2001:db8::1]:8443", "https://*.tenant.example.com")
	hosts, _ := origin.NewHosts("ws.example.com", "*.example.net")
	for name, f := range map[string]func(){
		"O-38 exact":     func() { l.Match("https://app.example.com") },
		"O-38 exact v6":  func() { l.Match("https://[2001:db8::1]:8443") },
		"O-17 star":      func() { l.Match("https://a.b.tenant.example.com") },
		"O-04 unlisted":  func() { l.Match("https://evil.net:8443") },
		"O-06 malformed": func() { l.Match("https:app.example.com") },
		"O-24 null":      func() { l.Match("null") },
		"O-32 60 KB":     func() { l.Match(long) },
		"H-08 host": func() {
			h, _ := origin.ParseHost("ws.example.com:443")
			hosts.Match(h, 443)
		},
		"H-40 host": func() {
			h, _ := origin.ParseHost("a.b.example.net")
			hosts.Match(h, 443)
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

var long = "https://" + strings.Repeat("a.", 30000) + "example.com"

func TestSameOrigin(t *testing.T) {
	for _, tc := range []struct {
		origin, scheme, host string
		want                 bool
	}{
		{"https://ws.example.com", "https", "ws.example.com", true},
		{"https://ws.example.com:443", "https", "ws.example.com", true},
		{"https://ws.example.com", "https", "ws.example.com:443", true},
		{"HTTPS://WS.example.com", "https", "ws.Example.com", true},
		{"http://ws.example.com", "http", "ws.example.com:80", true},
		{"https://ws.example.com:8443", "https", "ws.example.com:8443", true},
		{"https://[2001:db8:0::1]", "https", "[2001:db8::1]", true},
		{"http://ws.example.com", "https", "ws.example.com", false},
		{"http://ws.example.com:443", "https", "ws.example.com", false},
		{"https://ws.example.com", "https", "ws.example.com:8443", false},
		{"https://ws.example.com", "http", "ws.example.com", false},
		{"https://evil.net", "https", "ws.example.com", false},
		{"https://ws.example.com", "https", "ws.example.com.", false},
		{"https://a.ws.example.com", "https", "ws.example.com", false},
	} {
		o, err := origin.Parse(tc.origin)
		if err != nil {
			t.Fatal(err)
		}
		h, err := origin.ParseHost(tc.host)
		if err != nil {
			t.Fatal(err)
		}
		if got := origin.SameOrigin(o, tc.scheme, h); got != tc.want {
			t.Errorf("O-34 %s on %s://%s: %t, want %t", tc.origin, tc.scheme, tc.host, got, tc.want)
		}
	}
	if origin.SameOrigin(origin.Origin{}, "", origin.Host{}) {
		t.Error("nothing is the same origin as nothing")
	}
}

func TestZeroValuesAdmitNothing(t *testing.T) {
	var l *origin.List
	var h *origin.Hosts
	if l.Match("https://app.example.com") != origin.None || l.Strings() != nil {
		t.Error("a nil List admits")
	}
	if h.Match(origin.Host{Name: "ws.example.com"}, 443) {
		t.Error("a nil Hosts serves")
	}
	if newList(t, "https://*.example.com").MatchOrigin(origin.Origin{}) != origin.None {
		t.Error("the zero Origin is admitted")
	}
}

func TestStrings(t *testing.T) {
	l := newList(t, "https://B.example:443", "http://localhost:3000", "https://*.a.example:8443")
	want := []string{"http://localhost:3000", "https://*.a.example:8443", "https://b.example"}
	if got := l.Strings(); !slices.Equal(got, want) {
		t.Errorf("Strings = %q, want %q", got, want)
	}
}

// The second parser: written as one pattern, sharing no code with the first.
var (
	shape    = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://(.*)$`)
	hostPort = regexp.MustCompile(`^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?)(?::([1-9][0-9]{0,4}))?$`)
	quad     = regexp.MustCompile(`^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.|$)){4}$`)
	numeric  = regexp.MustCompile(`(?:^|\.)(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?$`)
)
