package benchmarks

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var reportFile = flag.String("report", "", "where to write what the benchmarks have seen, as Markdown")

func TestMain(m *testing.M) {
	flag.Parse()
	if played, err := playRole(); played {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if *reportFile != "" && len(figures.order) > 0 {
		if err := os.WriteFile(*reportFile, []byte(report()), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// report is docs/benchmarks.md.
func report() string {
	var b strings.Builder
	b.WriteString(`# Benchmarks

Written by ` + "`make bench`" + `, not by hand. Each ratio is of two sides that alternate within one run, in slices of 100 ms, 20 rounds, their order
swapped each round: the median of the rounds. A target counts as missed when every run is 5 % beyond it. Absolute figures are this machine's, on that day.
Rows in "ns more" are of the processor's time.

`)
	fmt.Fprintf(&b, "%s, %s, %s/%s, %d cores of %s%s.\n\n", time.Now().UTC().Format("2 January 2006"), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor(), load())
	if versions := peerVersions(); len(versions) > 0 {
		fmt.Fprintf(&b, "Beside: %s.\n\n", strings.Join(versions, ", "))
	}
	var missed []why
	b.WriteString("| figure | unit | goal | seen | verdict |\n|---|---|---|---|---|\n")
	figures.Lock()
	defer figures.Unlock()
	for _, name := range inOrder(figures.order) {
		seen := figures.of[name]
		goal, verdict := "-", "-"
		if t, err := findTarget(name); err == nil {
			goal, verdict = "≤ "+number(t.goal), "reached"
			if t.floor {
				goal = "≥ " + number(t.goal)
			}
			if !slices.ContainsFunc(seen, func(v float64) bool { return !t.missed(v) }) {
				verdict = "**missed**"
				if t.why != "" && !slices.Contains(missed, t.why) {
					missed = append(missed, t.why)
				}
			}
		}
		var all []string
		for _, v := range seen {
			all = append(all, number(v))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name, figures.unit[name], goal, strings.Join(all, ", "), verdict)
	}
	if len(missed) > 0 {
		b.WriteString("\nWhat the missed ones are spent on, as far as it is known:\n")
	}
	for _, w := range missed {
		fmt.Fprintf(&b, "\n- %s%s\n", strings.ToUpper(string(w[:1])), w[1:])
	}
	return b.String()
}

// inOrder is that of targets.go, what has none behind it.
func inOrder(seen []string) []string {
	var all []string
	for _, t := range targets {
		if slices.Contains(seen, t.name) {
			all = append(all, t.name)
		}
	}
	for _, name := range seen {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

func number(v float64) string {
	switch {
	case v >= 100 || v <= -100 || v == float64(int(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	}
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.3f", v), "0"), ".")
}

func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "an unknown processor"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "an unknown processor"
}

// load tells how busy the machine was, with these benchmarks and all else.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 2 {
		return ", load average " + fields[2] + " over the last 15 minutes"
	}
	return ""
}

// peerVersions are what go.mod pins: a test binary knows no versions.
func peerVersions() (all []string) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		path, version, ok := strings.Cut(strings.TrimSpace(line), " v")
		if ok && strings.Contains(path, "/") && !strings.Contains(version, "//") && !strings.Contains(path, "wssecure") {
			all = append(all, strings.TrimPrefix(path, "github.com/")+" "+version)
		}
	}
	return all
}

func TestMissedOnlyWhenEveryRunIs(t *testing.T) {
	most, least := target{goal: 1}, target{goal: 1, floor: true}
	for _, row := range []struct {
		t    target
		v    float64
		want bool
	}{{most, 1.04, false}, {most, 1.06, true}, {most, 0.1, false}, {least, 0.96, false}, {least, 0.94, true}, {least, 9, false}} {
		if row.t.missed(row.v) != row.want {
			t.Errorf("%+v missed by %v: %v, want %v", row.t, row.v, !row.want, row.want)
		}
	}
}

func TestTargetsAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, target := range targets {
		if seen[target.name] || target.goal <= 0 || target.unit == "" {
			t.Errorf("%+v is there twice, or has no goal or unit", target)
		}
		seen[target.name] = true
	}
}
