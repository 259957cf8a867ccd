package wssecure

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/coder/websocket"
)

// A Reason says why a handshake was refused or a session ended. Its text is a
// stable slug ("origin", "token-expired"), fit for metrics and for
// errors.Is(err, wssecure.ReasonOrigin). A check, verifier or filter returns a
// Reason, or a [*Rejection] with one, to refuse with it. A Reason of your own
// is answered with status 403 and the public reason "forbidden"; its slug
// appears in the [Event] alone.
//
// docs/reasons.md says of each what has happened, what the peer is told and what
// to do about it.
type Reason string

// Reasons of refused handshakes.
const (
	ReasonMethod          Reason = "method"
	ReasonHTTPVersion     Reason = "http-version"
	ReasonUpgradeRequired Reason = "upgrade-required"
	ReasonVersion         Reason = "version"
	ReasonKey             Reason = "key"
	ReasonBody            Reason = "body"
	ReasonMalformed       Reason = "malformed"
	ReasonSubprotocol     Reason = "subprotocol"
	ReasonTransport       Reason = "insecure-transport"
	ReasonDraining        Reason = "draining"
	ReasonCapacity        Reason = "capacity"
	ReasonHost            Reason = "host"
	ReasonOrigin          Reason = "origin"
	ReasonOriginMissing   Reason = "origin-missing"
	ReasonOriginDuplicate Reason = "origin-duplicate"
	ReasonFetchMetadata   Reason = "fetch-metadata"
	ReasonBanned          Reason = "banned"
	ReasonRate            Reason = "rate-limited"
	ReasonKeyReplay       Reason = "key-replay"
	ReasonCredential      Reason = "invalid-request"
	ReasonTokenMissing    Reason = "token-missing"
	ReasonTokenInvalid    Reason = "token-invalid"
	ReasonTokenForged     Reason = "token-forged"
	ReasonTokenExpired    Reason = "token-expired"
	ReasonRevoked         Reason = "revoked"
	ReasonProof           Reason = "proof"
	ReasonAuthLevel       Reason = "auth-level"
	ReasonScope           Reason = "scope"
	ReasonForbidden       Reason = "forbidden"
	ReasonConnLimit       Reason = "conn-limit"
	ReasonUnavailable     Reason = "unavailable"
	ReasonInternal        Reason = "internal"
)

// Reasons of ended sessions; a session can also end with one of the above.
const (
	ReasonDone           Reason = "done"
	ReasonPeer           Reason = "peer"
	ReasonLifetime       Reason = "lifetime"
	ReasonProtocol       Reason = "protocol"
	ReasonMessageType    Reason = "message-type"
	ReasonUTF8           Reason = "utf-8"
	ReasonMessageInvalid Reason = "message-invalid"
	ReasonMessageRate    Reason = "message-rate"
	ReasonControlRate    Reason = "control-rate"
	ReasonFragments      Reason = "fragments"
	ReasonMessageTime    Reason = "message-time"
	ReasonSlowReader     Reason = "slow-reader"
	ReasonMessageSize    Reason = "message-size"
	ReasonRestart        Reason = "restart"
	ReasonIdle           Reason = "idle"
	ReasonPong           Reason = "pong"
)

// Close codes of the IANA registry that the RFC's own list lacks.
const (
	StatusUnauthorized StatusCode = 3000
	StatusForbidden    StatusCode = 3003
	StatusTimeout      StatusCode = 3008
)

// verdict is one row of the table of reasons: what a peer is told, and what
// the event and the failure budget make of it.
type verdict struct {
	status int        // HTTP status; 0: never given to a handshake
	close  StatusCode // close code; 0: never ends a session
	public Reason     // what a handshake is told; "" = the reason itself
	fails  failure
	level  slog.Level
}

// failure says whether a refusal counts towards LimitFailures.
type failure uint8

const (
	failNo failure = iota
	failYes
	// failNever holds even where LimitFailures has another key: a hostile page
	// causes these, and its visitor must not be banned for them.
	failNever
)

const (
	trace = slog.LevelDebug
	info  = slog.LevelInfo
	warn  = slog.LevelWarn
	alarm = slog.LevelError
)

// verdicts is the one table reason -> HTTP status, close code, public text.
var verdicts = map[Reason]verdict{
	ReasonMethod:          {405, 0, "", failNo, trace},
	ReasonHTTPVersion:     {400, 0, "", failNo, trace},
	ReasonUpgradeRequired: {426, 0, "", failNo, trace},
	ReasonVersion:         {426, 0, "", failNo, info},
	ReasonKey:             {400, 0, "", failNo, info},
	ReasonBody:            {400, 0, "", failYes, warn},
	ReasonMalformed:       {400, 0, "", failYes, warn},
	ReasonSubprotocol:     {400, 0, "", failNo, info},
	ReasonTransport:       {403, 0, "", failNo, warn},
	ReasonDraining:        {503, websocket.StatusGoingAway, "", failNo, info},
	ReasonCapacity:        {503, websocket.StatusTryAgainLater, "", failNo, warn},
	ReasonHost:            {400, 0, "", failNo, warn},
	ReasonOrigin:          {403, 0, "", failNever, warn},
	ReasonOriginMissing:   {403, 0, "", failNever, warn},
	ReasonOriginDuplicate: {400, 0, ReasonOrigin, failNever, warn},
	ReasonFetchMetadata:   {403, 0, ReasonOrigin, failNever, warn},
	ReasonBanned:          {403, 0, "", failNo, info},
	ReasonRate:            {429, 0, "", failNo, info},
	ReasonKeyReplay:       {400, 0, ReasonKey, failNever, warn},
	ReasonCredential:      {400, 0, "", failNo, info},
	ReasonTokenMissing:    {401, StatusUnauthorized, "", failNo, info},
	ReasonTokenInvalid:    {401, StatusUnauthorized, "", failNo, warn},
	ReasonTokenForged:     {401, StatusUnauthorized, ReasonTokenInvalid, failYes, warn},
	ReasonTokenExpired:    {401, StatusUnauthorized, ReasonTokenInvalid, failNo, info},
	ReasonRevoked:         {401, StatusUnauthorized, ReasonTokenInvalid, failNo, info},
	ReasonProof:           {401, StatusUnauthorized, ReasonTokenInvalid, failNo, warn},
	ReasonAuthLevel:       {401, StatusForbidden, "", failNo, info},
	ReasonScope:           {403, StatusForbidden, "", failNo, info},
	ReasonForbidden:       {403, StatusForbidden, "", failNo, info},
	ReasonConnLimit:       {429, websocket.StatusPolicyViolation, "", failNo, info},
	ReasonUnavailable:     {503, websocket.StatusInternalError, "", failNo, alarm},
	ReasonInternal:        {500, websocket.StatusInternalError, "", failNo, alarm},

	ReasonDone:           {0, websocket.StatusNormalClosure, "", failNo, trace},
	ReasonPeer:           {0, 0, "", failNo, trace},
	ReasonLifetime:       {0, websocket.StatusGoingAway, "", failNo, info},
	ReasonProtocol:       {0, websocket.StatusProtocolError, "", failYes, warn},
	ReasonMessageType:    {0, websocket.StatusUnsupportedData, "", failNo, info},
	ReasonUTF8:           {0, websocket.StatusInvalidFramePayloadData, "", failNo, info},
	ReasonMessageInvalid: {0, websocket.StatusPolicyViolation, "", failNo, info},
	ReasonMessageRate:    {0, websocket.StatusPolicyViolation, "", failNo, info},
	ReasonControlRate:    {0, websocket.StatusPolicyViolation, "", failYes, warn},
	ReasonFragments:      {0, websocket.StatusPolicyViolation, "", failYes, warn},
	ReasonMessageTime:    {0, websocket.StatusPolicyViolation, "", failNo, info},
	ReasonSlowReader:     {0, websocket.StatusPolicyViolation, "", failNo, info},
	ReasonMessageSize:    {0, websocket.StatusMessageTooBig, "", failNo, info},
	ReasonRestart:        {0, websocket.StatusServiceRestart, "", failNo, info},
	ReasonIdle:           {0, StatusTimeout, "", failNo, info},
	ReasonPong:           {0, StatusTimeout, "", failNo, info},
}

// ruling is a verdict made ready: one look at the table finds all that a refusal
// needs, since a flood of them pays for each.
type ruling struct {
	verdict // its public reason is never ""
	reason  Reason
	place   int
	problem problem // the body of its status
}

// rulings are by reason. Their places are those of counters and challenges.
var rulings = makeRulings()

func makeRulings() map[Reason]*ruling {
	all := make(map[Reason]*ruling, len(verdicts))
	for r, v := range verdicts {
		v.public = cmp.Or(v.public, r)
		all[r] = &ruling{verdict: v, reason: r, place: len(all), problem: makeProblem(v.public, v.status)}
	}
	return all
}

// ruling of a reason of the application's own is that of ReasonForbidden.
func (r Reason) ruling() *ruling {
	if ours := rulings[r]; ours != nil {
		return ours
	}
	return rulings[ReasonForbidden]
}

// Error gives the slug.
func (r Reason) Error() string { return string(r) }

// Status is the HTTP status that a handshake refused for r is answered with,
// or 0 for a reason that only sessions know. A reason of the application's own
// has 403.
func (r Reason) Status() int { return r.ruling().status }

// CloseCode is the code of the close frame that ends a session for r (RFC 6455
// section 7.4), or 0 for a reason that only handshakes know. A reason of the
// application's own has 3003.
func (r Reason) CloseCode() StatusCode { return r.ruling().close }

// public is what a refused handshake is told.
func (r Reason) public() Reason { return r.ruling().public }

// publicClose is the reason text of the close frame: a peer that was let in may
// know that its token has expired or was revoked.
func (r Reason) publicClose() string {
	switch reason := r.ruling().reason; reason {
	case ReasonTokenForged, ReasonProof:
		return string(ReasonTokenInvalid)
	default:
		return string(reason)
	}
}

func (r Reason) level() slog.Level { return r.ruling().level }

// A Rejection is an error that refuses a handshake or ends a session for a
// Reason. The peer learns the public form of the Reason and RetryAfter; Err is
// for the operator, in the [Event] and the log.
type Rejection struct {
	Reason     Reason
	RetryAfter time.Duration // sent as Retry-After, rounded up to seconds, where the status carries one
	Err        error         // the cause, never shown to the peer; may be nil
}

// Error gives the reason and, for the operator, the cause.
func (r *Rejection) Error() string {
	switch {
	case r == nil: // a nil *Rejection that was returned as an error decides nothing
		return "a nil *Rejection"
	case r.Err == nil:
		return string(r.Reason)
	}
	return string(r.Reason) + ": " + r.Err.Error()
}

// Unwrap gives the Reason and the cause to errors.Is and errors.As.
func (r *Rejection) Unwrap() []error {
	switch {
	case r == nil:
		return nil
	case r.Err == nil:
		return []error{r.Reason}
	}
	return []error{r.Reason, r.Err}
}

// asRejection finds what err, returned by a function of the application or by
// a check of ours, refuses with: the Rejection or Reason in its chain, else
// fallback with err as its cause.
func asRejection(err error, fallback Reason) *Rejection {
	if own, ok := err.(*Rejection); ok && own != nil && own.Reason != "" {
		return own
	}
	var rejection *Rejection
	if errors.As(err, &rejection) && rejection != nil && rejection.Reason != "" {
		return &Rejection{Reason: rejection.Reason, RetryAfter: rejection.RetryAfter, Err: err}
	}
	var reason Reason
	if errors.As(err, &reason) && reason != "" {
		if error(reason) == err {
			return &Rejection{Reason: reason}
		}
		return &Rejection{Reason: reason, Err: err}
	}
	return &Rejection{Reason: fallback, Err: err}
}
