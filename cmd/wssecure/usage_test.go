package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

func TestMistakesOfUse(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args []string
		want string // on stderr
	}{
		{nil, "wssecure scan [flags] URL"},
		{[]string{"scam"}, `"scam" is no command`},
		{[]string{"scan"}, "no target"},
		{[]string{"scan", "https://chat.example.com"}, `scheme "https"; write wss://`},
		{[]string{"scan", "chat.example.com"}, "no scheme; write wss://"},
		{[]string{"scan", "wss://chat.example.com/ws", "localhost:8443/ws"}, "target 2: no scheme; write wss://"},
		{[]string{"scan", "127.0.0.1:8443/ws"}, "no scheme; write wss://"},
		{[]string{"scan", "wss:///ws"}, "names no host"},
		{[]string{"scan", "wss://user:canary@chat.example.com"}, tokenVariable},
		{[]string{"scan", "wss://chat.example.com/#x"}, "fragment"},
		{[]string{"scan", "wss://chat.example.com:0/"}, "port"},
		{[]string{"scan", "wss://chat.example.com:99999/"}, "port"},
		{[]string{"scan", "wss://b\u00fccher.example/"}, "xn--"},
		{[]string{"scan", "wss://[fe80::1%25eth0]/"}, "zone"},
		{[]string{"scan", "wss://a b/"}, "does not parse"},
		{[]string{"scan", "wss://x/\x1b[2J"}, "does not parse"},
		{[]string{"scan", "--token", "canary", "wss://x/"}, "flag provided but not defined"},
		{[]string{"scan", "--format", "yaml", "wss://x/"}, "text, json, sarif or html"},
		{[]string{"scan", "--min-grade", "E", "wss://x/"}, "no grade"},
		{[]string{"scan", "--rate", "0", "wss://x/"}, "--rate: 0"},
		{[]string{"scan", "--count", "-1", "wss://x/"}, "--count: -1"},
		{[]string{"scan", "--conns", "100000", "wss://x/"}, "--conns"},
		{[]string{"scan", "--timeout", "0s", "wss://x/"}, "--timeout"},
		{[]string{"scan", "--patience", "-1s", "wss://x/"}, "--patience"},
		{[]string{"scan", "--max-time", "0s", "wss://x/"}, "--max-time"},
		{[]string{"scan", "--plain-port", "http", "wss://x/"}, "--plain-port"},
		{[]string{"scan", "--origin", "app.example.com", "wss://x/"}, "--origin"},
		{[]string{"scan", "--origin", "https://a/\x1b", "wss://x/"}, "--origin"},
		{[]string{"scan", "--subprotocol", "a b", "wss://x/"}, "--subprotocol"},
		{[]string{"scan", "--token-in", "cookie", "wss://x/"}, "cookie:session"},
		{[]string{"scan", "--token-in", "header", "wss://x/"}, "--token-in"},
		{[]string{"scan", "--ca", "/nonexistent", "wss://x/"}, "--ca"},
		{[]string{"scan", "--ca", empty, "wss://x/"}, "no PEM certificate"},
		{[]string{"scan", "--ca", empty, "--insecure-ca", "wss://x/"}, "remove one"},
		{[]string{"scan", "--connect", "127.0.0.1", "wss://x/"}, "host:port"},
		{[]string{"scan", "--connect", "127.0.0.1:1", "wss://x/", "wss://y/"}, "one target"},
		{[]string{"scan", "-o", "/nonexistent/report", "ws://127.0.0.1:1/"}, "/nonexistent/report"},
		{[]string{"explain"}, "one ID"},
		{[]string{"explain", "origin-forein"}, "did you mean origin-foreign"},
		{[]string{"explain", "rc4"}, "tls-rc4"},
		{[]string{"explain", "\x1b[2Jzzzzzzzzzzzzzzzzzz"}, "wssecure list"},
		{[]string{"list", "x"}, "list takes nothing"},
		{[]string{"version", "x"}, "version takes nothing"},
	} {
		t.Run(strings.Join(row.args, " "), func(t *testing.T) {
			o := run(t, "", row.args...)
			if o.code != 2 || !strings.Contains(o.err, row.want) {
				t.Errorf("exit %d, want %q:\n%s", o.code, row.want, o.err)
			}
			if strings.Contains(o.err, "canary") {
				t.Error("a secret of the command line is repeated")
			}
			if o.err = strings.ReplaceAll(o.err, "\t", " "); !strings.Contains(o.out, "cannot be graded") {
				harmless(t, o)
			}
		})
	}
}

const tokenVariable = "WSSECURE_TOKEN"

func TestTokensWithBlanksAreRefused(t *testing.T) {
	for _, token := range []string{"canary token", "canary\r\nX: y", "canaryé"} {
		if o := run(t, token, "scan", "wss://127.0.0.1:1/"); o.code != 2 || !strings.Contains(o.err, tokenVariable) || strings.Contains(o.err, "canary") {
			t.Errorf("%q: exit %d, %s", token, o.code, o.err)
		}
	}
}

func TestCommandsThatSucceed(t *testing.T) {
	for _, row := range []struct{ args, want string }{
		{"version", "wssecure "},
		{"help", "wssecure explain ID"},
		{"scan -h", "-active"},
		{"explain ORIGIN-FOREIGN", "AllowOrigins"},
		{"explain tls-rc4", "RFC 7465"},
		{"list", "origin-foreign"},
	} {
		if o := run(t, "", strings.Fields(row.args)...); o.code != 0 || !strings.Contains(o.out, row.want) {
			t.Errorf("%s: exit %d, %s%s", row.args, o.code, o.out, o.err)
		}
	}
}

// What is wrong is the one thing to read, not the last line below thirty flags.
func TestAMistakenFlagIsOneLine(t *testing.T) {
	for _, row := range []struct{ args, want string }{
		{"scan --token canary wss://x/", "flag provided but not defined: -token"},
		{"scan --timeout 5 wss://x/", `invalid value "5" for flag -timeout`},
		{"scan wss://x/ --format", "flag needs an argument: -format"},
	} {
		o := run(t, "", strings.Fields(row.args)...)
		if o.code != 2 || o.out != "" || !strings.HasPrefix(o.err, "wssecure: "+row.want) || !strings.HasSuffix(o.err, "\"wssecure scan -h\" lists the flags\n") || strings.Count(o.err, "\n") != 1 {
			t.Errorf("%s: exit %d, %q %q", row.args, o.code, o.out, o.err)
		}
	}
}

func TestExitCodesFollowTheGrade(t *testing.T) {
	t.Parallel()
	target := "ws://" + testbed.Serve(t, weak()) + "/"
	file := filepath.Join(t.TempDir(), "report.json")
	testbed.Try(t, func(t *testbed.Trial) {
		for _, row := range []struct {
			args []string
			code int
		}{
			{nil, 1},
			{[]string{"--min-grade", "F"}, 0},
			{[]string{"--min-grade", "D"}, 1},
			{[]string{"-o", file, "--format", "json"}, 1},
		} {
			if o := run(t, "", append([]string{"scan", target, "--rate", "500", "--quiet"}, row.args...)...); o.code != row.code || o.err != "" {
				t.Errorf("%v: exit %d, want %d; %s", row.args, o.code, row.code, o.err)
			} else if len(row.args) > 0 && row.args[0] == "-o" && o.out != "" {
				t.Errorf("%v: output beside the file: %s", row.args, o.out)
			}
		}
		if written, err := os.ReadFile(file); err != nil || !strings.Contains(string(written), `"grade": "F"`) {
			t.Errorf("%v: %s", err, written)
		}
		// What cannot be scanned weighs more than what was found, and the other target is reported all the same.
		o, d := scanJSON(t, "", "--rate", "500", "--min-grade", "F", "ws://127.0.0.1:1/", target)
		if o.code != 2 || len(d.Targets) != 2 || d.Targets[0].Error == "" || d.Targets[1].Grade != "F" {
			t.Errorf("exit %d, %+v", o.code, d.Targets)
		}
		if !strings.Contains(o.err, "scanning "+target) {
			t.Errorf("no progress: %s", o.err)
		}
	})
}

// A count that is too small ends in checks that could not be decided, never in a good grade.
func TestCountIsABound(t *testing.T) {
	t.Parallel()
	o, d := scanJSON(t, "", "--count", "5", "ws://"+testbed.Serve(t, weak())+"/")
	if got := d.Targets[0]; o.code == 0 || got.Grade == "A+" || got.Error == "" && got.Counts["unclear"] == 0 {
		t.Errorf("exit %d, grade %q, %v", o.code, got.Grade, got.Counts)
	}
}
