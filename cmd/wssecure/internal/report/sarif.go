package report

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/internal/attack"
)

// SARIF 2.1.0 (OASIS), as far as it is used here. Code hosts show rules with their help, and results by level.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
		ColumnKind  string            `json:"columnKind"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name            string      `json:"name"`
		InformationURI  string      `json:"informationUri"`
		SemanticVersion string      `json:"semanticVersion,omitempty"`
		Version         string      `json:"version"`
		Rules           []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string         `json:"id"`
		Name             string         `json:"name"`
		ShortDescription sarifText      `json:"shortDescription"`
		FullDescription  sarifText      `json:"fullDescription"`
		Help             sarifText      `json:"help"`
		HelpURI          string         `json:"helpUri"`
		Default          sarifLevel     `json:"defaultConfiguration"`
		Properties       sarifRuleProps `json:"properties"`
	}
	sarifText struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifLevel struct {
		Level string `json:"level"`
	}
	sarifRuleProps struct {
		Tags     []string `json:"tags"`
		Severity string   `json:"security-severity"`
	}
	sarifInvocation struct {
		Successful bool                `json:"executionSuccessful"`
		Start      time.Time           `json:"startTimeUtc"`
		Notices    []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string    `json:"level"`
		Message sarifText `json:"message"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Kind         string            `json:"kind"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Properties   map[string]string `json:"properties"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
)

const (
	home    = "https://github.com/wssecure/wssecure"
	helpURI = home + "/blob/main/docs/scanner.md"
)

// writeSARIF is for code hosts.
func writeSARIF(w io.Writer, r *Report) error {
	run := sarifRun{
		Tool: sarifTool{sarifDriver{
			Name: "wssecure", InformationURI: home, Version: r.Version, SemanticVersion: semantic(r.Version), Rules: []sarifRule{},
		}},
		Invocations: []sarifInvocation{{Successful: true, Start: r.Started.UTC()}},
		Results:     []sarifResult{},
		ColumnKind:  "utf16CodeUnits",
	}
	index := map[string]int{}
	for i, rule := range r.Rules() {
		index[rule.ID] = i
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, ruleSARIF(rule))
	}
	for _, t := range r.Targets {
		if t.Error != "" {
			run.Invocations[0].Successful = false
			run.Invocations[0].Notices = append(run.Invocations[0].Notices, sarifNotification{"error", sarifText{Text: plain(t.URL + ": " + t.Error)}})
		}
		for _, f := range t.Findings {
			if f.State == attack.Broken {
				run.Results = append(run.Results, resultSARIF(t, f, index[f.ID]))
			}
		}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

func semantic(version string) string {
	if v, ok := strings.CutPrefix(version, "v"); ok {
		return v
	}
	return ""
}

func ruleSARIF(r finding.Rule) sarifRule {
	help := r.Why + ".\n\nFix: " + r.Fix + ".\n\nIn wssecure: " + r.Option + "."
	markdown := r.Why + ".\n\n**Fix:** " + r.Fix + ".\n\n**In wssecure:** " + r.Option + "."
	if len(r.Refs) > 0 {
		help += "\n\nSee " + strings.Join(r.Refs, ", ") + "."
		markdown += "\n\nSee " + strings.Join(r.Refs, ", ") + "."
	}
	return sarifRule{
		ID: r.ID, Name: camel(r.ID), ShortDescription: sarifText{Text: r.Title}, FullDescription: sarifText{Text: r.Why},
		Help: sarifText{Text: help, Markdown: markdown}, HelpURI: helpURI + "#" + r.ID, Default: sarifLevel{level(r.Severity)},
		Properties: sarifRuleProps{Tags: []string{"security", "websocket", r.Group}, Severity: points(r.Severity)},
	}
}

// camel makes a rule's name, which some viewers want in one word.
func camel(id string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(id, "-") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

func level(s finding.Severity) string {
	switch {
	case s >= finding.High:
		return "error"
	case s == finding.Medium:
		return "warning"
	}
	return "note"
}

// points are those of CVSS that code hosts sort by; each severity has the middle of its range.
func points(s finding.Severity) string {
	return [...]string{"0.1", "2.0", "5.0", "8.0", "9.5"}[s]
}

func resultSARIF(t Target, f finding.Finding, rule int) sarifResult {
	text := f.Title + " on " + t.URL
	for _, part := range []struct{ name, text string }{{"sent", f.Sent}, {"got", f.Got}, {"detail", f.Detail}} {
		if part.text != "" {
			text += "; " + part.name + ": " + part.text
		}
	}
	sum := sha256.Sum256([]byte(t.URL + "\x00" + f.ID))
	return sarifResult{
		RuleID: f.ID, RuleIndex: rule, Kind: "fail", Level: level(f.Severity), Message: sarifText{Text: plain(text)},
		Locations:    []sarifLocation{{sarifPhysical{sarifArtifact{artifact(t.URL)}, sarifRegion{1}}}},
		Fingerprints: map[string]string{"wssecure/v1": hex.EncodeToString(sum[:16])},
		Properties:   map[string]string{"url": t.URL, "severity": f.Severity.String()},
	}
}

// plain keeps what a target said from becoming a link (SARIF section 3.11.6).
func plain(s string) string { return strings.ReplaceAll(s, "](", "] (") }

// artifact is the target as a relative path: code hosts refuse locations with a scheme of the web.
func artifact(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return "target"
	}
	host := strings.NewReplacer(":", "_", "[", "", "]", "").Replace(u.Host)
	return (&url.URL{Path: strings.TrimSuffix(host+u.Path, "/")}).EscapedPath()
}
