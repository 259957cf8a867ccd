// Package finding is what a scan reports: rules, and what each came to on one target.
package finding

import (
	"cmp"
	"slices"
	"strings"

	"github.com/wssecure/wssecure/internal/attack"
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

// A Verdict, its State and a Rule's Severity are those of the attack catalogue.
type (
	Verdict  = attack.Verdict
	State    = attack.State
	Severity = attack.Severity
)

// Grades of severity.
const (
	Info     = attack.Info
	Low      = attack.Low
	Medium   = attack.Medium
	High     = attack.High
	Critical = attack.Critical
)

// Held says that the target does what it should.
func Held(got string) Verdict { return Verdict{State: attack.Held, Got: got} }

// Broken says that the target does not.
func Broken(got string) Verdict { return Verdict{State: attack.Broken, Got: got} }

// Left says why a check does not apply, or was not made.
func Left(detail string) Verdict { return Verdict{State: attack.Left, Detail: detail} }

// Unclear says why nothing can be said.
func Unclear(detail string) Verdict { return Verdict{State: attack.Unclear, Detail: detail} }

// OfAttack is the Rule behind an attack of the catalogue. Rows of the project's own list of attacks mean nothing to a
// reader of a report.
func OfAttack(a attack.Attack) Rule {
	ours := func(ref string) bool { return strings.HasPrefix(ref, "ATTACKS ") }
	return Rule{
		ID: a.ID, Group: a.Group, Title: a.Title, Why: a.Why, Fix: a.Fix, Option: a.Option,
		Refs: slices.DeleteFunc(slices.Clone(a.Refs), ours), Severity: a.Severity, Active: a.Active,
	}
}

// Sort puts what matters first: broken, then unclear, left, held; the graver first; then in the order of the rules,
// whatever came first on the day.
func Sort(all []Finding, order []Rule) {
	rank := func(s State) int {
		return [...]int{attack.Broken: 0, attack.Unclear: 1, attack.Left: 2, attack.Held: 3}[s]
	}
	place := map[string]int{}
	for i, r := range order {
		place[r.ID] = i
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(rank(a.State), rank(b.State)),
			cmp.Compare(b.Severity, a.Severity),
			cmp.Compare(place[a.ID], place[b.ID]),
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
