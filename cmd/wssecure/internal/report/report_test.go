package report_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/report"
	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/quote"
)

// hostile is what a target says to get out of the report it is in; told is how checks hand it on.
const hostile = "\x1b[2J</code><script>alert(1)</script>\" onload=x \u202e [click](javascript:alert(1)) <!-- \r\n]]>"

var told = quote.Cut(hostile, quote.Value)

func sample() *report.Report {
	rule := func(id, group string, s finding.Severity) finding.Rule {
		return finding.Rule{
			ID: id, Group: group, Severity: s, Title: "what " + id + " tries",
			Why: "a page of the attacker opens a socket in the name of whoever visits it, with their cookies and from their network",
			Fix: "compare scheme, host and port of Origin with a list", Option: `AllowOrigins("https://app.example.com")`,
			Refs: []string{"CWE-1385", "RFC 6455 10.2"},
		}
	}
	from := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &report.Report{
		Version: "v1.2.3", Started: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC), Active: true,
		Targets: []report.Target{
			{
				URL: "wss://chat.example.com:8443/ws?ticket=…", Grade: "F", Because: "1 critical finding", Admitted: true,
				Answer: "HTTP/1.1 101 Switching Protocols", Notes: []string{"The token was not sent: anybody could stand behind this connection."},
				TLS: &report.TLS{Version: "TLS 1.3", Suite: "TLS_AES_128_GCM_SHA256", Group: "X25519MLKEM768", Chain: []report.Certificate{
					{Subject: "CN=" + told, Issuer: "CN=testbed", Key: "ECDSA P-256", Signature: "ECDSA-SHA256", From: from, To: from.AddDate(0, 3, 0)},
				}},
				Findings: []finding.Finding{
					{Rule: rule("origin-foreign", "origin", finding.Critical), Verdict: finding.Verdict{State: attack.Broken, Sent: "Origin: https://evil.example", Got: told, Detail: told}},
					{Rule: rule("origin-suffix", "origin", finding.High), Verdict: finding.Verdict{State: attack.Broken, Sent: "Origin: https://chat.example.com.evil.example", Got: told}},
					{Rule: rule("tls-1-0", "tls", finding.Medium), Verdict: finding.Broken("TLS 1.0")},
					{Rule: rule("page-version", "pages", finding.Info), Verdict: finding.Broken(told)},
					{Rule: rule("origin-null", "origin", finding.High), Verdict: finding.Unclear("the same answer as to an honest one")},
					{Rule: rule("origin-port", "origin", finding.Low), Verdict: finding.Unclear("the same answer as to an honest one")},
					{Rule: rule("cookie-secure", "cookies", finding.Medium), Verdict: finding.Left("no cookie was set")},
					{Rule: rule("tls-rc4", "tls", finding.High), Verdict: finding.Held("refused: alert handshake_failure")},
				},
				Took: 1234 * time.Millisecond,
			},
			{URL: "ws://[::1]/", Error: "[::1]:80 speaks SSH: " + told, Took: 10 * time.Millisecond},
		},
	}
}

func written(t *testing.T, r *report.Report, format string, colour bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, r, format, colour); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The golden files are what users read and programs parse: look at a difference before it is taken. WSS_UPDATE=1 writes
// them anew.
func TestFormatsAreStable(t *testing.T) {
	for _, format := range []string{"text", "json", "sarif", "html"} {
		t.Run(format, func(t *testing.T) {
			golden := filepath.Join("testdata", "sample."+format)
			got := written(t, sample(), format, false)
			if os.Getenv("WSS_UPDATE") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("differs from %s:\n%s", golden, got)
			}
		})
	}
}

func TestNothingOfATargetActs(t *testing.T) {
	for _, format := range []string{"text", "json", "sarif", "html"} {
		got := written(t, sample(), format, false)
		for _, r := range got {
			if r < ' ' && r != '\n' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == '\u202e' {
				t.Errorf("%s: control character %U", format, r)
			}
		}
	}
	html := written(t, sample(), "html", false)
	for _, tag := range []string{"<script", "javascript:alert(1)\"", "<!-- ", "style=", "http-equiv=\"refresh", "src=", " onload=x \""} {
		if strings.Contains(html, tag) {
			t.Errorf("html has %s", tag)
		}
	}
	if sarif := written(t, sample(), "sarif", false); strings.Contains(sarif, "](javascript") {
		t.Error("sarif: a link of the target's")
	}
	// Should a check forget to quote, the terminal is safe all the same.
	r := sample()
	r.Targets[0].Findings[0].Got, r.Targets[1].Error, r.Targets[0].Answer = hostile, hostile, hostile
	r.Targets[0].Findings[3].Detail, r.Targets[0].TLS.Chain[0].Subject = hostile, hostile
	if text := written(t, r, "text", false); strings.ContainsAny(text, "\x1b\r\u202e") {
		t.Errorf("text: %q", text)
	}
	if html := written(t, r, "html", false); strings.Contains(html, "<script") {
		t.Error("html: markup")
	}
}

func TestColourIsForTerminalsOnly(t *testing.T) {
	plain, colour := written(t, sample(), "text", false), written(t, sample(), "text", true)
	if strings.Contains(plain, "\x1b") || !strings.Contains(colour, "\x1b[1;31mGrade F\x1b[0m") {
		t.Errorf("%q", colour)
	}
	if stripped := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(colour, ""); stripped != plain {
		t.Error("colour changes more than colour")
	}
}

func TestTextFitsItsColumns(t *testing.T) {
	r := sample()
	r.Targets[0].Because = strings.Repeat("why ", 30)
	r.Targets[0].Findings[0].Title = strings.Repeat("what ", 20)
	r.Targets[0].Findings[0].Got = strings.Repeat("long", 60)
	text := written(t, r, "text", false)
	if !strings.Contains(strings.Join(strings.Fields(text), ""), strings.Repeat("long", 60)) {
		t.Error("what is broken into lines is not all there")
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") && len([]rune(strings.TrimSpace(line))) > 80 {
			t.Errorf("%d columns: %s", len([]rune(line)), line)
		}
	}
}

// What the schema of SARIF 2.1.0 requires, and what code hosts require beyond it.
func TestSARIFHasWhatItsReadersRequire(t *testing.T) {
	var log struct {
		Schema  string `json:"$schema"`
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name, Version, InformationURI string
					Rules                         []struct {
						ID, Name, HelpURI                       string
						ShortDescription, FullDescription, Help struct{ Text, Markdown string }
						DefaultConfiguration                    struct{ Level string }
						Properties                              map[string]any
					}
				}
			}
			Invocations []struct {
				ExecutionSuccessful        *bool
				StartTimeUtc               time.Time
				ToolExecutionNotifications []struct {
					Level   string
					Message struct{ Text string }
				}
			}
			Results []struct {
				RuleID, Level, Kind string
				RuleIndex           int
				Message             struct{ Text string }
				Locations           []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
				}
				PartialFingerprints map[string]string
			}
		}
	}
	d := json.NewDecoder(strings.NewReader(written(t, sample(), "sarif", false)))
	if err := d.Decode(&log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || log.Schema == "" || len(log.Runs) != 1 {
		t.Fatalf("version %q, schema %q, %d runs", log.Version, log.Schema, len(log.Runs))
	}
	run := log.Runs[0]
	driver := run.Tool.Driver
	if driver.Name != "wssecure" || driver.Version == "" || !strings.HasPrefix(driver.InformationURI, "https://") {
		t.Errorf("driver: %+v", driver)
	}
	if len(run.Invocations) != 1 || run.Invocations[0].ExecutionSuccessful == nil || *run.Invocations[0].ExecutionSuccessful ||
		run.Invocations[0].StartTimeUtc.IsZero() || len(run.Invocations[0].ToolExecutionNotifications) != 1 {
		t.Errorf("a target that could not be scanned is not told: %+v", run.Invocations)
	}
	for _, r := range driver.Rules {
		if r.ID == "" || r.Name == "" || r.ShortDescription.Text == "" || r.FullDescription.Text == "" || r.Help.Text == "" || r.Help.Markdown == "" ||
			!strings.HasPrefix(r.HelpURI, "https://") || r.DefaultConfiguration.Level == "" || r.Properties["security-severity"] == nil {
			t.Errorf("rule: %+v", r)
		}
	}
	if len(run.Results) != 4 {
		t.Fatalf("%d results, want one for each of four findings", len(run.Results))
	}
	prints := map[string]bool{}
	for _, r := range run.Results {
		if r.RuleIndex >= len(driver.Rules) || driver.Rules[r.RuleIndex].ID != r.RuleID {
			t.Errorf("%s: index %d is another rule", r.RuleID, r.RuleIndex)
		}
		if r.Message.Text == "" || r.Kind != "fail" || len(r.Locations) != 1 || r.Locations[0].PhysicalLocation.Region.StartLine != 1 {
			t.Errorf("result: %+v", r)
		}
		// Code hosts take paths within the repository only: no scheme, and no colon that could look like one.
		if uri := r.Locations[0].PhysicalLocation.ArtifactLocation.URI; uri != "chat.example.com_8443/ws" {
			t.Errorf("%s: location %q", r.RuleID, uri)
		}
		if p := r.PartialFingerprints["wssecure/v1"]; p == "" || prints[p] {
			t.Errorf("%s: fingerprint %q", r.RuleID, p)
		} else {
			prints[p] = true
		}
	}
	for want, r := range map[string]int{"error": 1, "warning": 2, "note": 3} {
		if run.Results[r].Level != want {
			t.Errorf("%s: level %q, want %q", run.Results[r].RuleID, run.Results[r].Level, want)
		}
	}
}

// Thirty ways round one check are one thing to mend, and one place to read about it.
func TestFindingsOfOneFixStandTogether(t *testing.T) {
	for _, format := range []string{"text", "html"} {
		got := written(t, sample(), format, false)
		// Origin twice under one head, TLS and pages under their own.
		if n := strings.Count(strings.Join(strings.Fields(got), " "), "compare scheme, host and port of Origin with a list"); n != 3 {
			t.Errorf("%s: the fix is told %d times", format, n)
		}
	}
}

func TestEmptyReports(t *testing.T) {
	for _, format := range []string{"text", "json", "sarif", "html"} {
		written(t, &report.Report{}, format, false)
		written(t, &report.Report{Targets: []report.Target{{}}}, format, true)
	}
	for _, list := range []string{`"rules": []`, `"results": []`} {
		if sarif := written(t, &report.Report{}, "sarif", false); !strings.Contains(sarif, list) {
			t.Errorf("sarif lacks %s", list)
		}
	}
	if err := report.CheckFormat("yaml"); err == nil {
		t.Error("yaml was taken")
	}
}

func TestWorst(t *testing.T) {
	for _, row := range []struct {
		grades []finding.Grade
		want   finding.Grade
	}{{[]finding.Grade{"A+", "B", "A"}, "B"}, {[]finding.Grade{"A+"}, "A+"}, {[]finding.Grade{"F", ""}, ""}, {[]finding.Grade{"D", "F"}, "F"}} {
		r := &report.Report{}
		for _, g := range row.grades {
			r.Targets = append(r.Targets, report.Target{Grade: g})
		}
		if got := r.Worst(); got != row.want {
			t.Errorf("%v: %q, want %q", row.grades, got, row.want)
		}
	}
}
