package report

import (
	"encoding/json"
	"io"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/internal/attack"
)

// schema is raised when a member goes or changes its meaning; docs/scanner.md describes it.
const schema = 1

type jsonReport struct {
	Schema  int          `json:"schema"`
	Version string       `json:"version"`
	Started time.Time    `json:"started"`
	Active  bool         `json:"active"`
	Targets []jsonTarget `json:"targets"`
}

type jsonTarget struct {
	URL          string         `json:"url"`
	Error        string         `json:"error,omitempty"`
	Grade        finding.Grade  `json:"grade,omitempty"`
	Because      string         `json:"because,omitempty"`
	Admitted     bool           `json:"admitted"`
	Answer       string         `json:"answer,omitempty"`
	Notes        []string       `json:"notes,omitempty"`
	TLS          *jsonTLS       `json:"tls,omitempty"`
	Counts       map[string]int `json:"counts"`
	Findings     []jsonFinding  `json:"findings"` // what is broken
	Others       []jsonOther    `json:"others"`   // what is not
	Milliseconds int64          `json:"milliseconds"`
}

type jsonTLS struct {
	Version string            `json:"version"`
	Suite   string            `json:"suite"`
	Group   string            `json:"group,omitempty"`
	Chain   []jsonCertificate `json:"chain"`
}

type jsonCertificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Key       string    `json:"key"`
	Signature string    `json:"signature"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
}

type jsonFinding struct {
	ID       string   `json:"id"`
	Group    string   `json:"group"`
	Severity string   `json:"severity"`
	Title    string   `json:"title"`
	Sent     string   `json:"sent,omitempty"`
	Got      string   `json:"got,omitempty"`
	Detail   string   `json:"detail,omitempty"`
	Why      string   `json:"why"`
	Fix      string   `json:"fix"`
	Option   string   `json:"option"`
	Refs     []string `json:"refs"`
}

type jsonOther struct {
	ID     string `json:"id"`
	Group  string `json:"group"`
	State  string `json:"state"`
	Got    string `json:"got,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// writeJSON is for programs: its members stay, new ones may come.
func writeJSON(w io.Writer, r *Report) error {
	out := jsonReport{Schema: schema, Version: r.Version, Started: r.Started.UTC(), Active: r.Active, Targets: []jsonTarget{}}
	for _, t := range r.Targets {
		out.Targets = append(out.Targets, targetJSON(t))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func targetJSON(t Target) jsonTarget {
	out := jsonTarget{
		URL: t.URL, Error: t.Error, Grade: t.Grade, Because: t.Because, Admitted: t.Admitted, Answer: t.Answer, Notes: t.Notes,
		TLS: tlsJSON(t.TLS), Counts: map[string]int{}, Findings: []jsonFinding{}, Others: []jsonOther{},
		Milliseconds: t.Took.Milliseconds(),
	}
	for _, s := range []attack.State{attack.Held, attack.Broken, attack.Left, attack.Unclear} {
		out.Counts[s.String()] = finding.Count(t.Findings, s)
	}
	for _, f := range t.Findings {
		if f.State != attack.Broken {
			out.Others = append(out.Others, jsonOther{f.ID, f.Group, f.State.String(), f.Got, f.Detail})
			continue
		}
		out.Findings = append(out.Findings, jsonFinding{
			ID: f.ID, Group: f.Group, Severity: f.Severity.String(), Title: f.Title, Sent: f.Sent, Got: f.Got, Detail: f.Detail,
			Why: f.Why, Fix: f.Fix, Option: f.Option, Refs: append([]string{}, f.Refs...),
		})
	}
	return out
}

func tlsJSON(t *TLS) *jsonTLS {
	if t == nil {
		return nil
	}
	out := &jsonTLS{Version: t.Version, Suite: t.Suite, Group: t.Group, Chain: []jsonCertificate{}}
	for _, c := range t.Chain {
		out.Chain = append(out.Chain, jsonCertificate(c))
	}
	return out
}
