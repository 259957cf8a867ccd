package wssecure_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// handshakeTables are the files of testdata/handshake, which seed FuzzHandshake
// too, and what their guards have beyond the fixture's.
var handshakeTables = []struct {
	file    string
	options []wssecure.Option
}{
	{"shape", nil},
	{"hosts", []wssecure.Option{wssecure.AllowHosts("ws.example.com", "*.example.org")}},
	{"subprotocols", []wssecure.Option{wssecure.AllowSubprotocols("chat", "log")}},
	{"subprotocol-required", []wssecure.Option{wssecure.AllowSubprotocols("chat", "log"), wssecure.RequireSubprotocol()}},
	{"compression", []wssecure.Option{wssecure.AllowCompression()}},
}

func TestHandshakeRows(t *testing.T) {
	for _, table := range handshakeTables {
		t.Run(table.file, func(t *testing.T) {
			s := wssecuretest.NewServer(t, table.options...)
			for _, row := range handshakeRows(t, table.file) {
				t.Run(row.name, func(t *testing.T) {
					// A token of its own, since most rows share the fixture's nonce.
					row.check(t, s, row.apply(s.Handshake(s.Issuer.Token(row.name))))
				})
			}
			honest(t, s)
		})
	}
}

// handshakeRow is one line of a table: changes of the fixture and the answer.
type handshakeRow struct {
	name    string
	changes []string
	status  int
	reason  wssecure.Reason // "go" for net/http's own answers
	header  string          // of a 101: "Name: value", or "Name:" that must be absent
}

// byNetHTTP marks a row that no handler sees.
const byNetHTTP wssecure.Reason = "go"

func (row handshakeRow) check(t *testing.T, s *wssecuretest.Server, hs *probe.Handshake) {
	t.Helper()
	switch {
	case row.status == 101:
		r, _ := wantAdmitted(t, s, hs)
		wantSwitched(t, r, hs)
		name, value, _ := strings.Cut(row.header, ":")
		if got := strings.Join(r.Values(name), "|"); row.header != "" && got != strings.TrimSpace(value) {
			t.Errorf("%s: %q, want %q", name, got, strings.TrimSpace(value))
		}
	case row.reason == byNetHTTP:
		before := s.Guard.Stats()
		r, c := ask(t, s, hs)
		if r.Status != row.status {
			t.Errorf("status %d, want %d", r.Status, row.status)
		}
		if err := c.AwaitEOF(hang); err != nil {
			t.Error(err)
		}
		if after := s.Guard.Stats(); fmt.Sprint(after.Refused) != fmt.Sprint(before.Refused) {
			t.Errorf("the guard has counted a refusal: %v", after.Refused)
		}
	default:
		r, _ := wantRefused(t, s, hs, row.status, row.reason)
		wantStatusHeaders(t, r, row.reason)
	}
}

// wantSwitched holds a 101 to RFC 6455 section 4.2.2 and to the one security
// header that it carries (H-34).
func wantSwitched(t *testing.T, r *probe.Response, hs *probe.Handshake) {
	t.Helper()
	for _, line := range hs.Lines {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Sec-WebSocket-Key") {
			if got, want := r.Get("Sec-WebSocket-Accept"), probe.Accept(strings.Trim(value, " \t")); got != want {
				t.Errorf("Sec-WebSocket-Accept %q, want %q", got, want)
			}
		}
	}
	for name, want := range map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "Strict-Transport-Security": "max-age=31536000",
	} {
		if got := r.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q once", name, got, want)
		}
	}
	for _, name := range []string{
		"Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control",
		"Content-Type", "Content-Length", "Transfer-Encoding", "Set-Cookie",
	} {
		if got := r.Values(name); len(got) > 0 {
			t.Errorf("a 101 has %s: %q", name, got)
		}
	}
}

// wantStatusHeaders checks what single statuses and reasons add to a refusal,
// and that nothing else is there.
func wantStatusHeaders(t *testing.T, r *probe.Response, reason wssecure.Reason) {
	t.Helper()
	want := map[string]string{}
	switch {
	case r.Status == 405:
		want["Allow"] = "GET"
	case r.Status == 426:
		want["Upgrade"], want["Sec-Websocket-Version"] = "websocket", "13"
		if got := strings.Join(r.Values("Connection"), "|"); got != "close|Upgrade" {
			t.Errorf("Connection: %q, want close, then Upgrade", got)
		}
	case reason == wssecure.ReasonVersion:
		want["Sec-Websocket-Version"] = "13"
	}
	for _, name := range []string{"Allow", "Upgrade", "Sec-Websocket-Version", "Sec-Websocket-Accept", "Sec-Websocket-Protocol"} {
		if got := strings.Join(r.Values(name), "|"); got != want[name] {
			t.Errorf("%s: %q, want %q", name, got, want[name])
		}
	}
	keys := map[string]bool{}
	for _, f := range r.Header {
		keys[strings.ToLower(f.Name)] = true
	}
	delete(keys, "date")
	delete(keys, "content-length")
	if most := 8 + len(want); len(keys) > most {
		t.Errorf("%d header keys, want at most %d: %v", len(keys), most, keys)
	}
}

// honest ends every hostile test: the server still serves.
func honest(t *testing.T, s *wssecuretest.Server) {
	t.Helper()
	r, c := wantAdmitted(t, s, s.Handshake(s.Issuer.Token("honest")).Set("Sec-WebSocket-Protocol", "chat"))
	if r.Status != 101 {
		return
	}
	if err := c.SendFrame(probe.Message(probe.Text, []byte("hello"))); err != nil {
		t.Fatal(err)
	}
	if f, err := c.ReadFrame(); err != nil || string(f.Payload) != "hello" {
		t.Errorf("echo %q, %v", f.Payload, err)
	}
}

// apply makes the changes of the row to the fixture.
func (row handshakeRow) apply(hs *probe.Handshake) *probe.Handshake {
	for _, change := range row.changes {
		mark, text, _ := strings.Cut(change, " ")
		text = expand(text)
		switch mark {
		case "=":
			name, value, _ := strings.Cut(text, ":")
			hs.Set(name, strings.TrimPrefix(value, " "))
		case "+":
			hs.Add(text)
		case "-":
			hs.Del(text)
		case "!":
			words := strings.Fields(text)
			hs.Method, hs.Target, hs.Proto = words[0], words[1], words[2]
		case "<":
			hs.Body = []byte(text)
		case "lf":
			hs.LineEnd = "\n"
		default:
			panic(row.name + ": no change: " + change)
		}
	}
	return hs
}

var repeated = regexp.MustCompile(`\{(.+?)\*(\d+)\}`)

// expand reads a Go string and repetitions.
func expand(text string) string {
	if strings.HasPrefix(text, `"`) {
		unquoted, err := strconv.Unquote(text)
		if err != nil {
			panic(text + ": " + err.Error())
		}
		text = unquoted
	}
	return repeated.ReplaceAllStringFunc(text, func(s string) string {
		m := repeated.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	})
}

// handshakeRows reads a table; shape.txt says how one is written.
func handshakeRows(tb testing.TB, file string) (rows []handshakeRow) {
	tb.Helper()
	text, err := os.ReadFile("testdata/handshake/" + file + ".txt")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		row := handshakeRow{}
		cells := strings.Split(line, " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		row.name, row.changes = cells[0], cells[1:len(cells)-1]
		status, answer, _ := strings.Cut(cells[len(cells)-1], " ")
		if row.status, err = strconv.Atoi(status); err != nil {
			tb.Fatalf("%s.txt: %s: %v", file, row.name, err)
		}
		if row.status == 101 {
			row.header = answer
		} else {
			row.reason = wssecure.Reason(answer)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		tb.Fatalf("%s.txt has no row", file)
	}
	return rows
}
