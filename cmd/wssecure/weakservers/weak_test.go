package weakservers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
	"github.com/wssecure/wssecure/internal/program"
)

// scanner is the command, built once.
var scanner string

func TestMain(m *testing.M) {
	lookForTools()
	if !announceMissing() {
		os.Exit(1)
	}
	os.Exit(testbed.Run(m, &scanner))
}

// announceMissing says aloud which targets a machine cannot run, and reports whether it may do without them.
func announceMissing() bool {
	may := true
	for _, tool := range []tool{tools.node, tools.python, tools.nginx} {
		may = program.Announce("The targets of "+tool.name, tool.require, tool.missing) && may
	}
	return may
}

// A target is a server that runs, and what to scan of it.
type target struct {
	args    []string
	token   string
	version string // of what the machine has brought, not go.mod or package-lock.json
}

// A server is a row of the table.
type server struct {
	name  string
	needs *tool
	serve func(t *testing.T, ca *testbed.Authority) target
	owed  []string // findings without which the scanner has not seen what the server is
}

// anybody is what every server owes that lets any page in, serves without end and bounds no time: all that are weak here do.
var anybody = []string{
	"origin-foreign", "origin-null", "origin-suffix", "origin-missing", "fetch-navigate", // no Origin is compared with anything
	"limit-sessions", "limit-handshakes", // nobody counts what one client has or asks
	"slow-header", "body-withheld", // no timeout is set: Go's are off by default, Node's and nginx's are a minute and more
	"key-replay", // no library remembers a nonce
}

var servers = []server{
	{
		name:  "gorilla",
		serve: func(t *testing.T, ca *testbed.Authority) target { return overTLS(t, ca, gorillaEcho()) },
		owed: []string{
			"message-size", "message-size-fragments", // SetReadLimit is off until it is called
			"flood-ping", "flood-fragments", "flood-messages", // nothing is counted
			"text-invalid", // UTF-8 is left to the application
			"tls-cbc",      // Go's default suites still hold them for TLS 1.2
			"header-hsts",
		},
	},
	{
		name:  "coder",
		serve: func(t *testing.T, ca *testbed.Authority) target { return overTLS(t, ca, coderEcho()) },
		owed: []string{
			"flood-ping", "flood-fragments", "flood-messages", // nothing is counted
			"reflected-version", "reflected-upgrade", // its refusals quote what was sent
			"text-invalid", "tls-cbc", "header-hsts",
		},
	},
	{
		name:  "gws",
		serve: func(t *testing.T, _ *testbed.Authority) target { return inClear(t, gwsEcho()) },
		owed: []string{
			"plain-target", "origin-rebinding", // no TLS, and any Host: a rebound name is served
			"message-size-fragments", // 16 MiB by default
			"key-short", "key-text",  // the key is never decoded
			"text-invalid", // CheckUtf8Enabled is off by default
			"flood-ping", "flood-messages",
		},
	},
	{
		name:  "melody",
		serve: func(t *testing.T, _ *testbed.Authority) target { return inClear(t, melodyEcho()) },
		owed: []string{
			"plain-target", "origin-rebinding",
			"flood-ping", "flood-messages", // nothing is counted, though a message may have 512 bytes only
			"text-invalid",
		},
	},
	{
		name:  "ws",
		needs: &tools.node,
		serve: func(t *testing.T, _ *testbed.Authority) target { return script(t, "/", "node", "ws.mjs") },
		owed: []string{
			"plain-target", "origin-rebinding",
			"message-size-fragments", // maxPayload is 100 MiB
			"flood-pong", "flood-messages",
			"version-draft", // it takes version 8 too
		},
	},
	{
		name:  "socket.io",
		needs: &tools.node,
		serve: func(t *testing.T, _ *testbed.Authority) target {
			return script(t, "/socket.io/?EIO=4&transport=websocket", "node", "socketio.mjs")
		},
		owed: []string{
			"plain-target", "origin-rebinding",
			"page-cors", // cors: { origin: true, credentials: true }
			"flood-ping", "flood-pong",
		},
	},
	{
		name:  "websockets",
		needs: &tools.python,
		serve: func(t *testing.T, _ *testbed.Authority) target { return script(t, "/", pythonPath(), "echo.py") },
		owed: []string{
			"plain-target", "origin-rebinding",
			"message-size", "message-size-fragments", // max_size=None
			"compression-bomb", // compression is on by default, and nothing bounds what comes out
			"flood-ping", "flood-messages",
			"header-version", // Server: Python/3.11 websockets/10.4
		},
	},
	{
		name:  "nginx",
		needs: &tools.nginx,
		serve: func(t *testing.T, ca *testbed.Authority) target { return behindNginx(t, ca, gorillaEcho()) },
		owed: []string{
			"connection-none",        // the configuration makes an upgrade of what asked for none
			"header-version",         // server_tokens is on
			"tls-cbc", "tls-rsa-kex", // ssl_ciphers HIGH:!aNULL:!MD5, with an RSA certificate
			"message-size", "flood-ping", // frames pass as they are
			"header-hsts",
		},
	},
	{name: "wssecure", serve: func(t *testing.T, ca *testbed.Authority) target { return guarded(t, ca) }},
}

// Each weak server has the findings of its file, those that it owes among them; a guard has none, and the best grade.
func TestEveryWeakServerIsSeenThrough(t *testing.T) {
	ca := testbed.NewAuthority(t)
	found := newTable()
	t.Run("server", func(t *testing.T) {
		for _, s := range servers {
			if s.needs != nil && len(s.needs.missing) > 0 {
				t.Attr("left-out", s.name+": "+strings.Join(s.needs.missing, ", "))
				continue
			}
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				testbed.Try(t, func(t *testbed.Trial) { s.scan(t, ca, found) })
			})
		}
	})
	found.print(t)
	t.Run("manual", wantManual) // after the servers, so that one run with WSS_UPDATE=1 is enough
}

// bounds leave room for what opens hundreds of connections.
var bounds = append(testbed.Unhurried, "--active", "--rate", "1000", "--conns", "310", "--count", "6000")

// scan compares what is found in a server with what should be.
func (s server) scan(t *testbed.Trial, ca *testbed.Authority, found *table) {
	target := s.serve(t.T, ca)
	report := testbed.Scan(t, scanner, target.token, append(bounds[:len(bounds):len(bounds)], target.args...)...)
	found.note(s.name, report)
	if s.owed == nil && (report.Grade != "A+" || len(report.Findings) > 0) {
		t.Errorf("a sound server has grade %s and %v", report.Grade, report.Findings)
	}
	for _, id := range s.owes() {
		if !report.Has(id) {
			t.Errorf("%s is not found", id)
		}
	}
	file := golden(s.name, target.version)
	if _, err := os.Stat(file); err != nil && target.version != "" && os.Getenv("WSS_UPDATE") == "" {
		t.Attr("left-out", fmt.Sprintf("there is no %s to compare with: only what every version owes is known", file))
		return
	}
	report.Expect(t, file)
}

func (s server) owes() []string {
	if s.owed == nil {
		return nil
	}
	return append(anybody[:len(anybody):len(anybody)], s.owed...)
}

// golden is the file with the findings of a server, of one version where the machine has brought it.
func golden(name, version string) string {
	if version != "" {
		name += "-" + version
	}
	return filepath.Join("testdata", name+".txt")
}
