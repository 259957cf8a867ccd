package wssecure

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"
)

// This file is the one door out: nothing else writes a refusal.

// problemType is the base of the "type" member (RFC 9457): the page that
// explains each public reason.
const problemType = "https://github.com/wssecure/wssecure/blob/main/docs/reasons.md#"

// bodyDeadline frees the goroutine of a refused request whose body never comes:
// net/http reads it before it lets go.
const bodyDeadline = 200 * time.Millisecond

var (
	valuesVersion13    = []string{"13"}
	valuesWebsocket    = []string{"websocket"}
	valuesGet          = []string{http.MethodGet}
	valuesCloseUpgrade = []string{"close", "Upgrade"}
)

// problem is a body made ready but for the id of the instance.
type problem struct {
	before, after []byte
}

// problems are the bodies of refusals whose status is not their reason's own.
var problems = makeProblems()

type problemKey struct {
	reason Reason
	status int
}

func makeProblems() map[problemKey]*problem {
	all := map[problemKey]*problem{}
	for _, k := range []problemKey{
		{ReasonHost, http.StatusMisdirectedRequest},
		{ReasonVersion, http.StatusBadRequest},
		{ReasonBody, http.StatusRequestEntityTooLarge},
		{ReasonForbidden, http.StatusNotFound},
		{ReasonHTTPVersion, http.StatusNotImplemented},
		{ReasonHTTPVersion, http.StatusHTTPVersionNotSupported},
	} {
		p := makeProblem(k.reason, k.status)
		all[k] = &p
	}
	return all
}

func problemOf(r Reason, status int) *problem {
	if p := problems[problemKey{r, status}]; p != nil {
		return p
	}
	p := makeProblem(r, status)
	return &p
}

func makeProblem(r Reason, status int) problem {
	text := `{"type":"` + problemType + string(r) + `","title":"` + http.StatusText(status) +
		`","status":` + strconv.Itoa(status) + `,"instance":"`
	return problem{[]byte(text), []byte(`"}` + "\n")}
}

// reject refuses the handshake with err: it settles the reason, writes the
// answer and reports it, exactly once.
func (a *attempt) reject(err error) {
	rejection := asRejection(err, ReasonUnavailable)
	if a.ruling(rejection.Reason).status == 0 {
		// A reason that only sessions know is a mistake of the check's author.
		rejection = &Rejection{Reason: ReasonInternal, Err: rejection}
	}
	a.explain(rejection.Err)
	a.abandon()
	if a.originBudgetSpent(rejection.Reason) {
		a.cutFlood(rejection.Reason)
		return
	}
	reason := rejection.Reason
	if a.hungUp(rejection) {
		reason, a.hint = ReasonPeer, ""
	}
	// Also when middleware's writer panics.
	defer func() {
		a.report(reason)
		a.countFailure(reason)
	}()
	if !a.closeInstead(rejection.Reason) {
		a.answer(rejection)
	}
}

// hungUp reports whether nothing could be decided because the client has gone.
// Anybody can do that, and unavailable is what wakes an operator.
func (a *attempt) hungUp(r *Rejection) bool {
	return r.Reason == ReasonUnavailable && errors.Is(r.Err, context.Canceled) && errors.Is(a.r.Context().Err(), context.Canceled)
}

// ruling is r's. Several steps of a refusal ask for it, so it is kept.
func (a *attempt) ruling(r Reason) *ruling {
	if a.ruled == nil || a.ruled.reason != r {
		a.ruled = r.ruling()
	}
	return a.ruled
}

// explain keeps why for the operator, unless the check has already.
func (a *attempt) explain(err error) {
	if err != nil && a.finding.err == nil {
		a.finding.err = err
	}
}

// answer is refuse(): status, headers and body, nothing that the peer sent.
func (a *attempt) answer(rejection *Rejection) {
	ruling := a.ruling(rejection.Reason)
	a.settleStatus(ruling)
	h := a.strictHeaders()
	h[headerContentType] = valuesProblem
	h[headerConnection] = valuesClose
	a.statusHeaders(h, rejection, ruling)
	if mayHoldBody(a.r) {
		// Errors mean a writer without deadlines: net/http's own timeouts hold then.
		_ = http.NewResponseController(a.w).SetReadDeadline(time.Now().Add(bodyDeadline))
	}
	a.w.WriteHeader(a.status)
	a.writeProblem(ruling)
}

// mayHoldBody reports whether net/http may wait for a body, whatever middleware
// has put in its place or in place of none.
func mayHoldBody(r *http.Request) bool {
	return r.Body != nil && r.Body != http.NoBody || r.ContentLength != 0 || len(r.TransferEncoding) > 0
}

// settleStatus keeps the status of a check that has its own.
func (a *attempt) settleStatus(ruling *ruling) {
	if a.status == 0 {
		a.status = ruling.status
	}
}

// strictHeaders are those of every answer that is the guard's own.
func (a *attempt) strictHeaders() http.Header {
	if pages := pagesAround(a.w); pages != nil {
		pages.silent = true
	}
	h := a.w.Header()
	dropForeign(h)
	if hsts := a.hsts(); hsts != nil {
		h[headerHSTS] = hsts
	}
	h[headerCSP] = valuesStrictCSP
	h[headerFrame] = valuesDeny
	h[headerSniff] = valuesNoSniff
	h[headerCache] = valuesNoStore
	a.corsHeaders(h)
	return h
}

// statusHeaders adds what the status or reason asks for.
func (a *attempt) statusHeaders(h http.Header, rejection *Rejection, ruling *ruling) {
	switch {
	case a.status == http.StatusMethodNotAllowed:
		h[headerAllow] = valuesGet
		if a.post {
			h[headerAllow] = valuesPost
		}
	case a.status == http.StatusUpgradeRequired:
		h[headerConnection] = valuesCloseUpgrade
		h[headerUpgrade] = valuesWebsocket
		h[headerWSVersion] = valuesVersion13
	case rejection.Reason == ReasonVersion:
		h[headerWSVersion] = valuesVersion13
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable, rejection.Reason == ReasonBanned:
		h[headerRetryAfter] = retryAfter(rejection.RetryAfter, a.retryAfter)
	default:
		if text := a.policy.challenges[ruling.place]; text != nil {
			h[headerAuthenticate] = text
		}
	}
}

// makeChallenges prepares a challenge for each reason that has one, at the
// places of rulings.
func makeChallenges(p *policy) [][]string {
	all := make([][]string, len(rulings))
	for _, ruling := range rulings {
		if text := challenge(ruling.public, p); text != "" {
			all[ruling.place] = []string{text}
		}
	}
	return all
}

// retryAfter is a positive number of whole seconds, rounded up.
func retryAfter(stated, left time.Duration) []string {
	wait := stated
	if wait <= 0 {
		wait = left
	}
	if wait <= 0 {
		wait = retrySoon()
	}
	n := max(1, int(math.Ceil(wait.Seconds())))
	if n < len(valuesRetry) {
		return valuesRetry[n]
	}
	return []string{strconv.Itoa(n)}
}

// valuesRetry are the commonest: the longest first ban is a minute, and so is the
// time of most rates.
var valuesRetry = makeRetryValues()

func makeRetryValues() (all [61][]string) {
	for n := range all {
		all[n] = []string{strconv.Itoa(n)}
	}
	return all
}

func (a *attempt) writeProblem(ruling *ruling) {
	p := &ruling.problem
	if a.status != ruling.status {
		p = problemOf(ruling.public, a.status)
	}
	body := append(a.body[:0], p.before...)
	body = a.id.appendTo(body)
	body = append(body, p.after...)
	// The peer may be gone; the event tells what was decided.
	_, _ = a.w.Write(body)
}

// dropForeign removes what middleware outside has put into the answer and a
// refusal must not carry: browsers keep the cookies even of a 403.
func dropForeign(h http.Header) {
	for name := range h {
		switch {
		case hasPrefixFold(name, "Access-Control-"), hasPrefixFold(name, "Cross-Origin-"), hasPrefixFold(name, "Sec-Websocket-"):
			delete(h, name)
		case name == headerSetCookie, name == headerHSTS, name == "Vary", name == "Location", name == "Refresh", name == headerReferrer,
			name == headerUpgrade, name == "Content-Length", name == "Content-Encoding", name == headerRetryAfter, name == headerAuthenticate:
			delete(h, name)
		}
	}
}

// report counts and emits the one event of a refused handshake.
func (a *attempt) report(r Reason) {
	ruling := a.ruling(r)
	a.audit.counts.refused.add(ruling)
	if !a.audit.wanted(ruling.level, a.policy.hooks) {
		return
	}
	e := a.event(EventRefused)
	e.Reason, e.Status = r, a.status
	e.Took = time.Since(a.started)
	a.audit.emit(e, a.policy.hooks)
}

// originBudgetSpent charges refused origins to a budget of their own: a hostile
// page must not spend its visitor's handshakes, nor flood the log.
func (a *attempt) originBudgetSpent(r Reason) bool {
	switch r {
	case ReasonOrigin, ReasonOriginMissing, ReasonOriginDuplicate, ReasonFetchMetadata:
		return !a.trusted.Contains(a.client) && !a.refusedOrigins.take(a.client, a.started)
	}
	return false
}

// cutFlood ends the connection without an answer.
func (a *attempt) cutFlood(r Reason) {
	a.audit.count(EventRefused, r)
	if first, n := a.floodEvents.sample(time.Now()); first && a.audit.wanted(r.level(), a.policy.hooks) {
		e := a.event(EventRefused)
		e.Reason, e.Count, e.Hint = r, n, "over the budget of refused origins; answers are cut"
		a.audit.emit(e, a.policy.hooks)
	}
	conn, _, err := http.NewResponseController(innermost(a.w)).Hijack()
	if err != nil {
		a.answer(&Rejection{Reason: r})
		return
	}
	conn.Close()
}

func (id eventID) appendTo(b []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range id {
		b = append(b, digits[c>>4], digits[c&15])
	}
	return b
}
