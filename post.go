package wssecure

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/wssecure/wssecure/internal/origin"
	"github.com/wssecure/wssecure/store"
)

// This file is the door of the guard's own endpoints, which a page asks with
// fetch before or beside its socket: a POST goes through the very checks of a
// handshake, from the transport to those of the application.

// TicketHandler swaps a credential for a single-use ticket: a POST with what
// [RequireToken]'s other sources read (Authorization when there is none) answers
//
//	{"ticket":"…","expires_in":30}
//
// after the checks that a handshake would pass, from the transport to
// [RequireCheck]. The ticket is good for the Origin that asked and, when the form
// names a path, as path=/ws, for that path alone. Each person gets as many a
// minute as sessions may be open ([LimitConns] by subject), at least 64, then 429.
// Pages of a listed Origin may ask across origins (CORS); others get no such
// header. What is not a POST gets 405, a guard without [FromTicket] answers 404.
func (g *Guard) TicketHandler() http.Handler {
	if !g.policy.reads(sourceTicket) {
		return g.postHandler(notFound("a guard that reads no tickets", "FromTicket", "add FromTicket() to RequireToken"), nil)
	}
	return g.postHandler((*attempt).checkPost, (*attempt).answerTicket)
}

// notFound answers 404 in place of an endpoint that the guard's options leave
// without a purpose.
func notFound(seen, wanted, hint string) func(*attempt) error {
	return func(a *attempt) error {
		a.status = http.StatusNotFound
		a.hint = hint
		return a.refuse(ReasonForbidden, seen, wanted)
	}
}

// postHandler runs first, then the checks of a handshake that hold for a POST,
// then answer, which writes the response or refuses.
func (g *Guard) postHandler(first func(*attempt) error, answer func(*attempt) error) http.Handler {
	posts := g.entry(append([]namedCheck{{"shape", first}}, between("transport", "custom")...))
	asks := g.entry(slices.Concat(between("transport", "transport"), between("host", "origin")))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer != nil && isPreflight(r) {
			asks.servePost(w, r, (*attempt).answerPreflight)
			return
		}
		posts.servePost(w, r, answer)
	})
}

// entry is g for requests that are no handshakes: with these checks, and with the
// sources that a POST can be expected to carry.
func (g *Guard) entry(checks []namedCheck) *Guard {
	p := *g.policy
	p.checks = checks
	p.sources = slices.DeleteFunc(slices.Clone(p.sources), func(s Source) bool { return s.kind == sourceTicket })
	if !slices.ContainsFunc(p.sources, func(s Source) bool { return s.kind != sourceSubprotocol }) {
		p.sources = append(p.sources, FromBearer())
	}
	return &Guard{core: g.core, policy: &p}
}

// between is the part of the order from one check to another, both included.
func between(first, last string) []namedCheck {
	from := slices.IndexFunc(order, func(c namedCheck) bool { return c.name == first })
	to := slices.IndexFunc(order, func(c namedCheck) bool { return c.name == last })
	return slices.Clone(order[from : to+1])
}

func (g *Guard) servePost(w http.ResponseWriter, r *http.Request, answer func(*attempt) error) {
	a := g.attempt(w, r)
	a.post = true
	a.reader = g.policy.listedOrigin(r.Header)
	answered := false
	defer func() { a.leaveQueue(answered) }()
	err := a.judge()
	if err == nil {
		err = answer(a)
	}
	if err != nil {
		a.reject(err)
		return
	}
	a.returnAddressToken()
	answered = true
}

// checkPost is the shape of a POST, and reads the credentials of it.
func (a *attempt) checkPost() error {
	if a.r.Method != http.MethodPost {
		return a.refuse(ReasonMethod, a.r.Method, http.MethodPost)
	}
	names, fault := parseSubprotocols(a.r.Header[headerWSProtocol], subprotocolBytes+a.policy.tokenSize)
	if fault != "" {
		return a.refuse(ReasonSubprotocol, fault, "a list of distinct tokens")
	}
	a.creds.read(a, names)
	return nil
}

// answerTicket is what a POST that has passed every check gets.
func (a *attempt) answerTicket() error {
	if a.identity == nil {
		return a.refuse(ReasonTokenMissing, "nobody", "whom a ticket could stand for")
	}
	form, err := a.readFields("path")
	if err != nil {
		return err
	}
	path, err := ticketPath(form.Get("path"))
	if err != nil {
		return a.refuse(ReasonBody, "a path that is none", `one such as "/ws"`)
	}
	if err := a.checkTicketRate(); err != nil {
		return err
	}
	text, err := a.issueTicket(a.r.Context(), a.policy, a.identity, a.creds.text, TicketFor{Origin: a.ticketOrigin(), Path: path})
	if err != nil {
		return err
	}
	a.answerJSON([]byte(`{"ticket":"` + text + `","expires_in":` + strconv.Itoa(int(defaultTicket/time.Second)) + `}`))
	return nil
}

// checkTicketRate counts tickets by person, whatever the tokens and addresses. A
// store's room for tickets is everybody's, and one account with forty tokens could
// fill it. Nobody has a use for many more of them than for sessions.
func (a *attempt) checkTicketRate() error {
	a.check = "rate"
	if err := a.askLimits(); err != nil {
		return err
	}
	n := max(a.limits.Conns, defaultTicketsPerSubject)
	adm := newAdmission()
	defer adm.free()
	adm.admit(store.Admit{
		Key: a.identity.prepared().subject, IssuedAt: a.identity.IssuedAt,
		Bucket: "tickets", Rate: store.Rate{N: n, Per: time.Minute, Burst: n}, N: 1,
	})
	if err := adm.do(a); err != nil {
		return err
	}
	switch v := &adm.admits[0].Verdict; v.Refused {
	case store.None:
		return nil
	case store.OverRate:
		a.retryAfter = v.RetryAfter
		return a.refuse(ReasonRate, "too many tickets of one subject", fmt.Sprintf("%d a minute", n))
	default:
		return a.judgeRefused(&adm.admits[0])
	}
}

// answerJSON answers 200 with what no cache may keep.
func (a *attempt) answerJSON(body []byte) {
	h := a.strictHeaders()
	h[headerContentType] = valuesJSON
	a.w.WriteHeader(http.StatusOK)
	// The peer may be gone; its ticket runs out by itself.
	_, _ = a.w.Write(body)
}

var (
	valuesPost        = []string{http.MethodPost}
	valuesCORSHeaders = []string{"authorization, content-type"}
	valuesExposed     = []string{"Retry-After, WWW-Authenticate"}
	valuesTrue        = []string{"true"}
)

const (
	headerAskedMethod = "Access-Control-Request-Method"
	headerReader      = "Access-Control-Allow-Origin"
	headerCredentials = "Access-Control-Allow-Credentials"
	headerMethods     = "Access-Control-Allow-Methods"
	headerHeaders     = "Access-Control-Allow-Headers"
	headerExposed     = "Access-Control-Expose-Headers"
)

// isPreflight is what a browser asks before a POST across origins (WHATWG Fetch,
// CORS-preflight request).
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header[headerOrigin]) > 0 && len(r.Header[headerAskedMethod]) > 0
}

// answerPreflight lets a listed Origin send its POST. Another admitted one, by
// an Insecure option, learns nothing.
func (a *attempt) answerPreflight() error {
	h := a.strictHeaders()
	if a.reader != "" {
		h[headerMethods] = valuesPost
		h[headerHeaders] = valuesCORSHeaders
		delete(h, headerExposed)
	}
	a.w.WriteHeader(http.StatusNoContent)
	return nil
}

// corsHeaders let the page of a listed Origin read the answer, a refusal too:
// it has to know whether to log in again or to wait. no-store stands in for Vary.
func (a *attempt) corsHeaders(h http.Header) {
	if a.reader == "" {
		return
	}
	h[headerReader] = []string{a.reader}
	h[headerExposed] = valuesExposed
	if a.policy.reads(sourceCookie) {
		h[headerCredentials] = valuesTrue
	}
}

// listedOrigin is the Origin of a request when the operator has listed it, and
// so trusts its pages to read what the guard answers. Same-origin needs no leave.
func (p *policy) listedOrigin(h http.Header) string {
	lines := h[headerOrigin]
	if p.origins == nil || len(lines) != 1 || p.origins.list.Load().Match(lines[0]) == origin.None {
		return ""
	}
	return lines[0]
}
