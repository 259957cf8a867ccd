// Package store holds what several handshakes, and several nodes, must agree on: how often a client came, how many
// connections it holds, who is banned, what has been revoked, and which single-use secrets are spent.
//
// A [Store] has two methods. Do runs a batch of operations, each atomic on its own key; Follow delivers revocations
// and bans as they happen. [Memory] is the store of one process. Every store passes the suite in store/storetest.
//
// An operation is a struct that carries both the question and the answer. Callers pass pointers and may reuse them:
// Do overwrites every result field.
//
//	a := store.Admit{Key: store.Address(prefix), Bucket: "handshakes", Rate: rate, N: 1}
//	if err := s.Do(ctx, &a); err != nil || a.Err != nil {
//		return unavailable // could not decide: refuse
//	}
//	if a.Verdict.Refused != store.None { ... }
//
// The zero Verdict admits, so Err comes first: an operation with Err set has decided nothing, and may have happened.
package store

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrGap is what Follow returns when events after the cursor are gone. The caller asks for the marks of every
	// live session, then follows from Beat.Tail.
	ErrGap = errors.New("store: events after the cursor are gone")
	// ErrUnsupported answers an operation, or a kind of key, that a store does not know.
	ErrUnsupported = errors.New("store: operation not supported")
	// ErrFull answers what a bounded store has no room for and may not forget anything else for: fail closed.
	ErrFull = errors.New("store: full")
	// ErrInvalid answers an operation that contradicts itself, such as a lease without a Hold. Nothing was done.
	ErrInvalid = errors.New("store: invalid operation")
)

// Store is the shared state behind a guard. Its methods may be called concurrently.
type Store interface {
	// Do runs ops as one batch, at most one round trip per shard, and fills in their results. Each op is atomic; ops
	// on different keys are independent. An op with Err set must be taken as "may have happened". The error returned
	// is the transport's.
	Do(ctx context.Context, ops ...Op) error
	// Follow delivers every Event after the cursor, in order, at least once, until ctx ends, and then returns ctx's
	// error. ErrGap: events after the cursor are gone.
	Follow(ctx context.Context, after Cursor, apply func(Event)) error
}

// Op is one operation: a pointer to an Admit, Release, Claim, Put, Redeem, Mark or Beat.
type Op interface{ fail(err error) }

func (o *Admit) fail(err error)   { o.Err = err }
func (o *Release) fail(err error) { o.Err = err }
func (o *Claim) fail(err error)   { o.Err = err }
func (o *Put) fail(err error)     { o.Err = err }
func (o *Redeem) fail(err error)  { o.Err = err }
func (o *Mark) fail(err error)    { o.Err = err }
func (o *Beat) fail(err error)    { o.Err = err }

// Rate is N tokens per Per, with room for Burst of them. The zero Rate means that no rate is asked for.
type Rate struct {
	N     int
	Per   time.Duration
	Burst int
}

// Admit asks whether Key may do one more thing: its revocation mark, its ban, its rate and its cap are looked at in
// that order, and either the tokens are charged and the lease is taken, or nothing changes.
type Admit struct {
	Key    Key
	Bucket string // which rate of Key: "handshakes", "failures" or the rule's name
	Rate   Rate   // zero: no rate
	N      int    // tokens to charge, zero counts as one; negative gives tokens back: never refused, never beyond a full bucket

	Cap  int           // a lease is taken when Cap > 0: at most Cap of them at once
	Node NodeID        // the lease belongs to this node epoch, and dies with it
	Conn uint64        // and to this connection; asking again for a lease already held keeps it and is never over the cap
	Hold time.Duration // the longest life of the session, after which a forgotten lease lapses

	IssuedAt time.Time // when the credential was issued, against the revocation mark; zero is refused while a mark lives

	Verdict Verdict
	Err     error
}

// Verdict is the answer to an Admit. The zero Verdict admits.
type Verdict struct {
	Refused    Refusal
	RetryAfter time.Duration // of Banned and OverRate
	Held       int           // leases of Key, this one included; an upper bound while dead nodes await pruning
	Local      bool          // decided by this node's share while the shared store was away
}

// Refusal says why an Admit was refused; the first that applies, in this order.
type Refusal uint8

// Reasons of a refused Admit.
const (
	None     Refusal = iota // admitted
	Revoked                 // the credential was issued before the key's revocation mark
	Banned                  // a ban runs on the key, or on a network around it
	OverRate                // too few tokens left
	OverCap                 // Cap leases are held already
)

func (r Refusal) String() string {
	switch r {
	case None:
		return "none"
	case Revoked:
		return "revoked"
	case Banned:
		return "banned"
	case OverRate:
		return "over rate"
	case OverCap:
		return "over cap"
	}
	return "unknown refusal"
}

// Release gives a lease back. Releasing what is not held does nothing.
type Release struct {
	Key  Key
	Node NodeID
	Conn uint64
	Err  error
}

// Claim marks Value as used for TTL, and says whether it is the first to do so. TTL zero withdraws a claim.
type Claim struct {
	Space Space
	Value string
	TTL   time.Duration
	First bool
	Local bool // decided by this node alone
	Err   error
}

// Space separates claims of different kinds, which also differ in what happens when there is no room.
type Space uint8

// Spaces of claims.
const (
	SpaceHandshakeKey Space = iota + 1 // replayed handshakes; the oldest claim is forgotten
	SpaceLogout                        // jti of logout tokens; ErrFull, nothing is forgotten
)

// Put keeps Data under a single-use ticket for TTL. Only a hash of the ticket is kept. A ticket that exists is ErrInvalid.
type Put struct {
	Ticket string
	Data   []byte // copied
	TTL    time.Duration
	Err    error
}

// Redeem takes what Put left, once: of any number of callers, one gets OK. With Keep it only reads.
type Redeem struct {
	Ticket string
	Keep   bool
	Data   []byte // the caller's own
	OK     bool
	Err    error
}

// Mark revokes, bans or lifts a ban, and appends an Event to the feed. Repeating it is harmless.
//
// MarkRevoke raises the mark of Key to Before (zero: now) and keeps it until Until (zero or past: 24 hours). Neither ever moves
// back. A credential whose IssuedAt lies in the second of Before or earlier is refused; under KeyToken,
// KeyOIDCSession and KeySession every one is.
//
// MarkBan with Until bans at least until then. With Base and no Until it bans for Base, then twice as long each
// time within an hour of the last ban's end, up to Max; a running ban is not raised, so several nodes that ban at once
// raise it once. MarkUnban forgets ban and level.
type Mark struct {
	Key           Key
	Kind          MarkKind
	Before, Until time.Time
	Base, Max     time.Duration
	Why           string
	Err           error
}

// MarkKind is what a Mark does.
type MarkKind uint8

// Kinds of marks.
const (
	MarkRevoke MarkKind = iota + 1
	MarkBan             // KeyIP, KeyNetwork, KeySubject, KeyCustom
	MarkUnban           // the same
)

// Beat says that a node lives: its leases count until TTL from now. TTL zero leaves and frees them at once.
type Beat struct {
	Node NodeID
	TTL  time.Duration

	Live []NodeID  // nodes alive now, this one included; appended to Live[:0]
	Lost bool      // the store did not know this epoch as alive: its first Beat, or its leases are void
	Now  time.Time // the store's clock
	Tail Cursor    // the newest event
	Err  error
}

// Event is one entry of the feed.
type Event struct {
	Cursor        Cursor
	Kind          EventKind
	Key           Key
	Before, Until time.Time
	Why           string
}

// EventKind is what an Event tells.
type EventKind uint8

// Kinds of events.
const (
	EventRevoke EventKind = iota + 1 // sessions of Key whose credential is not newer than Before end
	EventBan                         // Key is banned until Until
	EventUnban                       // it no longer is
	EventDown                        // a Node has lost its shared store
	EventUp                          // and has it back
)

// Cursor is a place in the feed. The zero Cursor stands before the first event. Cursors order by Milli, then Seq.
type Cursor struct {
	Milli uint64 // the store's clock, Unix milliseconds
	Seq   uint64
}

// Compare returns -1, 0 or +1 as c stands before, at or after d.
func (c Cursor) Compare(d Cursor) int {
	if c.Milli != d.Milli {
		if c.Milli < d.Milli {
			return -1
		}
		return 1
	}
	switch {
	case c.Seq < d.Seq:
		return -1
	case c.Seq > d.Seq:
		return 1
	}
	return 0
}
