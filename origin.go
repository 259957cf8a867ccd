package wssecure

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/wssecure/wssecure/internal/origin"
	"github.com/wssecure/wssecure/internal/quote"
)

// AllowOrigins names the origins whose pages may connect: scheme, host and port,
// as "https://app.example.com". A star as the whole first label,
// "https://*.example.com", stands for one or more labels and never for the bare
// domain. With a list the list decides alone; without one the policy is
// same-origin: scheme, host and port of the request, or of [SetPublicURL].
//
// The Origin header is what stops cross-site WebSocket hijacking (RFC 6455
// section 10.2, CWE-1385): browsers send it with every handshake and no script
// can change it. A handshake without it is admitted only for a credential that
// a hostile page cannot make a browser send. See also [RequireOrigin].
func AllowOrigins(list ...string) Option {
	return func(d *draft) {
		if !d.once("AllowOrigins") {
			return
		}
		set, errs := newOriginSet(list)
		d.faultErrs("AllowOrigins", errs)
		d.origins = set
	}
}

// AllowOriginSet is AllowOrigins for a list that changes while the server runs.
func AllowOriginSet(s *OriginSet) Option {
	return func(d *draft) {
		if !d.once("AllowOriginSet") {
			return
		}
		if s == nil || s.list.Load() == nil {
			d.fault("AllowOriginSet", "the set is nil; pass NewOriginSet(...)")
			return
		}
		d.origins = s
	}
}

// OriginSet is a list of origins that can be replaced at run time. Its zero
// value is not usable; see [NewOriginSet].
type OriginSet struct {
	list atomic.Pointer[originList]
}

// originList is a compiled list, and what a refusal tells the operator of it:
// put together once, not for every hostile page.
type originList struct {
	*origin.List
	wanted string
}

func compileOrigins(list []string) (*originList, []error) {
	compiled, errs := origin.NewList(list...)
	if len(errs) > 0 {
		return nil, errs
	}
	return &originList{compiled, quote.Cut("one of "+strings.Join(compiled.Strings(), " "), quote.Value)}, nil
}

// NewOriginSet makes a set of the origins of list, in the form of
// [AllowOrigins]. The error joins every fault of the list.
func NewOriginSet(list ...string) (*OriginSet, error) {
	s, errs := newOriginSet(list)
	if len(errs) > 0 {
		return nil, joinFaults("NewOriginSet", errs)
	}
	return s, nil
}

func newOriginSet(list []string) (*OriginSet, []error) {
	compiled, errs := compileOrigins(list)
	if len(errs) > 0 {
		return nil, errs
	}
	s := &OriginSet{}
	s.list.Store(compiled)
	return s, nil
}

// Replace puts list in place of the present one, for every guard that uses the
// set, from the next handshake on. A list with a fault changes nothing.
func (s *OriginSet) Replace(list ...string) error {
	compiled, errs := compileOrigins(list)
	if len(errs) > 0 {
		return joinFaults("Replace", errs)
	}
	s.list.Store(compiled)
	return nil
}

func joinFaults(option string, errs []error) error {
	joined := make([]error, len(errs))
	for i, err := range errs {
		joined[i] = configError(option, err.Error())
	}
	return errors.Join(joined...)
}

// RequireOrigin refuses every handshake without an Origin header, whatever its
// credential: for endpoints that only browsers use.
func RequireOrigin() Option {
	return func(d *draft) {
		if d.once("RequireOrigin") {
			d.requireOrigin = true
		}
	}
}

// InsecureAllowAnyOrigin admits pages of every site. The value must still be
// one well-formed origin; "null" is not. A route of [Guard.With] that lists its
// own origins ends it there.
func InsecureAllowAnyOrigin(why string) Option {
	return func(d *draft) {
		if d.insecure("InsecureAllowAnyOrigin", why) {
			d.anyOrigin = true
		}
	}
}

// InsecureAllowNullOrigin admits the Origin "null": sandboxed frames, data: and
// file: pages, anybody's among them.
func InsecureAllowNullOrigin(why string) Option {
	return func(d *draft) {
		if d.insecure("InsecureAllowNullOrigin", why) {
			d.nullOrigin = true
		}
	}
}

// InsecureAllowMissingOrigin admits a handshake without an Origin header even
// when its credential is one that a browser sends by itself, or none.
func InsecureAllowMissingOrigin(why string) Option {
	return func(d *draft) {
		if d.insecure("InsecureAllowMissingOrigin", why) {
			d.missingOrigin = true
		}
	}
}

func (d *draft) finishOrigins() {
	if d.given["AllowOrigins"] && d.given["AllowOriginSet"] {
		d.fault("AllowOriginSet", "AllowOrigins is given too; put its origins into the set")
	}
	if (d.given["AllowOrigins"] || d.given["AllowOriginSet"]) && !d.given["InsecureAllowAnyOrigin"] {
		d.anyOrigin = false
		d.fill("InsecureAllowAnyOrigin")
	}
	if d.given["RequireOrigin"] && !d.given["InsecureAllowMissingOrigin"] {
		d.missingOrigin = false
		d.fill("InsecureAllowMissingOrigin")
	}
	if d.requireOrigin && d.missingOrigin {
		d.fault("RequireOrigin", "InsecureAllowMissingOrigin asks for the opposite; remove one")
	}
	named := d.hosts != nil || d.publicURL != nil
	if d.origins != nil || d.anyOrigin || named {
		return
	}
	// Same-origin compares two headers of one request: whoever controls a name
	// that resolves here makes them equal. Only a certificate of that name, or a
	// named Host, stops it.
	switch {
	case d.given["AllowHosts"] || d.given["SetPublicURL"] || d.given["AllowOrigins"] || d.given["AllowOriginSet"]:
		// Its own fault is reported already.
	case d.proxies != nil:
		d.fault("AllowHosts", "missing, and same-origin with TrustProxies is open to DNS rebinding; add AllowHosts, SetPublicURL or AllowOrigins")
	case d.plaintext:
		d.fault("AllowHosts", "missing, and same-origin with InsecureAllowPlaintext is open to DNS rebinding; add AllowHosts, SetPublicURL or AllowOrigins")
	}
}

// originTrust says how an admitted Origin was known; LimitFailures counts only
// handshakes whose page the operator has named.
type originTrust uint8

const (
	originAbsent originTrust = iota
	originLoose              // by a star or an Insecure option
	originExact              // listed exactly, or the same origin
	originRefused
)

// checkOrigin decides who may connect from a browser (RFC 6455 section 10.2).
func (a *attempt) checkOrigin() error {
	lines := a.r.Header[headerOrigin]
	switch {
	case len(lines) == 0:
		return a.checkMissingOrigin()
	case len(lines) > 1:
		a.originTrust = originRefused
		return a.refuseSaying(ReasonOriginDuplicate, func(a *attempt) (seen, wanted string) {
			return fmt.Sprintf("%d lines, the first %s", len(a.r.Header[headerOrigin]), seenOrigin(a)), "one Origin"
		})
	}
	value := lines[0]
	a.originTrust = a.judgeOrigin(value)
	if a.originTrust != originRefused {
		return nil
	}
	return a.refuseSaying(ReasonOrigin, func(a *attempt) (seen, wanted string) {
		if a.isOwnOrigin(first(a.r.Header[headerOrigin])) {
			a.hint = hintOriginIsHost
		}
		return seenOrigin(a), a.policy.originsWanted()
	})
}

func (a *attempt) judgeOrigin(value string) originTrust {
	p := a.policy
	if a.local {
		return originExact
	}
	if value == "null" {
		if p.nullOrigin {
			return originLoose
		}
		return originRefused
	}
	if p.origins != nil {
		switch p.origins.list.Load().Match(value) {
		case origin.Exact:
			return originExact
		case origin.Star:
			return originLoose
		}
	} else if a.isOwnOrigin(value) {
		return originExact
	}
	if p.anyOrigin {
		if _, err := origin.Parse(value); err == nil {
			return originLoose
		}
	}
	return originRefused
}

// isOwnOrigin reports whether value is the origin of this very server.
func (a *attempt) isOwnOrigin(value string) bool {
	o, err := origin.Parse(value)
	if err != nil {
		return false
	}
	if u := a.policy.publicURL; u != nil {
		return o == *u
	}
	return origin.SameOrigin(o, a.scheme(), a.host)
}

// checkMissingOrigin admits a handshake without Origin only for what a hostile
// page cannot make its visitor's browser send: an explicit credential, or a
// client certificate on a request that no browser made.
func (a *attempt) checkMissingOrigin() error {
	p := a.policy
	switch {
	case p.requireOrigin:
		return a.refuse(ReasonOriginMissing, "", "an Origin")
	case a.creds.explicit > 0 || p.missingOrigin:
		return nil
	case p.clientCAs != nil && a.hasClientCert() && !a.looksLikeBrowser():
		return nil
	}
	return a.refuse(ReasonOriginMissing, "", "an Origin, or a credential in Authorization, the subprotocol or a ticket")
}

func (a *attempt) looksLikeBrowser() bool {
	if len(a.r.Header[headerCookie]) > 0 {
		return true
	}
	for name := range a.r.Header {
		if hasPrefixFold(name, "Sec-Fetch-") {
			return true
		}
	}
	return false
}

func (p *policy) originsWanted() string {
	switch {
	case p.origins != nil:
		return p.origins.list.Load().wanted
	case p.publicURL != nil:
		return p.publicURL.String()
	default:
		return "the origin of the Host"
	}
}

// checkFetchMetadata refuses what a browser says is no WebSocket handshake of an
// admitted page (W3C Fetch Metadata). Chromium sends none of these headers with
// a handshake, so they can only add a refusal, never be asked for.
func (a *attempt) checkFetchMetadata() error {
	h := a.r.Header
	mode, site, dest := h[headerFetchMode], h[headerFetchSite], h[headerFetchDest]
	if len(mode)+len(site)+len(dest) == 0 {
		return nil
	}
	if len(mode) > 1 || len(site) > 1 || len(dest) > 1 {
		return a.refuse(ReasonFetchMetadata, "a Sec-Fetch header twice", "each at most once")
	}
	if len(mode) == 1 {
		switch fetched := mode[0] == "cors" || mode[0] == "same-origin"; {
		case a.post && !fetched:
			return a.refuse(ReasonFetchMetadata, "Sec-Fetch-Mode: "+mode[0], "cors or same-origin")
		case !a.post && (fetched || mode[0] == "navigate" || mode[0] == "no-cors"):
			return a.refuse(ReasonFetchMetadata, "Sec-Fetch-Mode: "+mode[0], "websocket")
		}
	}
	if len(dest) == 1 && dest[0] != "empty" && dest[0] != "websocket" {
		return a.refuse(ReasonFetchMetadata, "Sec-Fetch-Dest: "+dest[0], "empty or websocket")
	}
	if len(site) == 1 && !a.local {
		return a.checkFetchSite(site[0])
	}
	return nil
}

func (a *attempt) checkFetchSite(site string) error {
	switch site {
	case "none":
		// A person who types an address makes no handshake.
		return a.refuse(ReasonFetchMetadata, "Sec-Fetch-Site: none", "same-origin, same-site or cross-site")
	case "same-site", "cross-site":
		// The page of an admitted "null" is of no site at all.
		if a.policy.origins == nil && !a.policy.anyOrigin && a.originTrust != originLoose {
			return a.refuse(ReasonFetchMetadata, "Sec-Fetch-Site: "+site, "same-origin")
		}
	}
	return nil
}

// seenOrigin is enough of the first line to know it by.
func seenOrigin(a *attempt) string {
	value := first(a.r.Header[headerOrigin])
	return value[:min(len(value), quote.Origin)]
}

func quotedOrigin(h http.Header) string {
	if lines := h[headerOrigin]; len(lines) > 0 {
		return quote.Cut(lines[0], quote.Origin)
	}
	return ""
}
