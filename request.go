package wssecure

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
)

// RequestInfo is what remains of the handshake's request. No credential, header
// or query token is part of it.
type RequestInfo struct {
	Method string
	Host   string
	URL    *url.URL // path and query, without a credential
	values map[string]string
}

// PathValue is the value of a wildcard of the route's pattern, as
// http.Request.PathValue gave it during the handshake.
func (r RequestInfo) PathValue(name string) string { return r.values[name] }

// Request is a copy of what was asked for: changing it changes nothing.
func (s *Session) Request() RequestInfo {
	u := s.asked.url
	return RequestInfo{Method: s.asked.method, Host: s.asked.host, URL: &u, values: s.asked.values}
}

// asked is what a session has asked for, and over what. It does not change.
type asked struct {
	method, host string
	url          url.URL
	values       map[string]string
	origin, hint string
	tls          tlsFacts
}

func (a *attempt) asks() asked {
	q := asked{
		method: a.r.Method, host: a.r.Host, url: a.cleanURL(), values: pathValues(a.r),
		origin: first(a.r.Header[headerOrigin]), hint: a.hint,
	}
	if t := a.r.TLS; t != nil {
		q.tls = tlsFacts{t.Version, t.CipherSuite, t.CurveID}
	}
	return q
}

func (q *asked) same(p *asked) bool {
	return q.method == p.method && q.host == p.host && q.url == p.url && q.values == nil && p.values == nil &&
		q.origin == p.origin && q.hint == p.hint && q.tls == p.tls
}

// pages lets the sessions of one page share what they have asked for, which is
// the same for most: a third of a session otherwise.
type pages struct{ last atomic.Pointer[asked] }

func (p *pages) share(q asked) *asked {
	if last := p.last.Load(); last != nil && last.same(&q) {
		return last
	}
	own := new(asked)
	*own = q
	p.last.Store(own)
	return own
}

// cleanURL is the request's URL without a credential of any query source.
func (a *attempt) cleanURL() url.URL {
	u := *a.r.URL
	u.User = nil
	for i := range a.policy.sources {
		if s := &a.policy.sources[i]; s.inQuery() {
			r := http.Request{URL: &u}
			stripQuery(&r, s.name)
			u = *r.URL
		}
	}
	return u
}

// pathValues copies the wildcards of the pattern that matched: the router may
// use its own storage for the next request.
func pathValues(r *http.Request) map[string]string {
	if !strings.Contains(r.Pattern, "{") {
		return nil
	}
	values := map[string]string{}
	for part := range strings.SplitSeq(r.Pattern, "{") {
		name, _, ok := strings.Cut(part, "}")
		if name = strings.TrimSuffix(name, "..."); ok && name != "" && name != "$" {
			name, _, _ = strings.Cut(name, ":")
			values[name] = r.PathValue(name)
		}
	}
	return values
}
