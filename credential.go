package wssecure

import (
	"crypto/sha256"
	"net/url"
	"slices"
	"strings"
)

// credentials is what the enabled sources of one handshake hold.
type credentials struct {
	explicit int    // explicit credentials, whatever their form
	text     string // the one that decides
	ticket   bool   // it is a ticket, and not for the verifier
	marker   string // the marker before it, when it is a subprotocol
	bearer   bool   // it is from Authorization, and its bytes are still to be judged
	fault    string // why it is none by its form; never the text itself
}

// name is what a store may know the credential by. It is a secret as long as it
// is good, and a store may be somebody else's.
func (c *credentials) name() string {
	sum := sha256.Sum256([]byte("wssecure credential name:" + c.text))
	return string(sum[:])
}

// read looks into every source, strongest first, and sets a.offered to the
// subprotocols that are no credential.
func (c *credentials) read(a *attempt, names []string) {
	a.offered = names
	ambient := false
	for i := range a.policy.sources {
		switch s := &a.policy.sources[i]; s.kind {
		case sourceBearer:
			c.readBearer(a.r.Header[headerAuth])
		case sourceSubprotocol:
			a.offered = c.readSubprotocol(s, a.offered)
		case sourceTicket:
			c.readTicket(queryValues(a.r.URL.RawQuery, s.name))
		default:
			ambient = true
		}
	}
	if c.explicit > 1 && c.fault == "" {
		c.fault = "two explicit credentials"
	}
	if c.explicit > 0 || !ambient {
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
	if len(rest) < 2 || rest[0] != ' ' {
		c.fault = bearerFault
		return
	}
	c.text, c.bearer = rest[1:], true
}

const bearerFault = "Authorization: Bearer without one token"

// judge finds what is wrong with the credential by its form. A token is a
// kilobyte long: it is not looked through for who is refused before its turn.
func (c *credentials) judge() (fault string) {
	if c.fault == "" && c.bearer && !isToken68(c.text) {
		c.fault = bearerFault
	}
	return c.fault
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
func isCookie(key, name string) bool { return trimBoth(key) == name }

func cookieValues(lines []string, name string) (values []string) {
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			if key, value, ok := strings.Cut(trimBoth(pair), "="); ok && isCookie(key, name) {
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

// challenge is the WWW-Authenticate value of a refusal with this public reason
// (RFC 6750 section 3).
func challenge(r Reason, p *policy) string {
	const realm = `Bearer realm="ws"`
	switch r {
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
