package finding

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wssecure/wssecure/internal/attack"
)

// A Grade is a target's, from A+ down to F.
type Grade string

// grades from best to worst. There is no E, as at those who grade TLS.
var grades = []Grade{Best, "A", "B", "C", "D", "F"}

// Best is the grade without any finding.
const Best Grade = "A+"

// ParseGrade reads a grade as a user writes it.
func ParseGrade(s string) (Grade, error) {
	if g := Grade(strings.ToUpper(s)); slices.Contains(grades, g) {
		return g, nil
	}
	return "", fmt.Errorf("%q is no grade; write A+, A, B, C, D or F", s)
}

// Below reports whether g is worse than least. No grade at all is worse than any.
func (g Grade) Below(least Grade) bool {
	if g == "" {
		return true
	}
	return slices.Index(grades, g) > slices.Index(grades, least)
}

// GradeOf is the grade that the findings give, and why: the gravest decides, info never counts. Without an admitted
// handshake the best is A: what stands behind a refusal was not seen.
func GradeOf(all []Finding, admitted bool) (Grade, string) {
	var n [Critical + 1]int
	unclear := 0
	for _, f := range all {
		switch {
		case f.State == attack.Broken:
			n[f.Severity]++
		case f.State == attack.Unclear && f.Severity >= Medium:
			unclear++
		}
	}
	switch {
	case n[Critical] > 0:
		return "F", count(n[Critical], "critical finding")
	case n[High] > 1:
		return "F", count(n[High], "high finding")
	case n[High] == 1:
		return "D", "1 high finding"
	case n[Medium] > 1:
		return "C", count(n[Medium], "medium finding")
	case n[Medium] == 1:
		return "B", "1 medium finding"
	case n[Low] > 0:
		return "A", count(n[Low], "low finding")
	case !admitted:
		return "A", "no finding, but the honest handshake was refused, so not everything was seen"
	case unclear > 0:
		return "A", "no finding, but " + count(unclear, "check") + " could not be decided"
	}
	return Best, "no finding"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
