package wssecure

import (
	"net/http"
	"slices"
	"strings"
)

// strip returns r as those behind the guard may see it: without the credential
// of any enabled source, also an ignored one (CWE-532), and with the
// subprotocols and extensions that they may negotiate.
func (a *attempt) strip() *http.Request {
	out := new(http.Request)
	*out = *a.r
	header := make(http.Header, len(a.r.Header))
	for name, values := range a.r.Header {
		header[name] = values
	}
	out.Header = header
	for i := range a.policy.sources {
		switch s := &a.policy.sources[i]; s.kind {
		case sourceBearer:
			stripBearer(header)
		case sourceHeader:
			delete(header, s.name)
		case sourceQuery, sourceTicket:
			stripQuery(out, s.name)
		case sourceCookie:
			stripCookie(header, s.name)
		}
	}
	stripHops(header)
	a.offer(header)
	return out
}

// stripHops leaves one upgrade, of one protocol, for the next hop. A reverse
// proxy behind drops every header that Connection names, those that the
// application has set among them: a client could take its own name off a
// request, or ask the backend for h2c.
func stripHops(h http.Header) {
	h[headerUpgrade] = []string{"websocket"}
	h[headerConnection] = []string{"Upgrade"}
	delete(h, headerHTTP2Settings)
}

// offer leaves in header the subprotocols and extensions that the library
// behind may pick.
func (a *attempt) offer(header http.Header) {
	if names := a.pickable(); len(names) > 0 {
		header[headerWSProtocol] = []string{strings.Join(names, ", ")}
	} else {
		delete(header, headerWSProtocol)
	}
	delete(header, headerWSExtensions)
	if a.deflate {
		header[headerWSExtensions] = []string{deflateOffer}
	}
}

// deflateOffer is the one form of permessage-deflate that is handed on: without
// context takeover, so that a connection costs no 32 KiB windows.
const deflateOffer = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"

func stripBearer(h http.Header) {
	kept := slices.DeleteFunc(slices.Clone(h[headerAuth]), func(line string) bool {
		scheme, _ := cutToken(line)
		return equalFold(scheme, "bearer")
	})
	if len(kept) == 0 {
		delete(h, headerAuth)
		return
	}
	h[headerAuth] = kept
}

func stripQuery(r *http.Request, name string) {
	var kept []string
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if key, _, _ := strings.Cut(pair, "="); !isParameter(key, name) {
			kept = append(kept, pair)
		}
	}
	u := *r.URL
	u.RawQuery = strings.Join(kept, "&")
	r.URL = &u
	r.RequestURI = u.RequestURI()
	r.Form, r.PostForm = nil, nil
}

func stripCookie(h http.Header, name string) {
	var kept []string
	for _, line := range h[headerCookie] {
		for pair := range strings.SplitSeq(line, ";") {
			pair = trimBoth(pair)
			if key, _, _ := strings.Cut(pair, "="); !isCookie(key, name) && pair != "" {
				kept = append(kept, pair)
			}
		}
	}
	if len(kept) == 0 {
		delete(h, headerCookie)
		return
	}
	h[headerCookie] = []string{strings.Join(kept, "; ")}
}
