// Package attack is the catalogue of what is thrown at a WebSocket endpoint to see whether it holds: hostile handshakes,
// forged tokens, floods, frames that break every rule. wssecuretest.Attack runs it in a user's tests, the scanner against
// any ws:// or wss:// address.
//
// Every attack is compared with an honest handshake that is made first, has an end, and leaves the server as it was.
// Whatever the server says is hostile too: it is cut and quoted before anybody reads it.
package attack

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// An Attack is one thing to try.
type Attack struct {
	ID       string   // stable, as in "origin-foreign"
	Group    string   // one of Groups
	Refs     []string // standards, advisories, rows of the project's own catalogue
	Title    string   // what is tried
	Why      string   // what an attacker gains by it
	Fix      string   // what closes it in any server
	Option   string   // the wssecure option or default that closes it
	Severity Severity
	Active   bool // sends frames, bursts or holds connections: only where that is allowed
	Alone    bool // disturbs, or is disturbed by, others: nothing may run beside it
	Spends   bool // uses up what this address may have: to be put off behind it is what it looks for
	Needs    Need
	Run      func(ctx context.Context, t *Target) Verdict // by Try, which asks for the rest
}

// Groups in the order in which they are tried; what leaves the least budget behind comes last.
var Groups = []string{"origin", "handshake", "headers", "secrets", "token", "ticket", "frames", "floods", "session", "limits"}

// See are the references that anybody can look up: the project's own catalogue is for those who work on it.
func (a Attack) See() []string {
	return slices.DeleteFunc(slices.Clone(a.Refs), func(ref string) bool { return strings.HasPrefix(ref, "ATTACKS ") })
}

// Severity is how bad it is when an attack works.
type Severity int

const (
	Info     Severity = iota // good to have
	Low                      // one layer of several is missing
	Medium                   // helps another attack along, or costs the server
	High                     // the server can be stopped, or a session kept that has ended
	Critical                 // somebody else's session
)

func (s Severity) String() string {
	return [...]string{"info", "low", "medium", "high", "critical"}[s]
}

// Need is what an attack cannot do without.
type Need int

const (
	NeedSession    Need = 1 << iota // an honest handshake that is admitted
	NeedToken                       // Target.Token
	NeedJWT                         // a Target.Token of three segments
	NeedSign                        // Target.Sign
	NeedKeys                        // Target.PublicKeys
	NeedTicket                      // Target.Ticket
	NeedRevoke                      // Target.Revoke
	NeedLog                         // Target.Log
	NeedClientCert                  // Target.TLS with a client certificate, and a server that asks for it
)

// State is how an attack ended.
type State int

const (
	Held    State = iota // the server did as it should
	Broken               // the attack works
	Left                 // not tried: it does not apply, or something was not given
	Unclear              // tried, and nothing can be said
)

func (s State) String() string { return [...]string{"held", "broken", "left", "unclear"}[s] }

// A Verdict is the end of one attack. Sent, Got and Detail are safe to print and hold no credential of the target.
type Verdict struct {
	State     State
	Sent, Got string
	Detail    string
}

// All is the catalogue, in the order of Groups.
func All() []Attack { return slices.Clone(catalogue()) }

var catalogue = sync.OnceValue(func() []Attack {
	all := slices.Concat(
		originAttacks(), handshakeAttacks(), disguiseAttacks(), headerAttacks(), secretAttacks(), credentialAttacks(), forgedAttacks(), claimAttacks(), clientCertAttacks(), forwardedAttacks(), http2Attacks(),
		ticketAttacks(), frameAttacks(), floodAttacks(), sessionAttacks(), limitAttacks(),
	)
	slices.SortStableFunc(all, func(a, b Attack) int { return slices.Index(Groups, a.Group) - slices.Index(Groups, b.Group) })
	return all
})

// Find is the attack of that ID.
func Find(id string) (Attack, bool) {
	i := slices.IndexFunc(catalogue(), func(a Attack) bool { return a.ID == id })
	if i < 0 {
		return Attack{}, false
	}
	return catalogue()[i], true
}

// each returns the attacks with what their group has in common filled in where they say nothing themselves.
func each(common Attack, list ...Attack) []Attack {
	for i := range list {
		a := &list[i]
		a.Group = common.Group
		a.Active = a.Active || common.Active
		a.Alone = a.Alone || common.Alone
		a.Needs |= common.Needs
		a.Refs = append(common.Refs[:len(common.Refs):len(common.Refs)], a.Refs...)
		a.Why = or(a.Why, common.Why)
		a.Fix = or(a.Fix, common.Fix)
		a.Option = or(a.Option, common.Option)
		if a.Severity == Info {
			a.Severity = common.Severity
		}
	}
	return list
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}
