// Package report writes what a scan has found: as text for a terminal, JSON for programs, SARIF for code hosts and HTML
// for people. Whatever a target said arrives here quoted; each format escapes it once more in its own way.
package report

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/internal/attack"
)

// A Report is one run of the scanner.
type Report struct {
	Version string // of the scanner
	Started time.Time
	Active  bool
	Targets []Target
}

// A Target is what one scan came to.
type Target struct {
	URL      string
	Error    string        // why it could not be scanned; then there is no grade
	Grade    finding.Grade // empty with Error
	Because  string        // why that grade
	Admitted bool          // the honest handshake was answered 101
	Answer   string        // to the honest handshake
	Notes    []string      // what was not done, and why
	TLS      *TLS          // nil for ws://
	Findings []finding.Finding
	Took     time.Duration
}

// TLS is what an up-to-date client gets.
type TLS struct {
	Version, Suite, Group string
	Chain                 []Certificate
}

// A Certificate of the chain that a target sent.
type Certificate struct {
	Subject, Issuer, Key, Signature string
	From, To                        time.Time
}

// Worst is the worst grade of all targets; empty when one has none.
func (r *Report) Worst() finding.Grade {
	worst := finding.Best
	for _, t := range r.Targets {
		if t.Grade == "" {
			return ""
		}
		if t.Grade.Below(worst) {
			worst = t.Grade
		}
	}
	return worst
}

// Rules are those of the findings, each once, in the order in which they first come.
func (r *Report) Rules() []finding.Rule {
	var rules []finding.Rule
	seen := map[string]bool{}
	for _, t := range r.Targets {
		for _, f := range t.Findings {
			if !seen[f.ID] {
				seen[f.ID] = true
				rules = append(rules, f.Rule)
			}
		}
	}
	return rules
}

// Found reports whether anything was found that counts: above info.
func (t *Target) Found() bool {
	return slices.ContainsFunc(t.Findings, func(f finding.Finding) bool {
		return f.State == attack.Broken && f.Severity > finding.Info
	})
}

// A cluster is findings that one fix closes: thirty ways round one check are one thing to mend.
type cluster []finding.Finding

// clusters are the findings of what is broken, the gravest cluster first.
func clusters(all []finding.Finding) []cluster {
	type cause struct{ group, why, fix, option string }
	var list []cluster
	at := map[cause]int{}
	for _, f := range all {
		if f.State != attack.Broken {
			continue
		}
		c := cause{f.Group, f.Why, f.Fix, f.Option}
		i, known := at[c]
		if !known {
			i = len(list)
			at[c], list = i, append(list, nil)
		}
		list[i] = append(list[i], f)
	}
	return list
}

// Refs are those of all its findings, each once.
func (c cluster) Refs() []string {
	var refs []string
	for _, f := range c {
		for _, r := range f.Refs {
			if !slices.Contains(refs, r) {
				refs = append(refs, r)
			}
		}
	}
	return refs
}

// Formats by the name that the user gives.
var formats = map[string]func(w io.Writer, r *Report, colour bool) error{
	"text":  writeText,
	"json":  func(w io.Writer, r *Report, _ bool) error { return writeJSON(w, r) },
	"sarif": func(w io.Writer, r *Report, _ bool) error { return writeSARIF(w, r) },
	"html":  func(w io.Writer, r *Report, _ bool) error { return writeHTML(w, r) },
}

// CheckFormat is an error for a name that Write does not know.
func CheckFormat(name string) error {
	if formats[name] == nil {
		return fmt.Errorf("format %q; write text, json, sarif or html", name)
	}
	return nil
}

// Write writes r. Colour is for text on a terminal.
func Write(w io.Writer, r *Report, format string, colour bool) error {
	if err := CheckFormat(format); err != nil {
		return err
	}
	return formats[format](w, r, colour)
}
