package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/report"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/scan"
)

// explain tells all about one check.
func (c *console) explain(args []string) int {
	if len(args) != 1 || strings.HasPrefix(args[0], "-") {
		return c.fault("explain wants one ID, as in: wssecure explain origin-foreign")
	}
	id := strings.ToLower(args[0])
	rules := scan.Rules()
	i := slices.IndexFunc(rules, func(r finding.Rule) bool { return r.ID == id })
	if i < 0 {
		return c.fault("no check has the ID %q; %s", args[0], suggestion(id, rules))
	}
	r := rules[i]
	when := "with every scan"
	if r.Active {
		when = "with --active only"
	}
	fmt.Fprintf(c.out, "%s (%s, %s, %s)\n\n", r.ID, r.Group, r.Severity, when)
	for _, field := range []struct{ name, text string }{
		{"tried", r.Title}, {"why", r.Why}, {"fix", r.Fix}, {"wssecure", r.Option}, {"see", strings.Join(r.Refs, ", ")},
	} {
		if field.text != "" {
			fmt.Fprint(c.out, report.Block(fmt.Sprintf("  %-9s ", field.name), field.text))
		}
	}
	return exitFine
}

// list names every check, so that one can be explained.
func (c *console) list(args []string) int {
	if len(args) != 0 {
		return c.fault("list takes nothing")
	}
	group := ""
	for _, r := range scan.Rules() {
		if r.Group != group {
			group = r.Group
			fmt.Fprintf(c.out, "%s\n", group)
		}
		mark := " "
		if r.Active {
			mark = "*"
		}
		fmt.Fprint(c.out, report.Block(fmt.Sprintf(" %s %-24s %-8s  ", mark, r.ID, r.Severity), r.Title))
	}
	fmt.Fprintln(c.out, "\n* with --active only")
	return exitFine
}

// suggestion names the IDs that are nearest to what was typed.
func suggestion(typed string, rules []finding.Rule) string {
	type near struct {
		id   string
		away int
	}
	var list []near
	for _, r := range rules {
		away := distance(typed, r.ID)
		if strings.Contains(r.ID, typed) {
			away = 1
		}
		if away <= max(3, len(r.ID)/3) {
			list = append(list, near{r.ID, away})
		}
	}
	if len(list) == 0 {
		return "wssecure list names them all"
	}
	slices.SortStableFunc(list, func(a, b near) int { return a.away - b.away })
	var ids []string
	for _, n := range list[:min(len(list), 3)] {
		ids = append(ids, n.id)
	}
	return "did you mean " + strings.Join(ids, ", ") + "?"
}

// distance is Levenshtein's: how many letters have to change.
func distance(a, b string) int {
	const longest = 64 // whatever is longer is like none
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
