package wssecure_test

import (
	"crypto/rand"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

const why = "a test"

// tableRow is one line of the tables of internal/origin: the same inputs must meet
// the same verdict when they come over the wire.
type tableRow struct{ id, want, input string }

// tablesOf reads a table by its lists.
func tablesOf(t *testing.T, file string) map[string][]tableRow {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tables, list := map[string][]tableRow{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "list "); ok {
			list = rest
			continue
		}
		id, rest, _ := strings.Cut(line, " ")
		want, quoted, _ := strings.Cut(strings.TrimSpace(rest), " ")
		input, err := strconv.Unquote(strings.TrimSpace(quoted))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		tables[list] = append(tables[list], tableRow{id, want, input})
	}
	return tables
}

// travels reports whether a header value arrives as it is sent: net/http trims
// blanks, and refuses control characters by itself.
func travels(s string) bool {
	return strings.Trim(s, " \t") == s && !strings.ContainsAny(s, "\x00\r\n")
}

func newIssued(t *testing.T, opts ...wssecure.Option) *wssecuretest.Server {
	t.Helper()
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{Options: append([]wssecure.Option{issuer.Option()}, opts...)})
	s.Issuer = issuer
	return s
}

// page is a fresh handshake with a good token and that Origin.
func page(s *wssecuretest.Server, origin string) *probe.Handshake {
	return fresh(s.Handshake(s.Issuer.Token("alice"))).Set("Origin", origin)
}

// fresh gives hs a nonce of its own.
func fresh(hs *probe.Handshake) *probe.Handshake {
	return hs.Set("Sec-WebSocket-Key", rand.Text()[:21]+"A==")
}

func TestOriginListOverTheWire(t *testing.T) {
	for list, rows := range tablesOf(t, "internal/origin/testdata/origins.txt") {
		s := newIssued(t, wssecure.AllowOrigins(strings.Fields(list)...))
		for _, r := range rows {
			if !travels(r.input) {
				continue
			}
			t.Run(r.id+" "+strconv.Quote(r.input), func(t *testing.T) {
				if r.want != "none" {
					_, c := wantAdmitted(t, s, page(s, r.input))
					c.Close()
					return
				}
				_, e := wantRefused(t, s, page(s, r.input), 403, wssecure.ReasonOrigin)
				if e.Check != "origin" || !strings.HasPrefix(e.Wanted, "one of ") || len(e.Origin) > 64 {
					t.Errorf("event: check %q, wanted %q, origin %q", e.Check, e.Wanted, e.Origin)
				}
				if wantHint := r.id == "O-37"; wantHint != strings.HasPrefix(e.Hint, "origin-is-host") {
					t.Errorf("U-13: hint %q", e.Hint)
				}
			})
		}
	}
}

func TestOriginLines(t *testing.T) {
	s := newIssued(t, wssecure.AllowOrigins(wssecuretest.Origin))
	good := wssecuretest.Origin
	for _, tc := range []struct{ name, first, second string }{
		{"O-31 good and evil", good, "https://evil.net"},
		{"O-31 evil and good", "https://evil.net", good},
		{"O-31 good and good", good, good},
		{"O-31 good and empty", good, ""},
		{"O-31 two of 20 KB", "https://" + strings.Repeat("a", 20<<10), good},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hs := page(s, tc.first).Add("Origin: " + tc.second)
			r, e := wantRefused(t, s, hs, 400, wssecure.ReasonOriginDuplicate)
			if !strings.Contains(string(r.Body), `#origin"`) {
				t.Errorf("the public reason is not origin: %s", r.Body)
			}
			if len(e.Seen) > 256 {
				t.Errorf("the event has %d bytes of it", len(e.Seen))
			}
		})
	}
	for _, tc := range []struct{ name, value string }{
		{"O-32 301 bytes", "https://" + strings.Repeat("a", 293)},
		{"O-32 60 KB", good + strings.Repeat("a", 60<<10)},
		{"O-33 a TAB inside", "https://app.\texample.com"},
		{"O-33 an escape sequence", "https://app.example.com\x1b[2J"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if strings.ContainsRune(tc.value, 0x1b) {
				wantGoRefuses(t, s, page(s, tc.value))
				return
			}
			_, e := wantRefused(t, s, page(s, tc.value), 403, wssecure.ReasonOrigin)
			if len(e.Origin) > 64 || len(e.Origin) < 24 || strings.ContainsAny(e.Origin+e.Seen, "\t") {
				t.Errorf("the event has %d bytes of it: %q", len(e.Origin), e.Origin)
			}
			if len(e.Seen) > 2*64 {
				t.Errorf("seen has %d bytes", len(e.Seen))
			}
		})
	}
	for _, value := range []string{good + "\x00", good + "\rX: y"} {
		t.Run("O-33 "+strconv.Quote(value), func(t *testing.T) { wantGoRefuses(t, s, page(s, value)) })
	}
}

// wantGoRefuses wants net/http's own 400, which the guard never sees.
func wantGoRefuses(t *testing.T, s *wssecuretest.Server, hs *probe.Handshake) {
	t.Helper()
	before := s.Guard.Stats()
	r, _ := ask(t, s, hs)
	if r.Status != 400 || r.Get("Content-Type") == "application/problem+json" {
		t.Errorf("status %d %q, want net/http's 400", r.Status, r.Get("Content-Type"))
	}
	if after := s.Guard.Stats(); after.Admitted != before.Admitted || !maps.Equal(after.Refused, before.Refused) {
		t.Errorf("the guard has decided: %+v, before %+v", after, before)
	}
}

func TestSameOriginPolicy(t *testing.T) {
	s := newIssued(t)
	for _, tc := range []struct {
		name, host, origin string
		admitted           bool
	}{
		{"O-34", "ws.example.com", "https://ws.example.com", true},
		{"O-34 the default port", "ws.example.com", "https://ws.example.com:443", true},
		{"O-34 the default port in Host", "ws.example.com:443", "https://ws.example.com", true},
		{"O-34 case", "WS.example.com", "https://ws.EXAMPLE.com", true},
		{"O-34 both with a port", "ws.example.com:8443", "https://ws.example.com:8443", true},
		{"O-34 http", "ws.example.com", "http://ws.example.com", false},
		{"O-34 Host with a port", "ws.example.com:8443", "https://ws.example.com", false},
		{"O-34 wss", "ws.example.com", "wss://ws.example.com", false},
		{"O-34 another", "ws.example.com", "https://app.example.com", false},
		{"O-34 null", "ws.example.com", "null", false},
		{"C1 an IP", "192.0.2.1", "https://192.0.2.2", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hs := page(s, tc.origin).Set("Host", tc.host)
			if tc.admitted {
				wantAdmitted(t, s, hs)
				return
			}
			_, e := wantRefused(t, s, hs, 403, wssecure.ReasonOrigin)
			if e.Wanted != "the origin of the Host" {
				t.Errorf("wanted %q", e.Wanted)
			}
		})
	}

	public := newIssued(t, wssecure.SetPublicURL("https://ws.example.com:8443"))
	wantAdmitted(t, public, page(public, "https://ws.example.com:8443").Set("Host", "ws.example.com:8443"))
	_, e := wantRefused(t, public, page(public, "https://ws.example.com").Set("Host", "ws.example.com:8443"), 403, wssecure.ReasonOrigin)
	if e.Wanted != "https://ws.example.com:8443" {
		t.Errorf("wanted %q", e.Wanted)
	}
}

func TestOpenOrigins(t *testing.T) {
	anyOrigin := newIssued(t, wssecure.InsecureAllowAnyOrigin(why))
	both := newIssued(t, wssecure.AllowOrigins("https://*.tenant.example.com"), wssecure.InsecureAllowNullOrigin(why))
	same := newIssued(t, wssecure.InsecureAllowNullOrigin(why))
	for _, tc := range []struct {
		name   string
		s      *wssecuretest.Server
		origin string
		status int
	}{
		{"O-37 any site", anyOrigin, "https://evil.net", 101},
		{"O-37 null", anyOrigin, "null", 403},
		{"O-37 malformed", anyOrigin, "https://evil.net/", 403},
		{"O-37 empty", anyOrigin, "", 403},
		{"O-37 a list", anyOrigin, "https://a.example, https://b.example", 403},
		{"O-24 allowed", both, "null", 101},
		{"O-25 NULL", both, "NULL", 403},
		{"O-25 quoted", both, `"null"`, 403},
		{"O-24 another", both, "https://evil.net", 403},
		{"O-24 same-origin", same, "https://ws.example.com", 101},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.status == 101 {
				wantAdmitted(t, tc.s, page(tc.s, tc.origin))
				return
			}
			wantRefused(t, tc.s, page(tc.s, tc.origin), 403, wssecure.ReasonOrigin)
		})
	}
	t.Run("O-37 two lines", func(t *testing.T) {
		wantRefused(t, anyOrigin, page(anyOrigin, "https://a.example").Add("Origin: https://a.example"), 400, wssecure.ReasonOriginDuplicate)
	})
	t.Run("O-24 null of a sandboxed frame in Firefox", func(t *testing.T) {
		wantAdmitted(t, same, page(same, "null").Add("Sec-Fetch-Site: cross-site").Add("Sec-Fetch-Mode: websocket"))
		wantRefused(t, same, page(same, "https://ws.example.com").Add("Sec-Fetch-Site: cross-site"), 403, wssecure.ReasonFetchMetadata)
	})
}

func TestFetchMetadata(t *testing.T) {
	withList := newIssued(t, wssecure.AllowOrigins(wssecuretest.Origin, "https://*.tenant.example.com"))
	same := newIssued(t)
	anyOrigin := newIssued(t, wssecure.InsecureAllowAnyOrigin(why))
	const listed, own = wssecuretest.Origin, "https://" + wssecuretest.Host
	const dest, mode, site = "Sec-Fetch-Dest: ", "Sec-Fetch-Mode: ", "Sec-Fetch-Site: "
	for _, tc := range []struct {
		name   string
		s      *wssecuretest.Server
		origin string
		lines  []string
		passes bool
	}{
		{"F-01 websocket", withList, listed, []string{mode + "websocket"}, true},
		{"F-01 none (Chromium)", withList, listed, nil, true},
		{"F-02 navigate", withList, listed, []string{mode + "navigate"}, false},
		{"F-02 no-cors", withList, listed, []string{mode + "no-cors"}, false},
		{"F-02 cors", withList, listed, []string{mode + "cors"}, false},
		{"F-02 same-origin", withList, listed, []string{mode + "same-origin"}, false},
		{"F-03 same-origin", same, own, []string{site + "same-origin"}, true},
		{"F-03 same-site, listed", withList, listed, []string{site + "same-site"}, true},
		{"F-03 cross-site, listed", withList, listed, []string{site + "cross-site"}, true},
		{"F-03 cross-site, below a star", withList, "https://a.tenant.example.com", []string{site + "cross-site"}, true},
		{"F-03 cross-site, any origin", anyOrigin, "https://evil.net", []string{site + "cross-site"}, true},
		{"F-03 same-site, same-origin policy", same, own, []string{site + "same-site"}, false},
		{"F-03 cross-site, same-origin policy", same, own, []string{site + "cross-site"}, false},
		{"F-03 none", withList, listed, []string{site + "none"}, false},
		{"F-04 empty", withList, listed, []string{dest + "empty"}, true},
		{"F-04 websocket", withList, listed, []string{dest + "websocket"}, true},
		{"F-04 document", withList, listed, []string{dest + "document"}, false},
		{"F-04 iframe", withList, listed, []string{dest + "iframe"}, false},
		{"F-05 unknown site", withList, listed, []string{site + "next-door"}, true},
		{"F-05 unknown mode", withList, listed, []string{mode + "webtransport"}, true},
		{"F-05 other names", withList, listed, []string{"Sec-Fetch-User: ?1", "Sec-Fetch-Storage-Access: none"}, true},
		{"F-05 Mode twice", withList, listed, []string{mode + "websocket", mode + "websocket"}, false},
		{"F-05 Site twice", withList, listed, []string{site + "same-site", site + "same-site"}, false},
		{"F-05 Dest twice", withList, listed, []string{dest + "empty", dest + "empty"}, false},
		{"F-01 Firefox, same origin", same, own, []string{dest + "empty", mode + "websocket", site + "same-origin"}, true},
		{"F-01 Firefox, cross site", withList, listed, []string{dest + "empty", mode + "websocket", site + "cross-site", "Sec-Fetch-Storage-Access: none"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hs := page(tc.s, tc.origin)
			for _, line := range tc.lines {
				hs.Add(line)
			}
			if tc.passes {
				wantAdmitted(t, tc.s, hs)
				return
			}
			r, e := wantRefused(t, tc.s, hs, 403, wssecure.ReasonFetchMetadata)
			if e.Check != "fetch-metadata" || !strings.Contains(string(r.Body), `#origin"`) {
				t.Errorf("check %q, body %s", e.Check, r.Body)
			}
		})
	}
	t.Run("F-05 an unlisted Origin is decided first", func(t *testing.T) {
		wantRefused(t, withList, page(withList, "https://evil.net").Add(mode+"navigate"), 403, wssecure.ReasonOrigin)
	})
}
