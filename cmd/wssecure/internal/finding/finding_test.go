package finding_test

import (
	"slices"
	"testing"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
)

func found(severities ...finding.Severity) []finding.Finding {
	var all []finding.Finding
	for _, s := range severities {
		all = append(all, finding.Finding{Rule: finding.Rule{Severity: s}, Verdict: finding.Broken("")})
	}
	return all
}

func TestGradeOf(t *testing.T) {
	unclear := func(s finding.Severity) []finding.Finding {
		return []finding.Finding{{Rule: finding.Rule{Severity: s}, Verdict: finding.Unclear("")}}
	}
	other := func(v finding.Verdict) []finding.Finding {
		return []finding.Finding{{Rule: finding.Rule{Severity: finding.Critical}, Verdict: v}}
	}
	for _, row := range []struct {
		name    string
		all     []finding.Finding
		refused bool
		want    finding.Grade
	}{
		{"nothing", nil, false, "A+"},
		{"info", found(finding.Info, finding.Info), false, "A+"},
		{"what held or was left", append(other(finding.Held("")), other(finding.Left(""))...), false, "A+"},
		{"refused", nil, true, "A"},
		{"undecided, medium", unclear(finding.Medium), false, "A"},
		{"undecided, low", unclear(finding.Low), false, "A+"},
		{"low", found(finding.Low, finding.Low, finding.Low), false, "A"},
		{"one medium", found(finding.Low, finding.Medium), false, "B"},
		{"two medium", found(finding.Medium, finding.Medium), false, "C"},
		{"one high", found(finding.High, finding.Medium, finding.Medium), false, "D"},
		{"two high", found(finding.High, finding.High), false, "F"},
		{"critical", found(finding.Critical), false, "F"},
		{"critical, refused", found(finding.Critical), true, "F"},
	} {
		if got, why := finding.GradeOf(row.all, !row.refused); got != row.want || why == "" {
			t.Errorf("%s: %s because %q, want %s", row.name, got, why, row.want)
		}
	}
}

func TestGradesAreInOrder(t *testing.T) {
	order := []finding.Grade{"A+", "A", "B", "C", "D", "F"}
	for i, g := range order {
		for j, least := range order {
			if g.Below(least) != (i > j) {
				t.Errorf("%s below %s: %v", g, least, g.Below(least))
			}
		}
	}
	if !finding.Grade("").Below("F") {
		t.Error("no grade is good enough")
	}
	for _, text := range []string{"", "E", "A++", "1"} {
		if g, err := finding.ParseGrade(text); err == nil {
			t.Errorf("%q is %s", text, g)
		}
	}
	if g, err := finding.ParseGrade("a+"); g != "A+" || err != nil {
		t.Error(g, err)
	}
}

func TestSort(t *testing.T) {
	f := func(id string, s finding.Severity, v finding.Verdict) finding.Finding {
		return finding.Finding{Rule: finding.Rule{ID: id, Severity: s}, Verdict: v}
	}
	all := []finding.Finding{
		f("held", finding.Critical, finding.Held("")), f("left", finding.High, finding.Left("")), f("low", finding.Low, finding.Broken("")),
		f("second", finding.High, finding.Broken("")), f("unclear", finding.Info, finding.Unclear("")), f("first", finding.High, finding.Broken("")),
	}
	finding.Sort(all, []finding.Rule{{ID: "first"}, {ID: "second"}})
	var got []string
	for _, f := range all {
		got = append(got, f.ID)
	}
	if want := []string{"first", "second", "low", "unclear", "left", "held"}; !slices.Equal(got, want) {
		t.Error(got)
	}
}
