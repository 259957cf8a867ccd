package wssecure

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/origin"
)

// Header names of answers, in Go's spelling.
const (
	headerHSTS         = "Strict-Transport-Security"
	headerCSP          = "Content-Security-Policy"
	headerFrame        = "X-Frame-Options"
	headerSniff        = "X-Content-Type-Options"
	headerReferrer     = "Referrer-Policy"
	headerOpener       = "Cross-Origin-Opener-Policy"
	headerResource     = "Cross-Origin-Resource-Policy"
	headerCrossDomain  = "X-Permitted-Cross-Domain-Policies"
	headerCache        = "Cache-Control"
	headerContentType  = "Content-Type"
	headerRetryAfter   = "Retry-After"
	headerAuthenticate = "Www-Authenticate"
	headerAllow        = "Allow"
	headerSetCookie    = "Set-Cookie"
)

const (
	strictCSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	frameCSP  = "frame-ancestors 'none'; base-uri 'self'; object-src 'none'"
	pageCSP   = "default-src 'self'; connect-src 'self'%s; form-action 'self'; " + frameCSP
)

// Values that never change, shared by all answers. Their capacity is their
// length, so that an Add by user code copies.
var (
	valuesStrictCSP = []string{strictCSP}
	valuesFrameCSP  = []string{frameCSP}
	valuesDeny      = []string{"DENY"}
	valuesNoSniff   = []string{"nosniff"}
	valuesNoStore   = []string{"no-store"}
	valuesProblem   = []string{"application/problem+json"}
	valuesClose     = []string{"close"}
	valuesReferrer  = []string{"strict-origin-when-cross-origin"}
	valuesOpener    = []string{"same-origin-allow-popups"}
	valuesResource  = []string{"same-origin"}
	valuesNone      = []string{"none"}
)

// SetHSTS sends value as Strict-Transport-Security (RFC 6797) in place of one
// year without sub-domains. It goes out with every answer over TLS, never for
// localhost or an IP address.
func SetHSTS(value string) Option {
	return func(d *draft) {
		if !d.once("SetHSTS") {
			return
		}
		if text := hstsFault(value); text != "" {
			d.fault("SetHSTS", "%s", text)
			return
		}
		d.hsts = []string{value}
	}
}

// InsecureHSTSOff sends max-age=0, which makes browsers forget that this host
// demands TLS: the way back from HSTS.
func InsecureHSTSOff(why string) Option {
	return func(d *draft) {
		if d.insecure("InsecureHSTSOff", why) {
			d.hsts = []string{"max-age=0"}
		}
	}
}

// SetCSP sends policy as Content-Security-Policy with ordinary answers and
// pages, in place of the guard's. X-Frame-Options follows its frame-ancestors.
// Refusals keep their own strict policy.
func SetCSP(policy string) Option {
	return func(d *draft) {
		if !d.once("SetCSP") {
			return
		}
		if text := cspFault(policy); text != "" {
			d.fault("SetCSP", "%s", text)
			return
		}
		d.csp = []string{policy}
	}
}

// SetHeader adds a header to ordinary answers and pages, or replaces one of the
// guard's there: Permissions-Policy, Cross-Origin-Embedder-Policy and the like.
func SetHeader(name, value string) Option {
	return func(d *draft) {
		key := http.CanonicalHeaderKey(name)
		if !d.once("SetHeader of " + key) {
			return
		}
		if text := headerFault(name, value); text != "" {
			d.fault("SetHeader", "%s", text)
			return
		}
		kept := slices.DeleteFunc(slices.Clone(d.extra), func(h header) bool { return h.name == key })
		d.extra = append(kept, header{key, []string{value}})
	}
}

type header struct {
	name   string
	values []string
}

func (d *draft) finishHeaders() {
	if d.given["SetHSTS"] && d.given["InsecureHSTSOff"] {
		d.fault("InsecureHSTSOff", "SetHSTS asks for the opposite; remove one")
	}
	if d.hsts == nil {
		d.hsts = []string{defaultHSTS}
	}
	d.frame = valuesDeny
	if len(d.csp) > 0 {
		d.frame = frameOptions(d.csp[0])
	}
	for _, e := range d.extra {
		if e.name == headerFrame && !equalFold(e.values[0], first(d.frame)) {
			d.fault("SetHeader", "X-Frame-Options %q contradicts the frame-ancestors that are sent; use frame-ancestors in SetCSP", e.values[0])
		}
	}
}

// frameOptions is the X-Frame-Options that says what the policy's
// frame-ancestors says, or nil where it cannot.
func frameOptions(policy string) []string {
	sources, ok := directive(policy, "frame-ancestors")
	switch {
	case !ok, len(sources) == 0, len(sources) == 1 && equalFold(sources[0], "'none'"):
		return valuesDeny
	case len(sources) == 1 && equalFold(sources[0], "'self'"):
		return []string{"SAMEORIGIN"}
	}
	return nil
}

// directive gives the sources of one directive of a policy; the first of a name
// counts (CSP3 section 2.2.1).
func directive(policy, name string) (sources []string, ok bool) {
	for part := range strings.SplitSeq(policy, ";") {
		words := strings.Fields(part)
		if len(words) > 0 && equalFold(words[0], name) {
			return words[1:], true
		}
	}
	return nil, false
}

// answerHeaders fills in what an answer of `next` lacks: its own value, or
// several, always win, since a page knows its nonces and frames.
func (p *policy) answerHeaders(h http.Header, secure bool, host string, pages bool) {
	for _, e := range p.extra {
		fillHeader(h, e.name, e.values)
	}
	asked, _ := origin.ParseHost(host)
	fillHeader(h, headerHSTS, p.hstsFor(asked, secure))
	fillHeader(h, headerFrame, p.answerFrame(h[headerCSP]))
	if len(h[headerCSP]) == 0 {
		h[headerCSP] = p.answerCSP(host, secure, pages)
	}
	fillHeader(h, headerSniff, valuesNoSniff)
	fillHeader(h, headerReferrer, valuesReferrer)
	if pages {
		fillHeader(h, headerOpener, valuesOpener)
		fillHeader(h, headerResource, valuesResource)
		fillHeader(h, headerCrossDomain, valuesNone)
	}
}

// fillHeader leaves what is set. A nil value, by which a handler keeps net/http
// from adding a header, does not keep ours away.
func fillHeader(h http.Header, name string, values []string) {
	if len(h[name]) == 0 && len(values) > 0 {
		h[name] = values
	}
}

// answerFrame is the X-Frame-Options beside the policies of an answer: its own
// frame-ancestors and ours would else contradict each other (CWE-1021).
func (p *policy) answerFrame(own []string) []string {
	for _, policy := range own {
		if _, ok := directive(policy, "frame-ancestors"); ok {
			return frameOptions(policy)
		}
	}
	return p.frame
}

// answerCSP is the policy of an ordinary answer, or of a page: the latter names
// its own socket, since 'self' does not cover wss in every browser.
func (p *policy) answerCSP(host string, secure, pages bool) []string {
	switch {
	case len(p.csp) > 0:
		return p.csp
	case !pages:
		return valuesFrameCSP
	}
	sources := ""
	asked, err := origin.ParseHost(host)
	if p.publicURL != nil {
		sources = " wss://" + authority(p.publicURL)
	} else if err == nil {
		sources = " wss://" + host
	}
	if err == nil && !secure && (p.plaintext || p.localhost && origin.IsLoopbackHost(asked.Name)) {
		sources += " ws://" + host
	}
	return []string{fmt.Sprintf(pageCSP, sources)}
}

func authority(o *origin.Origin) string {
	_, rest, _ := strings.Cut(o.String(), "://")
	return rest
}

// hstsFor is HSTS where browsers would honour it for the host, and should: over
// TLS, never for an IP address or on a developer's own machine. A malformed host
// has no name.
func (p *policy) hstsFor(host origin.Host, secure bool) []string {
	if !secure || host.Name == "" || origin.IsLocalOrIP(host.Name) {
		return nil
	}
	return p.hsts
}

func (a *attempt) hsts() []string { return a.policy.hstsFor(a.host, a.secure) }

func hstsFault(value string) string {
	if value == "" {
		return fmt.Sprintf("the value is empty; write %q, or leave the option out", defaultHSTS)
	}
	if !isFieldText(value) {
		return fmt.Sprintf("%q contains a control character; write one line", value)
	}
	age, seen := -1, map[string]bool{}
	for part := range strings.SplitSeq(value, ";") {
		name, arg, hasArg := strings.Cut(strings.Trim(part, " "), "=")
		name = strings.ToLower(name)
		switch {
		case seen[name]:
			return fmt.Sprintf("%q has %s twice; keep one", value, name)
		case name == "max-age":
			n, err := strconv.ParseUint(arg, 10, 31)
			if err != nil {
				return fmt.Sprintf("%q has no max-age in seconds; use %q", value, defaultHSTS)
			}
			age = int(n)
		case name != "includesubdomains" && name != "preload", hasArg:
			return fmt.Sprintf("%q has an unknown directive; use max-age, includeSubDomains and preload", value)
		}
		seen[name] = true
	}
	switch {
	case age < 0:
		return fmt.Sprintf("%q has no max-age in seconds; use %q", value, defaultHSTS)
	case age == 0:
		return fmt.Sprintf("%q switches HSTS off; use InsecureHSTSOff", value)
	case seen["preload"] && (age < 31536000 || !seen["includesubdomains"]):
		return fmt.Sprintf("%q is not fit for preload; use max-age=31536000 or more and includeSubDomains", value)
	}
	return ""
}

func cspFault(policy string) string {
	if strings.TrimSpace(policy) == "" {
		return "the policy is empty; write one, or leave the option out"
	}
	if !isFieldText(policy) {
		return fmt.Sprintf("%q contains a control character; write one line", policy)
	}
	if strings.Contains(policy, ",") {
		// A comma in the header begins another policy, whose frame-ancestors and
		// connect-src nobody here has read.
		return fmt.Sprintf("%q holds a comma, which begins another policy; part directives with semicolons", policy)
	}
	sources, _ := directive(policy, "connect-src")
	for _, s := range sources {
		switch strings.TrimSuffix(strings.ToLower(s), "//*") {
		case "wss:", "ws:", "https:", "http:", "*":
			return fmt.Sprintf(`connect-src %q allows every host; write "wss://ws.example.com"`, s)
		}
	}
	return ""
}

// refusedHeaders have a meaning for the connection or belong to somebody else.
var refusedHeaders = []string{
	headerSetCookie, headerConnection, headerUpgrade, "Transfer-Encoding", "Content-Length", headerContentType,
	"Content-Encoding", "Content-Range",
	"Keep-Alive", "Te", "Trailer", "Date", "Location", headerAuthenticate, "Host",
}

func headerFault(name, value string) string {
	key := http.CanonicalHeaderKey(name)
	switch {
	case !isToken(name):
		return fmt.Sprintf("%q is no header name; write one such as \"Permissions-Policy\"", name)
	case strings.TrimSpace(value) == "":
		return fmt.Sprintf("%s has an empty value; write one, or leave the option out", name)
	case !isFieldText(value):
		return fmt.Sprintf("%s %q contains a control character; write one line", name, value)
	case key == headerHSTS:
		return fmt.Sprintf("%q has an option of its own; use SetHSTS", name)
	case key == headerCSP:
		return fmt.Sprintf("%q has an option of its own; use SetCSP", name)
	case slices.Contains(refusedHeaders, key), hasPrefixFold(key, "Sec-"), hasPrefixFold(key, "Access-Control-"):
		return fmt.Sprintf("%q is not the guard's; set it in your handler", name)
	case key == headerFrame && !equalFold(value, "DENY") && !equalFold(value, "SAMEORIGIN"):
		return fmt.Sprintf("X-Frame-Options %q is ignored by browsers; use frame-ancestors in SetCSP", value)
	}
	return ""
}

// isFieldText is the field value of RFC 9110 section 5.5 in one line.
func isFieldText(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

const (
	hostPrefix    = "__Host-"
	longestCookie = 4096
	longestAge    = 400 * 24 * time.Hour // what browsers keep, RFC 6265bis section 5.5
)

// Cookie makes a session cookie as hard to steal or to overwrite as browsers
// allow: prefix __Host-, Secure, HttpOnly, SameSite=Strict, path "/". A maxAge
// of zero or less deletes it, more than 400 days are cut to that. For a name or
// value that a cookie cannot carry it returns nil, which http.SetCookie
// ignores: never a silently altered value.
//
// SameSite does not stop a page of a sibling domain; the Origin check does.
func Cookie(name, value string, maxAge time.Duration) *http.Cookie {
	name = strings.TrimPrefix(name, hostPrefix)
	if !isToken(name) || !isCookieValue(value) || len(hostPrefix)+len(name)+len(value) > longestCookie {
		return nil
	}
	seconds := -1 // net/http writes Max-Age=0 for it
	if maxAge > 0 {
		seconds = max(1, int(min(maxAge, longestAge)/time.Second))
	}
	return &http.Cookie{
		Name: hostPrefix + name, Value: value, Path: "/", MaxAge: seconds,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

func isCookieValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`",;\`, c) >= 0 {
			return false
		}
	}
	return true
}
