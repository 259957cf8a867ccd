package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/quote"
)

// columns is where text is broken: those of a terminal that nobody has widened.
const columns = 80

// writeText is for people at a terminal.
func writeText(w io.Writer, r *Report, colour bool) error {
	p := &page{paint: paint(colour)}
	for i, t := range r.Targets {
		if i > 0 {
			p.line("")
		}
		p.target(t)
	}
	_, err := w.Write(p.out.Bytes())
	return err
}

// A page is text in the making.
type page struct {
	out   bytes.Buffer
	paint func(style, text string) string
}

// Styles of ECMA-48: bold, and colours that can be read on black and on white.
const (
	bold   = "1"
	red    = "1;31"
	yellow = "33"
	green  = "32"
	dim    = "2"
)

func paint(colour bool) func(style, text string) string {
	if !colour {
		return func(_, text string) string { return text }
	}
	return func(style, text string) string { return "\x1b[" + style + "m" + text + "\x1b[0m" }
}

// line writes one line. What came from a target is quoted by now; should anything have slipped through, it ends here.
func (p *page) line(format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = printable(s)
		}
	}
	fmt.Fprintf(&p.out, format+"\n", args...)
}

// A painted text has been through printable already.
type painted string

func (p *page) style(style, text string) painted { return painted(p.paint(style, printable(text))) }

// printable keeps quoted text as it is: quoting twice would double each backslash.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\\' || r == '"' || quote.Cut(string(r), utf8.UTFMax) == string(r) {
			return r
		}
		return utf8.RuneError
	}, s)
}

func (p *page) target(t Target) {
	if t.Error != "" {
		p.line("%s  %s", p.style(bold, t.URL), p.style(red, "cannot be graded"))
		p.block("  ", t.Error)
	} else {
		grade := "Grade " + string(t.Grade)
		if utf8.RuneCountInString(t.URL+grade+t.Because)+4 <= columns {
			p.line("%s  %s  %s", p.style(bold, t.URL), p.style(gradeStyle(t.Grade), grade), t.Because)
		} else {
			p.line("%s  %s", p.style(bold, t.URL), p.style(gradeStyle(t.Grade), grade))
			p.block("  ", t.Because)
		}
	}
	if t.TLS != nil {
		p.block("  TLS          ", strings.Join(present(t.TLS.Version, t.TLS.Suite, t.TLS.Group), ", "))
		if len(t.TLS.Chain) > 0 {
			c := t.TLS.Chain[0]
			p.block("  certificate  ", fmt.Sprintf("%s, until %s, %s", c.Subject, c.To.Format(time.DateOnly), c.Key))
		}
	}
	if t.Answer != "" {
		p.block("  handshake    ", t.Answer)
	}
	for _, n := range t.Notes {
		p.block("  note         ", n)
	}
	for _, c := range clusters(t.Findings) {
		p.cluster(c)
	}
	p.others(t, attack.Unclear, "could not be decided", true)
	p.others(t, attack.Left, "not tried", false)
	held := finding.Count(t.Findings, attack.Held)
	p.line("")
	p.line("  %s held, %s found, %s undecided, %s not tried, in %s", number(held), number(finding.Count(t.Findings, attack.Broken)),
		number(finding.Count(t.Findings, attack.Unclear)), number(finding.Count(t.Findings, attack.Left)), t.Took.Round(100*time.Millisecond).String())
}

func number(n int) string { return fmt.Sprint(n) }

func present(all ...string) []string {
	var some []string
	for _, s := range all {
		if s != "" {
			some = append(some, s)
		}
	}
	return some
}

// cluster is what was tried, line by line, and then what closes all of it.
func (p *page) cluster(c cluster) {
	p.line("")
	for _, f := range c {
		severity, id := p.style(severityStyle(f.Severity), fmt.Sprintf("%-8s", strings.ToUpper(f.Severity.String()))), p.style(bold, f.ID)
		if 13+utf8.RuneCountInString(f.ID+f.Title) > columns {
			p.line("  %s %s", severity, id)
			p.block("           ", f.Title)
		} else {
			p.line("  %s %s  %s", severity, id, f.Title)
		}
		p.field("sent", f.Sent)
		p.field("got", f.Got)
		p.field("detail", f.Detail)
	}
	p.field("why", c[0].Why)
	p.field("fix", c[0].Fix)
	p.field("wssecure", c[0].Option)
	p.field("see", strings.Join(c.Refs(), ", "))
}

func (p *page) field(name, text string) {
	if text != "" {
		p.block(fmt.Sprintf("           %-9s", name), text)
	}
}

// others are the findings of one state, by the reason that they share. Names are for what a reader may have to look into.
func (p *page) others(t Target, s attack.State, what string, names bool) {
	var order []string
	ids := map[string][]string{} // by reason
	for _, f := range t.Findings {
		if f.State != s {
			continue
		}
		reason := cmp.Or(f.Detail, f.Got, "no reason")
		if ids[reason] == nil {
			order = append(order, reason)
		}
		ids[reason] = append(ids[reason], f.ID)
	}
	if len(order) == 0 {
		return
	}
	p.line("")
	p.line("  %s %s:", number(finding.Count(t.Findings, s)), p.style(bold, what))
	for _, reason := range order {
		p.block(fmt.Sprintf("    %3d  ", len(ids[reason])), reason)
		if names {
			p.block("         ", strings.Join(ids[reason], ", "))
		}
	}
}

// block writes text under a head, broken between words.
func (p *page) block(head, text string) { p.out.WriteString(Block(head, printable(text))) }

// Block is text under a head, broken between words, for a terminal.
func Block(head, text string) string {
	var b strings.Builder
	line, indent := head, utf8.RuneCountInString(head)
	width := indent
	room := max(columns-indent, 20)
	for word := range words(text, room) {
		n := utf8.RuneCountInString(word)
		if width+n > columns && width > indent {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line, width = strings.Repeat(" ", indent), indent
		}
		line += word + " "
		width += n + 1
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	return b.String()
}

// words are those of a text, one that fits no line in pieces.
func words(text string, most int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for word := range strings.FieldsSeq(text) {
			for rest := []rune(word); len(rest) > 0; rest = rest[min(most, len(rest)):] {
				if !yield(string(rest[:min(most, len(rest))])) {
					return
				}
			}
		}
	}
}

func gradeStyle(g finding.Grade) string {
	switch g {
	case "A+", "A":
		return green
	case "B", "C":
		return yellow
	}
	return red
}

func severityStyle(s finding.Severity) string {
	switch {
	case s >= finding.High:
		return red
	case s == finding.Medium:
		return yellow
	}
	return dim
}
