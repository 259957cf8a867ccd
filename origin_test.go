package wssecure_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
	s := wssecuretest.NewServer(t, append([]wssecure.Option{issuer.Option()}, opts...)...)
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

// TestMissingOrigin holds what a browser sends by itself apart from what only a
// program can put there.
func TestMissingOrigin(t *testing.T) {
	const cookie = "__Host-sid"
	issuer := wssecuretest.NewIssuer(t, "")
	start := func(opts ...wssecure.Option) *wssecuretest.Server {
		return wssecuretest.NewServer(t, append([]wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin)}, opts...)...)
	}
	all := issuer.Option(wssecure.FromBearer(), wssecure.FromSubprotocol(), wssecure.FromCookie(cookie),
		wssecure.FromHeader("X-Token"), wssecure.InsecureFromQuery("access_token", why))
	proxies := wssecure.TrustProxies("X-Forwarded-For", "private")
	every := start(all, proxies)
	only := start(issuer.Option(wssecure.FromCookie(cookie)))
	bearer := start(issuer.Option(wssecure.FromBearer()))
	strict := start(all, proxies, wssecure.RequireOrigin())
	missing := start(all, proxies, wssecure.InsecureAllowMissingOrigin(why))

	token := issuer.Token("alice")
	without := func(lines ...string) *probe.Handshake {
		hs := fresh(probe.Fixture(wssecuretest.Host, ""))
		for _, line := range lines {
			hs.Add(line)
		}
		return hs
	}
	query := func(hs *probe.Handshake) *probe.Handshake { hs.Target = "/ws?access_token=" + token; return hs }
	const gone = wssecure.ReasonOriginMissing
	for _, tc := range []struct {
		name   string
		s      *wssecuretest.Server
		hs     *probe.Handshake
		status int
		reason wssecure.Reason
	}{
		{"O-27 cookie", every, without("Cookie: " + cookie + "=" + token), 403, gone},
		{"O-27 query token", every, query(without()), 403, gone},
		{"O-27 FromHeader", every, without("X-Token: " + token), 403, gone},
		{"O-27 Basic", every, without("Authorization: Basic dTpw"), 403, gone},
		{"O-27 a source not enabled", only, without("Authorization: Bearer " + token), 403, gone},
		{"O-27 a subprotocol not enabled", bearer, without("Sec-WebSocket-Protocol: bearer, " + token), 403, gone},
		{"O-27 none", every, without(), 403, gone},
		{"O-28 Authorization", every, without("Authorization: Bearer " + token), 101, ""},
		{"O-28 subprotocol", every, without("Sec-WebSocket-Protocol: bearer, " + token), 101, ""},
		{"O-28 RequireOrigin, Authorization", strict, without("Authorization: Bearer " + token), 403, gone},
		{"O-28 RequireOrigin, subprotocol", strict, without("Sec-WebSocket-Protocol: bearer, " + token), 403, gone},
		{"O-28 RequireOrigin, an Origin", strict, without("Authorization: Bearer "+token, "Origin: "+wssecuretest.Origin), 101, ""},
		{"O-29 beside an enabled cookie", every, without("Authorization: Bearer "+token, "Cookie: "+cookie+"=junk"), 101, ""},
		{"O-29 beside another cookie", bearer, without("Authorization: Bearer "+token, "Cookie: a=b"), 101, ""},
		{"O-29 Sec-Fetch-Mode websocket", every, without("Authorization: Bearer "+token, "Sec-Fetch-Mode: websocket"), 101, ""},
		{"O-29 F rows hold", every, without("Authorization: Bearer "+token, "Sec-Fetch-Mode: cors"), 403, wssecure.ReasonFetchMetadata},
		{"O-29 a good cookie does not help a bad token", every, without("Authorization: Bearer x.y.z", "Cookie: "+cookie+"="+token), 401, wssecure.ReasonTokenInvalid},
		{"O-41 Authorization of bad form", every, without("Authorization: Bearer a b"), 400, wssecure.ReasonCredential},
		{"O-41 subprotocol of bad form", every, without("Sec-WebSocket-Protocol: bearer"), 400, wssecure.ReasonCredential},
		{"O-41 no token", every, without("Authorization: Bearer abc"), 401, wssecure.ReasonTokenInvalid},
		{"O-41 two", every, without("Authorization: Bearer "+token, "Sec-WebSocket-Protocol: bearer, "+token), 400, wssecure.ReasonCredential},
		{"O-42 cookie", missing, without("Cookie: " + cookie + "=" + token), 101, ""},
		{"O-42 query token", missing, query(without()), 101, ""},
		{"O-42 none", missing, without(), 401, wssecure.ReasonTokenMissing},
		{"O-42 F rows hold", missing, without("Cookie: "+cookie+"="+token, "Sec-Fetch-Site: none"), 403, wssecure.ReasonFetchMetadata},
		{"O-42 a bad Origin", missing, without("Cookie: "+cookie+"="+token, "Origin: https://evil.net"), 403, wssecure.ReasonOrigin},
		{"O-26 an empty Origin is not a missing one", every, without("Authorization: Bearer "+token, "Origin:"), 403, wssecure.ReasonOrigin},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.status == 101 {
				wantAdmitted(t, tc.s, tc.hs)
				return
			}
			wantRefused(t, tc.s, tc.hs, tc.status, tc.reason)
		})
	}
}

// clientCertificate is one that a pool of its own vouches for.
func clientCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	rootKey, leafKey := newKey(t), newKey(t)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "sensor 7"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	pool := x509.NewCertPool()
	for _, c := range []*x509.Certificate{root, leaf} {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, root, publicOf(c, root, rootKey, leafKey), rootKey)
		if err != nil {
			t.Fatal(err)
		}
		if c == leaf {
			return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: leafKey}, pool
		}
		made, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		pool.AddCert(made)
	}
	return tls.Certificate{}, nil
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicOf(c, root *x509.Certificate, rootKey, leafKey *ecdsa.PrivateKey) any {
	if c == root {
		return rootKey.Public()
	}
	return leafKey.Public()
}

func TestMissingOriginWithClientCertificate(t *testing.T) {
	cert, pool := clientCertificate(t)
	s := wssecuretest.NewServer(t, wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireClientCert(pool))
	for _, tc := range []struct {
		name string
		line string
		want int
	}{
		{"O-40 a program", "", 101},
		{"O-40 with a Cookie", "Cookie: a=b", 403},
		{"O-40 with an empty Cookie", "Cookie:", 403},
		{"O-40 with Sec-Fetch-Mode", "Sec-Fetch-Mode: websocket", 403},
		{"O-40 with Sec-Fetch-Storage-Access", "sec-fetch-storage-access: none", 403},
		{"O-40 with an Origin and a Cookie", "Origin: " + wssecuretest.Origin + "\r\nCookie: a=b", 101},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := &tls.Config{RootCAs: s.CertPool, ServerName: wssecuretest.Host, Certificates: []tls.Certificate{cert}}
			c, err := probe.Dial(context.Background(), s.Addr, config, "")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			hs := fresh(probe.Fixture(wssecuretest.Host, ""))
			if tc.line != "" {
				hs.Add(tc.line)
			}
			if err := c.Send(hs.Bytes()); err != nil {
				t.Fatal(err)
			}
			r, err := c.Response()
			if err != nil || r.Status != tc.want {
				t.Fatalf("answer %+v %v, want %d", r, err, tc.want)
			}
			if tc.want == 403 {
				wantProblem(t, s, r, wssecure.ReasonOriginMissing)
			}
		})
	}
	t.Run("O-40 without a certificate", func(t *testing.T) {
		wantRefused(t, s, probe.Fixture(wssecuretest.Host, ""), 403, wssecure.ReasonOriginMissing)
	})
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

func TestHostsOverTheWire(t *testing.T) {
	for list, rows := range tablesOf(t, "internal/origin/testdata/hosts.txt") {
		s := newIssued(t, wssecure.AllowOrigins(wssecuretest.Origin), wssecure.AllowHosts(strings.Fields(list)...))
		rows = append(rows, tableRow{"H-06", "bad", strings.Repeat("a.", 127)}, tableRow{"H-06", "bad", strings.Repeat("a", 64)})
		for _, r := range rows {
			t.Run(r.id+" "+strconv.Quote(r.input), func(t *testing.T) {
				hs := page(s, wssecuretest.Origin).Set("Host", r.input)
				switch r.want {
				case "served":
					wantAdmitted(t, s, hs)
				case "other":
					_, e := wantRefused(t, s, hs, 421, wssecure.ReasonHost)
					if e.Check != "host" {
						t.Errorf("check %q", e.Check)
					}
				case "bad":
					answer, _ := ask(t, s, hs)
					if answer.Status != 400 {
						t.Fatalf("status %d, want 400", answer.Status)
					}
					if r.id != "H-04" && answer.Get("Content-Type") == "application/problem+json" {
						wantProblem(t, s, answer, wssecure.ReasonHost)
					}
				}
			})
		}
	}
}

func TestHost(t *testing.T) {
	named := newIssued(t, wssecure.AllowOrigins(wssecuretest.Origin, "https://evil.example"), wssecure.AllowHosts("ws.example.com"))
	t.Run("H-04 none, two", func(t *testing.T) {
		wantGoRefuses(t, named, page(named, wssecuretest.Origin).Del("Host"))
		wantGoRefuses(t, named, page(named, wssecuretest.Origin).Add("Host: ws.example.com"))
	})
	t.Run("H-07 absolute form", func(t *testing.T) {
		hs := page(named, wssecuretest.Origin)
		hs.Target = "http://evil.net/ws"
		_, e := wantRefused(t, named, hs, 421, wssecure.ReasonHost)
		if e.Host != "evil.net" {
			t.Errorf("host %q", e.Host)
		}
		hs = page(named, wssecuretest.Origin).Set("Host", "evil.net")
		hs.Target = "http://ws.example.com/ws"
		wantAdmitted(t, named, hs)
	})
	t.Run("H-43 rebinding", func(t *testing.T) {
		wantRefused(t, named, page(named, "https://evil.example").Set("Host", "evil.example"), 421, wssecure.ReasonHost)
	})
	t.Run("H-42 forwarded names are not read", func(t *testing.T) {
		for _, s := range []*wssecuretest.Server{
			named,
			newIssued(t, wssecure.AllowOrigins(wssecuretest.Origin), wssecure.AllowHosts("ws.example.com"), wssecure.TrustProxies("X-Forwarded-For", "private")),
			newIssued(t, wssecure.AllowOrigins(wssecuretest.Origin), wssecure.AllowHosts("ws.example.com"), wssecure.TrustProxies("Forwarded", "private")),
		} {
			for _, line := range []string{"X-Forwarded-Host: %s", "Forwarded: for=192.0.2.7;host=%s", "X-Host: %s", "X-Original-Host: %s"} {
				wantAdmitted(t, s, page(s, wssecuretest.Origin).Add(fmt.Sprintf(line, "evil.net")))
				wantRefused(t, s, page(s, wssecuretest.Origin).Set("Host", "evil.net").Add(fmt.Sprintf(line, "ws.example.com")), 421, wssecure.ReasonHost)
			}
		}
	})
	t.Run("H-42 SetPublicURL names a host", func(t *testing.T) {
		s := newIssued(t, wssecure.SetPublicURL("https://ws.example.com"), wssecure.AllowHosts("internal.example"))
		wantAdmitted(t, s, page(s, "https://ws.example.com"))
		wantAdmitted(t, s, page(s, "https://ws.example.com").Set("Host", "internal.example"))
		wantRefused(t, s, page(s, "https://evil.net").Set("Host", "evil.net"), 421, wssecure.ReasonHost)
		wantRefused(t, s, page(s, "https://internal.example").Set("Host", "internal.example"), 403, wssecure.ReasonOrigin)
	})
}

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
