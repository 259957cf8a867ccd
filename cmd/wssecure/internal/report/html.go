package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
)

var (
	//go:embed report.css
	stylesheet string
	//go:embed report.html
	markup string
)

var document = template.Must(template.New("report").Funcs(template.FuncMap{
	"join":  func(list []string) string { return strings.Join(list, ", ") },
	"day":   func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"clock": func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
	"tenth": func(d time.Duration) string { return d.Round(100 * time.Millisecond).String() },
	"state": inState,

	"clusters": clusters,
	"dict":     dict,
	"mark":     func(g finding.Grade) string { return strings.ToLower(strings.TrimSuffix(string(g), "+")) },
}).Parse(markup))

// dict hands several values to a template of a part.
func dict(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

func inState(name string, all []finding.Finding) []finding.Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f finding.Finding) bool { return f.State.String() != name })
}

// writeHTML is one file that loads nothing and runs nothing: its policy allows the one style that it holds.
func writeHTML(w io.Writer, r *Report) error {
	sum := sha256.Sum256([]byte(stylesheet))
	return document.Execute(w, struct {
		*Report
		Style  template.CSS
		Policy string
		Worst  finding.Grade
	}{
		r, template.CSS(stylesheet),
		"default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'",
		r.Worst(),
	})
}
