// Package finding is what a scan reports: rules, and what each came to on one target.
package finding

import (
	"cmp"
	"slices"
)

// A Rule is what is looked for: the same on every target. Its text is ours, never a target's.
type Rule struct {
	ID       string   // stable, kebab-case
	Group    string   // "tls", "certificate", "transport", "headers", "cookies", or a group of the attack catalogue
	Title    string   // what is tried, one line
	Why      string   // what an attacker gains
	Fix      string   // what closes it in any server
	Option   string   // which wssecure option or default closes it
	Refs     []string // standards, CVEs, CWEs
	Severity Severity
	Active   bool // only with --active
}

// A Finding is a Rule and what it came to. Sent, Got and Detail are fit for one line of a terminal: whoever fills them
// quotes what a target sent.
type Finding struct {
	Rule
	Verdict
}

// A Verdict is what a check came to on one target.
type Verdict struct {
	State  State
	Sent   string
	Got    string
	Detail string
}

// Held, Broken, Left and Unclear make verdicts.
func Held(got string) Verdict       { return Verdict{State: StateHeld, Got: got} }
func Broken(got string) Verdict     { return Verdict{State: StateBroken, Got: got} }
func Left(detail string) Verdict    { return Verdict{State: StateLeft, Detail: detail} }
func Unclear(detail string) Verdict { return Verdict{State: StateUnclear, Detail: detail} }

// State says how a check ended.
type State int

const (
	StateHeld    State = iota // the target does what it should
	StateBroken               // a finding
	StateLeft                 // does not apply, or was not asked for
	StateUnclear              // could not be decided
)

func (s State) String() string {
	return [...]string{"held", "broken", "left", "unclear"}[s]
}

// Severity says what a finding is worth to an attacker.
type Severity int

const (
	Info Severity = iota
	Low
	Medium
	High
	Critical
)

func (s Severity) String() string {
	return [...]string{"info", "low", "medium", "high", "critical"}[s]
}

// Sort puts what matters first: broken, then unclear, left, held; the graver first; then in the order of the rules.
func Sort(all []Finding) {
	rank := func(s State) int { return [...]int{StateBroken: 0, StateUnclear: 1, StateLeft: 2, StateHeld: 3}[s] }
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(rank(a.State), rank(b.State)),
			cmp.Compare(b.Severity, a.Severity),
		)
	})
}

// Count is how many findings ended in s.
func Count(all []Finding, s State) int {
	n := 0
	for _, f := range all {
		if f.State == s {
			n++
		}
	}
	return n
}
