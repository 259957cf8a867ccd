package wssecure_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// challenges are the WWW-Authenticate values of the reasons that have one.
var challenges = map[wssecure.Reason]string{
	wssecure.ReasonTokenMissing: `Bearer realm="ws"`,
	wssecure.ReasonCredential:   `Bearer realm="ws", error="invalid_request"`,
	wssecure.ReasonTokenInvalid: `Bearer realm="ws", error="invalid_token"`,
	wssecure.ReasonTokenForged:  `Bearer realm="ws", error="invalid_token"`,
	wssecure.ReasonTokenExpired: `Bearer realm="ws", error="invalid_token"`,
	wssecure.ReasonRevoked:      `Bearer realm="ws", error="invalid_token"`,
	wssecure.ReasonAuthLevel:    `Bearer realm="ws", error="insufficient_user_authentication"`,
}

// wantDenied is wantRefused with the reason's challenge.
func wantDenied(t *testing.T, s *wssecuretest.Server, hs *probe.Handshake, status int, reason wssecure.Reason) (*probe.Response, wssecure.Event) {
	t.Helper()
	r, e := wantRefused(t, s, hs, status, reason)
	wantStatusHeaders(t, r, reason)
	if got := strings.Join(r.Values("WWW-Authenticate"), "|"); got != challenges[reason] {
		t.Errorf("WWW-Authenticate: %q, want %q", got, challenges[reason])
	}
	return r, e
}

// credentialRow is a handshake without a credential and the lines that bring
// one. $T is a good token, $U another, $X one that is forged; a line that begins
// with a slash is the target.
type credentialRow struct {
	name   string
	lines  []string
	status int
	reason wssecure.Reason
	seen   string // in the event
	header string // Sec-WebSocket-Protocol of a 101
}

func (row *credentialRow) check(t *testing.T, s *wssecuretest.Server) {
	t.Helper()
	good, other := s.Issuer.Token("alice"), s.Issuer.Token("bob")
	broken := spoil(s.Issuer.Token("mallory"))
	hs := s.Handshake("")
	for _, line := range row.lines {
		line = strings.NewReplacer("$T", good, "$U", other, "$X", broken).Replace(line)
		if strings.HasPrefix(line, "/") {
			hs.Target = line
			continue
		}
		hs.Add(line)
	}
	if row.status == 101 {
		r, _ := wantAdmitted(t, s, hs)
		if got := strings.Join(r.Values("Sec-WebSocket-Protocol"), "|"); got != row.header {
			t.Errorf("Sec-WebSocket-Protocol: %q, want %q", got, row.header)
		}
		return
	}
	_, e := wantDenied(t, s, hs, row.status, row.reason)
	if !strings.Contains(e.Seen, row.seen) {
		t.Errorf("the event saw %q, want %q", e.Seen, row.seen)
	}
	for _, token := range []string{good, other, broken} {
		if all := fmt.Sprintf("%+v", e); strings.Contains(all, token) || strings.Contains(all, token[len(token)-20:]) {
			t.Errorf("the event shows a credential: %s", all)
		}
	}
}

// spoil changes one character in the middle of the signature.
func spoil(token string) string {
	i := len(token) - 20
	c := byte('A')
	if token[i] == c {
		c = 'B'
	}
	return token[:i] + string(c) + token[i+1:]
}

// withSources is the fixture with other sources.
func withSources(t *testing.T, from []wssecure.Source, more ...wssecure.Option) *wssecuretest.Server {
	t.Helper()
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{Options: append([]wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(from...)}, more...)})
	s.Issuer = issuer
	return s
}

const (
	missing = wssecure.ReasonTokenMissing
	badForm = wssecure.ReasonCredential
	invalid = wssecure.ReasonTokenInvalid
	forged  = wssecure.ReasonTokenForged
	subprot = wssecure.ReasonSubprotocol
)

var credentialTables = []struct {
	name    string
	from    []wssecure.Source
	options []wssecure.Option
	rows    []credentialRow
}{
	{"default sources", nil, nil, []credentialRow{
		{"A-01", nil, 401, missing, "none", ""},
		{"A-04 Basic", []string{"Authorization: Basic YWxpY2U6cHc="}, 401, missing, "another scheme", ""},
		{"A-04 Digest", []string{"Authorization: Digest username=\"alice\""}, 401, missing, "another scheme", ""},
		{"A-04 DPoP", []string{"Authorization: DPoP $T"}, 401, missing, "another scheme", ""},
		{"A-04 an empty Authorization", []string{"Authorization:"}, 401, missing, "", ""},
		{"A-02 Bearer", []string{"Authorization: Bearer $T"}, 101, "", "", ""},
		{"A-02 bearer", []string{"Authorization: bearer $T"}, 101, "", "", ""},
		{"A-02 BEARER", []string{"Authorization: BEARER $T"}, 101, "", "", ""},
		{"A-03 Bearer alone", []string{"Authorization: Bearer"}, 400, badForm, "", ""},
		{"A-03 two blanks", []string{"Authorization: Bearer  $T"}, 400, badForm, "", ""},
		{"A-03 TAB", []string{"Authorization: Bearer\t$T"}, 400, badForm, "", ""},
		{"A-03 Bearer a b", []string{"Authorization: Bearer $T b"}, 400, badForm, "", ""},
		{"A-03 Bearer a,b", []string{"Authorization: Bearer $T,b"}, 400, badForm, "", ""},
		{"A-03 Bearer a, Bearer b", []string{"Authorization: Bearer $T, Bearer $U"}, 400, badForm, "", ""},
		{"A-03 not ASCII", []string{"Authorization: Bearer é"}, 400, badForm, "", ""},
		{"A-03 an equals sign within", []string{"Authorization: Bearer a=b"}, 400, badForm, "", ""},
		{"A-05 two lines", []string{"Authorization: Bearer $T", "Authorization: Bearer $U"}, 400, badForm, "", ""},
		{"A-05 two lines, equal", []string{"Authorization: Bearer $T", "Authorization: Bearer $T"}, 400, badForm, "", ""},
		{"A-05 Basic and Bearer", []string{"Authorization: Basic eDp5", "Authorization: Bearer $T"}, 400, badForm, "", ""},
		{"A-06 two sources, equal", []string{"Authorization: Bearer $T", "Sec-WebSocket-Protocol: bearer, $T"}, 400, badForm, "two explicit", ""},
		{"A-06 two sources, unlike", []string{"Authorization: Bearer $T", "Sec-WebSocket-Protocol: bearer, $U"}, 400, badForm, "two explicit", ""},
		{"A-06 a bad one beside a good one", []string{"Authorization: Bearer", "Sec-WebSocket-Protocol: bearer, $U"}, 400, badForm, "", ""},
		{"A-07 query", []string{"/ws?access_token=$T"}, 401, missing, "query parameter access_token", ""},
		{"A-07 query, escaped name", []string{"/ws?acc%65ss_token=$T"}, 401, missing, "query parameter access_token", ""},
		{"A-07 cookie", []string{"Cookie: __Host-sid=$T"}, 401, missing, "a Cookie", ""},
		{"A-08 bearer alone", []string{"Sec-WebSocket-Protocol: bearer, $T"}, 101, "", "", "bearer"},
		{"A-08 no blank", []string{"Sec-WebSocket-Protocol: bearer,$T"}, 101, "", "", "bearer"},
		{"A-32 marker last", []string{"Sec-WebSocket-Protocol: chat, bearer"}, 400, badForm, "marker", ""},
		{"A-32 marker alone", []string{"Sec-WebSocket-Protocol: bearer"}, 400, badForm, "marker", ""},
		{"A-32 marker last, token first", []string{"Sec-WebSocket-Protocol: $T, bearer"}, 400, badForm, "marker", ""},
		{"A-32 not of the alphabet", []string{"Sec-WebSocket-Protocol: bearer, $T+"}, 400, badForm, "bytes outside", ""},
		{"A-32 exclamation mark", []string{"Sec-WebSocket-Protocol: bearer, $T!"}, 400, badForm, "bytes outside", ""},
		{"A-32 padding is no token of HTTP", []string{"Sec-WebSocket-Protocol: bearer, $T=="}, 400, subprot, "name 2", ""},
		{"A-32 slash is no token of HTTP", []string{"Sec-WebSocket-Protocol: bearer, $T/"}, 400, subprot, "name 2", ""},
		{"A-32 the token twice", []string{"Sec-WebSocket-Protocol: bearer, $T, $T"}, 400, subprot, "name 3", ""},
		{"A-51 a good cookie beside a bad token", []string{"Authorization: Bearer $X", "Cookie: __Host-sid=$T"}, 401, forged, "", ""},
	}},
	{"subprotocols", nil, []wssecure.Option{wssecure.AllowSubprotocols("chat", "log")}, []credentialRow{
		{"A-08 chat first", []string{"Sec-WebSocket-Protocol: chat, bearer, $T"}, 101, "", "", "chat"},
		{"A-08 chat last", []string{"Sec-WebSocket-Protocol: bearer, $T, chat"}, 101, "", "", "chat"},
		{"A-08 two lines", []string{"Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: bearer, $T"}, 101, "", "", "chat"},
		{"A-08 cut between marker and token", []string{"Sec-WebSocket-Protocol: chat, bearer", "Sec-WebSocket-Protocol: $T"}, 101, "", "", "chat"},
		{"A-08 nothing else", []string{"Sec-WebSocket-Protocol: bearer, $T"}, 101, "", "", "bearer"},
		{"A-08 none that is allowed", []string{"Sec-WebSocket-Protocol: bearer, $T, v9"}, 101, "", "", "bearer"},
		{"A-08 forged", []string{"Sec-WebSocket-Protocol: chat, bearer, $X"}, 401, forged, "", ""},
		{"A-08 a token named chat", []string{"Sec-WebSocket-Protocol: bearer, chat"}, 401, invalid, "", ""},
	}},
	{"subprotocol required", nil, []wssecure.Option{wssecure.AllowSubprotocols("chat"), wssecure.RequireSubprotocol()}, []credentialRow{
		{"A-32 marker alone", []string{"Sec-WebSocket-Protocol: bearer"}, 400, subprot, "", ""},
		{"A-32 credential alone", []string{"Sec-WebSocket-Protocol: bearer, $T"}, 400, subprot, "", ""},
	}},
	{"bearer only", []wssecure.Source{wssecure.FromBearer()}, []wssecure.Option{wssecure.AllowSubprotocols("chat"), wssecure.RequireSubprotocol()}, []credentialRow{
		{"A-07 subprotocol", []string{"Sec-WebSocket-Protocol: chat, bearer, $T"}, 401, missing, "subprotocol bearer", ""},
		{"A-07 subprotocol, another missing", []string{"Sec-WebSocket-Protocol: bearer, $T"}, 400, subprot, "", ""},
	}},
	{"two markers", []wssecure.Source{wssecure.FromSubprotocol("access_token", "bearer")}, nil, []credentialRow{
		{"A-52 the first", []string{"Sec-WebSocket-Protocol: access_token, $T"}, 101, "", "", "access_token"},
		{"A-52 the second", []string{"Sec-WebSocket-Protocol: bearer, $T"}, 101, "", "", "bearer"},
		{"A-06 both", []string{"Sec-WebSocket-Protocol: access_token, $T, bearer, $U"}, 400, badForm, "two explicit", ""},
		{"A-07 Authorization", []string{"Authorization: Bearer $T"}, 401, missing, "Authorization, which no source reads", ""},
	}},
	{"cookie", []wssecure.Source{wssecure.FromBearer(), wssecure.FromCookie("__Host-sid")}, nil, []credentialRow{
		{"A-11", []string{"Cookie: __Host-sid=$T"}, 101, "", "", ""},
		{"A-11 among others", []string{"Cookie: a=b; __Host-sid=$T; c=d"}, 101, "", "", ""},
		{"A-11 quoted", []string{`Cookie: __Host-sid="$T"`}, 101, "", "", ""},
		{"A-11 in the second line", []string{"Cookie: a=b", "Cookie: __Host-sid=$T"}, 101, "", "", ""},
		{"A-11 twice", []string{"Cookie: __Host-sid=$T; __Host-sid=$U"}, 400, badForm, "two credentials", ""},
		{"A-11 twice, equal, two lines", []string{"Cookie: __Host-sid=$T", "Cookie: __Host-sid=$T"}, 400, badForm, "two credentials", ""},
		{"A-11 twice, once with a blank", []string{"Cookie: __Host-sid=$T; __Host-sid =$U"}, 400, badForm, "two credentials", ""},
		{"A-11 empty", []string{"Cookie: __Host-sid="}, 400, badForm, "empty", ""},
		{"A-11 another case", []string{"Cookie: __host-sid=$T"}, 401, missing, "none", ""},
		{"A-51 a bad cookie beside a good token", []string{"Authorization: Bearer $T", "Cookie: __Host-sid=$X"}, 101, "", "", ""},
		{"A-51 a good cookie beside a bad token", []string{"Authorization: Bearer $X", "Cookie: __Host-sid=$T"}, 401, forged, "", ""},
		{"A-51 two cookies beside a good token", []string{"Authorization: Bearer $T", "Cookie: __Host-sid=$U; __Host-sid=$X"}, 101, "", "", ""},
		{"A-51 a good cookie beside a broken Authorization", []string{"Authorization: Bearer", "Cookie: __Host-sid=$T"}, 400, badForm, "", ""},
	}},
	{"secure cookie", []wssecure.Source{wssecure.FromCookie("__Secure-sid")}, nil, []credentialRow{
		{"A-11", []string{"Cookie: __Secure-sid=$T"}, 101, "", "", ""},
	}},
	{"insecure cookie", []wssecure.Source{wssecure.InsecureFromCookie("sid", "test")}, nil, []credentialRow{
		{"A-11", []string{"Cookie: sid=$T"}, 101, "", "", ""},
	}},
	{"query", []wssecure.Source{wssecure.FromBearer(), wssecure.InsecureFromQuery("t", "test"), wssecure.FromCookie("__Host-sid")}, nil, []credentialRow{
		{"A-34", []string{"/ws?t=$T"}, 101, "", "", ""},
		{"A-34 escaped", []string{"/ws?a=1&%74=$T&b"}, 101, "", "", ""},
		{"A-34 twice", []string{"/ws?t=$T&t=$U"}, 400, badForm, "two credentials", ""},
		{"A-34 twice, once escaped", []string{"/ws?t=$T&%74=$T"}, 400, badForm, "two credentials", ""},
		{"A-34 empty", []string{"/ws?t="}, 400, badForm, "empty", ""},
		{"A-34 broken escape", []string{"/ws?t=%zz"}, 400, badForm, "empty", ""},
		{"A-51 a bad query token beside a good one", []string{"/ws?t=$X", "Authorization: Bearer $T"}, 101, "", "", ""},
		{"A-51 a good query token beside a bad one", []string{"/ws?t=$T", "Authorization: Bearer $X"}, 401, forged, "", ""},
		{"A-51 a bad cookie beside a good query token", []string{"/ws?t=$T", "Cookie: __Host-sid=$X"}, 101, "", "", ""},
		{"A-51 a good cookie beside a bad query token", []string{"/ws?t=$X", "Cookie: __Host-sid=$T"}, 401, forged, "", ""},
	}},
	{"header", []wssecure.Source{wssecure.FromHeader("X-Auth"), wssecure.InsecureFromQuery("t", "test")}, []wssecure.Option{wssecure.TrustProxies("X-Forwarded-For", "127.0.0.0/8")}, []credentialRow{
		{"A-54", []string{"X-Auth: $T"}, 101, "", "", ""},
		{"A-54 another case", []string{"x-auth: $T"}, 101, "", "", ""},
		{"A-54 two lines", []string{"X-Auth: $T", "X-Auth: $U"}, 400, badForm, "two credentials", ""},
		{"A-54 two in one line", []string{"X-Auth: $T, $U"}, 400, badForm, "", ""},
		{"A-06 header and query", []string{"X-Auth: $T", "/ws?t=$U"}, 400, badForm, "two credentials", ""},
	}},
	{"header of a stranger", []wssecure.Source{wssecure.FromHeader("X-Auth")}, []wssecure.Option{wssecure.TrustProxies("X-Forwarded-For", "192.0.2.0/24")}, []credentialRow{
		{"A-54", []string{"X-Auth: $T"}, 401, missing, "X-Auth from a peer that is no trusted proxy", ""},
	}},
}

func TestCredentialRows(t *testing.T) {
	for _, table := range credentialTables {
		t.Run(table.name, func(t *testing.T) {
			s := withSources(t, table.from, table.options...)
			for _, row := range table.rows {
				t.Run(row.name, func(t *testing.T) { row.check(t, s) })
			}
		})
	}
}

// TestMarkerUnderHandler is A-52: a library that picks no subprotocol still
// answers a browser that has offered only its credential.
func TestMarkerUnderHandler(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(wssecure.FromSubprotocol("access_token", "bearer"))},
		Handler: func(g *wssecure.Guard) http.Handler {
			return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Sec-WebSocket-Protocol"); got != r.URL.Query().Get("left") {
					t.Errorf("A-33: the library sees %q", got)
				}
				c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"chat"}})
				if err != nil {
					t.Error(err)
					return
				}
				c.CloseNow()
			}))
		},
	})
	for _, row := range []struct{ offer, left, want string }{
		{"bearer, %s", "", "bearer"},
		{"access_token, %s", "", "access_token"},
		{"bearer, %s, log", "log", "bearer"},
		{"log, bearer, %s, chat", "log,+chat", "chat"},
	} {
		t.Run("A-52 "+row.offer, func(t *testing.T) {
			hs := s.Handshake("").Set("Sec-WebSocket-Protocol", fmt.Sprintf(row.offer, issuer.Token("alice")))
			hs.Target = "/ws?left=" + row.left
			r, _ := wantAdmitted(t, s, hs)
			if got := strings.Join(r.Values("Sec-WebSocket-Protocol"), "|"); got != row.want {
				t.Errorf("%q, want %q", got, row.want)
			}
		})
	}
}

// TestCredentialsAreStripped is: what is behind the guard sees no
// credential of an enabled source, also an ignored one, and everything else.
func TestCredentialsAreStripped(t *testing.T) {
	seen := make(chan *http.Request, 1)
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{
			wssecure.AllowOrigins(wssecuretest.Origin), wssecure.TrustProxies("X-Forwarded-For", "192.0.2.1"),
			issuer.Option(wssecure.FromBearer(), wssecure.FromSubprotocol(), wssecure.FromHeader("X-Auth"),
				wssecure.InsecureFromQuery("t", "test"), wssecure.FromCookie("__Host-sid")),
		},
		Handler: func(g *wssecure.Guard) http.Handler {
			return g.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				session, _ := wssecure.SessionFrom(r.Context())
				if got := session.Request().URL.String(); got != "/ws?a=1&b=%74" {
					t.Errorf("Session.Request: %s", got)
				}
				seen <- r
				w.WriteHeader(http.StatusForbidden)
			}))
		},
	})
	for _, row := range []struct{ name, line string }{
		{"Authorization", "Authorization: Bearer $T"},
		{"subprotocol", "Sec-WebSocket-Protocol: log, bearer, $T, chat"},
	} {
		t.Run("A-33 "+row.name, func(t *testing.T) {
			token := issuer.Token("alice")
			hs := s.Handshake("").Add(strings.Replace(row.line, "$T", token, 1)).
				Add("X-Auth: canary").Add("Cookie: a=b; __Host-sid=canary; c=d; __Host-sid =canary").Add("Cookie: __Host-sid=canary; e=f")
			hs.Target = "/ws?a=1&t=canary&b=%74&%74=canary"
			if r, _ := ask(t, s, hs); r.Status != 403 {
				t.Fatalf("status %d", r.Status)
			}
			r := <-seen
			all := fmt.Sprintf("%v %v %v %v", r.Header, r.URL, r.RequestURI, r.Form)
			if strings.Contains(all, "canary") || strings.Contains(all, token) {
				t.Errorf("a credential is left: %s", all)
			}
			if got := r.Header.Get("Cookie"); got != "a=b; c=d; e=f" {
				t.Errorf("A-53 cookies: %q", got)
			}
			if r.RequestURI != "/ws?a=1&b=%74" || r.URL.RawQuery != "a=1&b=%74" {
				t.Errorf("A-53 query: %q, %q", r.RequestURI, r.URL.RawQuery)
			}
			if got := r.Header.Get("Sec-WebSocket-Protocol"); strings.HasPrefix(row.line, "Sec") && got != "log, chat" {
				t.Errorf("A-53 subprotocols: %q", got)
			}
		})
	}
	t.Run("A-53 another scheme stays", func(t *testing.T) {
		hs := s.Handshake("").Add("Authorization: Basic eDp5").Set("Sec-WebSocket-Protocol", "bearer, "+issuer.Token("alice"))
		hs.Target = "/ws?a=1&b=%74"
		ask(t, s, hs)
		if got := (<-seen).Header.Get("Authorization"); got != "Basic eDp5" {
			t.Errorf("Authorization: %q", got)
		}
	})
}

// wantFault makes a guard and wants this one line of configuration errors.
func wantFault(t *testing.T, want string, opts ...wssecure.Option) {
	t.Helper()
	_, err := wssecure.New(opts...)
	if err == nil {
		t.Fatalf("no error, want %q", want)
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if strings.Contains(line, want) {
			return
		}
	}
	t.Errorf("errors %q, want %q", err, want)
}

func TestSourceFaults(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	origins := wssecure.AllowOrigins(wssecuretest.Origin)
	for _, from := range []wssecure.Source{wssecure.FromCookie("__Host-sid"), wssecure.InsecureFromCookie("sid", "test"), wssecure.FromHeader("X-Auth")} {
		proxies := wssecure.TrustProxies("X-Forwarded-For", "private")
		wantFault(t, "InsecureAllowAnyOrigin: with ", issuer.Option(from), proxies, wssecure.InsecureAllowAnyOrigin("A-10"))
		wantFault(t, "InsecureAllowNullOrigin: with ", origins, issuer.Option(from), proxies, wssecure.InsecureAllowNullOrigin("A-10"))
	}
	for _, row := range []struct {
		want string
		from []wssecure.Source
	}{
		{`FromCookie: "sid" has neither prefix __Host- nor __Secure-; write "__Host-sid", or use InsecureFromCookie`, []wssecure.Source{wssecure.FromCookie("sid")}},
		{`InsecureFromCookie: the reason is empty`, []wssecure.Source{wssecure.InsecureFromCookie("sid", " ")}},
		{`InsecureFromQuery: the reason is empty`, []wssecure.Source{wssecure.InsecureFromQuery("t", "")}},
		{`InsecureFromQuery: "" is not a parameter name; write one such as "access_token"`, []wssecure.Source{wssecure.InsecureFromQuery("", "test")}},
		{`FromHeader: no proxy is trusted to set "X-Token"; add TrustProxies`, []wssecure.Source{wssecure.FromHeader("X-Token")}},
		{`FromSubprotocol: "a b" is not a token`, []wssecure.Source{wssecure.FromSubprotocol("a b")}},
		{`FromBearer: the source is given twice`, []wssecure.Source{wssecure.FromBearer(), wssecure.FromBearer()}},
		{`FromSubprotocol: the source is given twice`, []wssecure.Source{wssecure.FromSubprotocol(), wssecure.FromSubprotocol("t", "bearer")}},
		{`InsecureFromCookie: "__Host-sid" is given twice`, []wssecure.Source{wssecure.FromCookie("__Host-sid"), wssecure.InsecureFromCookie("__Host-sid", "test")}},
		{`FromTicket: "ticket" is given twice; keep one`, []wssecure.Source{wssecure.FromTicket(), wssecure.FromTicket()}},
		{`FromTicket: "ticket" is given twice; keep one`, []wssecure.Source{wssecure.InsecureFromQuery("ticket", "test"), wssecure.FromTicket()}},
		{`RequireToken: a source is empty`, []wssecure.Source{{}}},
	} {
		wantFault(t, row.want, origins, issuer.Option(row.from...))
	}
	for _, name := range []string{
		"", "a b", "authorization", "Cookie", "Host", "Origin", "Upgrade", "Connection", "Sec-Auth", "Sec-WebSocket-Key",
		"X-Forwarded-For", "X-Forwarded-User", "Forwarded", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP",
	} {
		wantFault(t, "FromHeader: ", origins, issuer.Option(wssecure.FromHeader(name)), wssecure.TrustProxies("X-Forwarded-For", "private"))
	}
	wantFault(t, `AllowSubprotocols: "bearer" is the marker of FromSubprotocol`, origins, issuer.Option(), wssecure.AllowSubprotocols("chat", "bearer"))
	wantFault(t, "RequireToken: is given twice; join the verifiers with AnyOf", origins, issuer.Option(), issuer.Option())
}

func TestEverySourceWithAHoleIsTold(t *testing.T) {
	issuer := wssecuretest.NewIssuer(t, "")
	g := &gate{t: t, issuer: issuer}
	g.start(quiet, opts(issuer.Option(wssecure.InsecureFromQuery("t", "one"), wssecure.InsecureFromCookie("a", "two"), wssecure.InsecureFromCookie("b", "three"))))
	g.await(wssecure.EventInsecure, 4)
	var told []string
	for _, e := range g.seen(wssecure.EventInsecure) {
		told = append(told, e.Hint)
	}
	slices.Sort(told)
	if want := []string{"no network", "one", "three", "two"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
