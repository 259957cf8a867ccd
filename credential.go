package wssecure

import (
	"crypto/sha256"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wssecure/wssecure/internal/clientip"
)

// A Source is a place where a handshake may carry its credential. What a page
// has to put there on purpose is explicit: Authorization, the subprotocol list,
// a ticket. What a browser or a proxy adds by itself is ambient: a header, a query
// parameter, a cookie. The explicit credential beats the ambient one, and a
// header or query parameter beats a cookie; the weaker one is then ignored. Two
// of the same strength are refused (RFC 6750 section 2).
type Source struct {
	kind    sourceKind
	option  string
	name    string
	markers []string
	why     string
}

type sourceKind uint8

const (
	sourceBearer sourceKind = iota + 1
	sourceSubprotocol
	sourceHeader
	sourceQuery
	sourceCookie
	sourceTicket
)

const defaultMarker = "bearer"

// FromBearer reads "Authorization: Bearer <token>" (RFC 6750 section 2.1), which
// every client but a browser can send.
func FromBearer() Source { return Source{kind: sourceBearer, option: "FromBearer"} }

// FromSubprotocol reads the token from the list of subprotocols, where it
// follows a marker, "bearer" unless others are named: in a browser
//
//	new WebSocket(url, ["bearer", token, "chat"])
//
// The answer names a subprotocol of [AllowSubprotocols] when one was offered,
// else the marker, and never the token.
func FromSubprotocol(marker ...string) Source {
	if len(marker) == 0 {
		marker = []string{defaultMarker}
	}
	return Source{kind: sourceSubprotocol, option: "FromSubprotocol", markers: marker}
}

// FromCookie reads the cookie name, which must have the prefix __Host- or
// __Secure-. Browsers send cookies with every handshake, whatever page makes it,
// so a cookie never admits a handshake without an admitted Origin.
func FromCookie(name string) Source {
	return Source{kind: sourceCookie, option: "FromCookie", name: name}
}

// InsecureFromCookie is FromCookie for a name without prefix, which a sibling
// domain or a plaintext page can overwrite.
func InsecureFromCookie(name, why string) Source {
	return Source{kind: sourceCookie, option: "InsecureFromCookie", name: name, why: why}
}

// FromHeader reads a token that a proxy of [TrustProxies] puts into the header
// name, such as Cf-Access-Jwt-Assertion. From anybody else it is ignored.
func FromHeader(name string) Source {
	return Source{kind: sourceHeader, option: "FromHeader", name: http.CanonicalHeaderKey(name)}
}

// InsecureFromQuery reads the query parameter param. URLs end up in the logs of
// every proxy on the way (RFC 9700 section 4.3.2).
func InsecureFromQuery(param, why string) Source {
	return Source{kind: sourceQuery, option: "InsecureFromQuery", name: param, why: why}
}

// reservedHeaders mean something else to somebody on the way.
var reservedHeaders = []string{headerAuth, headerCookie, "Host", headerOrigin, headerUpgrade, headerConnection}

// addSource checks one source; what needs the other options is in finishSources.
func (d *draft) addSource(s Source) {
	switch s.kind {
	case 0:
		d.fault("RequireToken", "a source is empty; use FromBearer, FromSubprotocol, FromCookie or another")
	case sourceCookie:
		d.addCookieSource(s)
	case sourceQuery:
		if !isToken(s.name) {
			d.fault(s.option, "%q is not a parameter name; write one such as \"access_token\"", s.name)
		}
		d.sourceHole(s)
	case sourceHeader:
		if !isToken(s.name) || slices.Contains(reservedHeaders, s.name) || hasPrefixFold(s.name, "Sec-") || clientip.HasForwarding(http.Header{s.name: nil}) {
			d.fault(s.option, "%q is not a header of its own; name the one your proxy sets, as \"X-Token\"", s.name)
		}
	case sourceSubprotocol:
		for _, m := range s.markers {
			if !isToken(m) {
				d.fault(s.option, "%q is not a token; write a marker such as \"bearer\"", m)
			}
		}
	}
}

func (d *draft) addCookieSource(s Source) {
	if !isToken(s.name) {
		d.fault(s.option, "%q is not a cookie name; write one such as \"__Host-sid\"", s.name)
		return
	}
	prefixed := strings.HasPrefix(s.name, "__Host-") || strings.HasPrefix(s.name, "__Secure-")
	if s.option == "FromCookie" && !prefixed {
		d.fault(s.option, "%q has neither prefix __Host- nor __Secure-; write %q, or use InsecureFromCookie", s.name, "__Host-"+s.name)
	}
	if s.option == "InsecureFromCookie" {
		d.sourceHole(s)
	}
}

func (d *draft) sourceHole(s Source) {
	if strings.TrimSpace(s.why) == "" {
		d.fault(s.option, "the reason is empty; say why in a few words")
		return
	}
	d.holes = append(slices.Clip(d.holes), hole{s.option, s.why})
}

// finishSources refuses what would let any site act for its visitor, and finds
// sources that contradict other options.
func (d *draft) finishSources() {
	for i, s := range d.sources {
		if slices.ContainsFunc(d.sources[:i], s.overlaps) {
			d.fault(s.option, "%s is given twice; keep one", s.label())
		}
		switch s.kind {
		case sourceCookie, sourceHeader:
			d.refuseOpenOrigins(s.option)
		case sourceSubprotocol:
			for _, m := range s.markers {
				if slices.Contains(d.subprotocols, m) {
					d.fault("AllowSubprotocols", "%q is the marker of FromSubprotocol; choose another name for one of them", m)
				}
			}
		}
		if s.kind == sourceHeader && d.proxies == nil && !d.given["TrustProxies"] {
			d.fault(s.option, "no proxy is trusted to set %q; add TrustProxies", s.name)
		}
	}
	if d.clientCAs != nil {
		d.refuseOpenOrigins("RequireClientCert")
	}
}

// overlaps reports whether two sources read the same place: each credential
// there would count as two.
func (s Source) overlaps(other Source) bool {
	return (s.kind == other.kind || s.inQuery() && other.inQuery()) && s.name == other.name &&
		(s.kind != sourceSubprotocol || slices.ContainsFunc(s.markers, func(m string) bool { return slices.Contains(other.markers, m) }))
}

func (s Source) inQuery() bool { return s.kind == sourceQuery || s.kind == sourceTicket }

func (s Source) label() string {
	if s.name != "" {
		return strconv.Quote(s.name)
	}
	return "the source"
}

func (d *draft) refuseOpenOrigins(ambient string) {
	if d.anyOrigin {
		d.fault("InsecureAllowAnyOrigin", "with %s any site could act for the visitor; use AllowOrigins or another source", ambient)
	}
	if d.nullOrigin {
		d.fault("InsecureAllowNullOrigin", "with %s any site could act for the visitor; use AllowOrigins or another source", ambient)
	}
}

func (p *policy) sourceNames() string {
	names := make([]string, len(p.sources))
	for i, s := range p.sources {
		names[i] = s.option
	}
	return strings.Join(names, " or ")
}

// credentials is what the enabled sources of one handshake hold.
type credentials struct {
	explicit int    // explicit credentials, whatever their form
	text     string // the one that decides
	ticket   bool   // it is a ticket, and not for the verifier
	marker   string // the marker before it, when it is a subprotocol
	fault    string // why it is none by its form; never the text itself
}

// name is what a table may know the credential by: a ticket is a secret as long
// as it is good, and nothing keeps its text.
func (c *credentials) name() string {
	if !c.ticket {
		return c.text
	}
	sum := sha256.Sum256([]byte("wssecure ticket name:" + c.text))
	return string(sum[:])
}

// read looks into every source, strongest first, and sets a.offered to the
// subprotocols that are no credential.
func (c *credentials) read(a *attempt, names []string) {
	a.offered = names
	for i := range a.policy.sources {
		switch s := &a.policy.sources[i]; s.kind {
		case sourceBearer:
			c.readBearer(a.r.Header[headerAuth])
		case sourceSubprotocol:
			a.offered = c.readSubprotocol(s, a.offered)
		case sourceTicket:
			c.readTicket(queryValues(a.r.URL.RawQuery, s.name))
		}
	}
	if c.explicit > 1 && c.fault == "" {
		c.fault = "two explicit credentials"
	}
	if c.explicit > 0 {
		return
	}
	if c.readAmbient(a, sourceHeader, sourceQuery) {
		return
	}
	c.readAmbient(a, sourceCookie, sourceCookie)
}

// readBearer reads Authorization (RFC 6750 section 2.1). Another scheme is no
// credential of this source; "Bearer" with anything but one token behind one
// blank is a broken one.
func (c *credentials) readBearer(lines []string) {
	if len(lines) > 1 {
		c.explicit += len(lines)
		c.fault = "two Authorization lines"
		return
	}
	if len(lines) == 0 {
		return
	}
	scheme, rest := cutToken(lines[0])
	if !equalFold(scheme, "bearer") {
		return
	}
	c.explicit++
	if len(rest) < 2 || rest[0] != ' ' || !isToken68(rest[1:]) {
		c.fault = "Authorization: Bearer without one token"
		return
	}
	c.text = rest[1:]
}

// readSubprotocol takes marker and token out of the offered names.
func (c *credentials) readSubprotocol(s *Source, names []string) []string {
	for i := 0; i < len(names); i++ {
		if !slices.Contains(s.markers, names[i]) {
			continue
		}
		c.explicit++
		c.marker = names[i]
		if i+1 == len(names) {
			c.fault = "the marker without a token behind it"
			return names[:i:i]
		}
		if !isUnreserved(names[i+1]) {
			c.fault = "a token with bytes outside A-Za-z0-9-._~"
		}
		c.text = names[i+1]
		names = slices.Concat(names[:i], names[i+2:])
		i--
	}
	return names
}

// readTicket counts even an empty one: presence decides, the form is for the
// token's step to judge.
func (c *credentials) readTicket(values []string) {
	for _, text := range values {
		c.explicit++
		c.text, c.ticket = text, true
	}
}

// readAmbient reads the sources of one rank and reports whether one held
// anything.
func (c *credentials) readAmbient(a *attempt, kinds ...sourceKind) bool {
	found := 0
	for i := range a.policy.sources {
		s := &a.policy.sources[i]
		if !slices.Contains(kinds, s.kind) {
			continue
		}
		for _, text := range s.values(a) {
			found++
			c.text = text
		}
	}
	switch {
	case found > 1:
		c.fault = "two credentials of one kind"
	case found == 1 && (c.text == "" || !isVisible(c.text)):
		c.fault = "an empty credential, or one with blanks or control characters"
	}
	return found > 0
}

func (s *Source) values(a *attempt) []string {
	switch s.kind {
	case sourceHeader:
		if a.proxies.Trusts(a.peer) {
			return a.r.Header[s.name]
		}
	case sourceQuery:
		return queryValues(a.r.URL.RawQuery, s.name)
	case sourceCookie:
		return cookieValues(a.r.Header[headerCookie], s.name)
	}
	return nil
}

func queryValues(raw, name string) (values []string) {
	for pair := range strings.SplitSeq(raw, "&") {
		if key, value, _ := strings.Cut(pair, "="); isParameter(key, name) {
			text, err := url.QueryUnescape(value)
			if err != nil {
				text = ""
			}
			values = append(values, text)
		}
	}
	return values
}

func isParameter(escaped, name string) bool {
	key, err := url.QueryUnescape(escaped)
	return err == nil && key == name
}

// isCookie reads blanks before the equals sign as net/http does: the handler
// behind would find a cookie there that the guard has not judged.
func isCookie(key, name string) bool { return strings.Trim(key, " \t") == name }

func cookieValues(lines []string, name string) (values []string) {
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			if key, value, ok := strings.Cut(strings.Trim(pair, " \t"), "="); ok && isCookie(key, name) {
				values = append(values, strings.Trim(value, `"`))
			}
		}
	}
	return values
}

// elsewhere names a place where the peer seems to have put a credential that no
// source reads; the value stays where it is.
func (c *credentials) elsewhere(a *attempt) string {
	if lines := a.r.Header[headerAuth]; len(lines) > 0 {
		if scheme, _ := cutToken(lines[0]); !equalFold(scheme, "bearer") {
			return "Authorization of another scheme"
		}
		return "Authorization, which no source reads"
	}
	if slices.Contains(a.offered, defaultMarker) {
		return "the subprotocol " + defaultMarker + ", which no source reads"
	}
	for i := range a.policy.sources {
		if s := &a.policy.sources[i]; s.kind == sourceHeader && len(a.r.Header[s.name]) > 0 {
			return "the header " + s.name + " from a peer that is no trusted proxy"
		}
	}
	for _, name := range []string{"access_token", "token", "jwt", "auth", ticketParameter} {
		if len(queryValues(a.r.URL.RawQuery, name)) > 0 {
			return "the query parameter " + name + ", which no source reads"
		}
	}
	if len(a.r.Header[headerCookie]) > 0 && !a.policy.reads(sourceCookie) {
		return "a Cookie, which no source reads"
	}
	return "none"
}

func (p *policy) reads(kind sourceKind) bool {
	return slices.ContainsFunc(p.sources, func(s Source) bool { return s.kind == kind })
}

// challenge is the WWW-Authenticate value of a refusal (RFC 6750 section 3).
func challenge(r Reason, p *policy) string {
	const realm = `Bearer realm="ws"`
	switch r.public() {
	case ReasonTokenMissing:
		return realm
	case ReasonCredential:
		return realm + `, error="invalid_request"`
	case ReasonTokenInvalid:
		return realm + `, error="invalid_token"`
	case ReasonAuthLevel:
		return realm + `, error="insufficient_user_authentication"` + p.level.challenge()
	case ReasonScope:
		text := realm + `, error="insufficient_scope"`
		if len(p.scopes) > 0 {
			text += `, scope="` + strings.Join(p.scopes, " ") + `"`
		}
		return text
	}
	return ""
}
