package wssecure

import (
	"net/http"
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

func (p *policy) reads(kind sourceKind) bool {
	return slices.ContainsFunc(p.sources, func(s Source) bool { return s.kind == kind })
}
