package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// running is one quickstart for all tests, started the way main starts it. It ends with the test binary.
var running = sync.OnceValues(func() (*demo, error) {
	ready := make(chan *demo, 1)
	failed := make(chan error, 1)
	go func() { failed <- serve(context.Background(), "localhost:0", func(d *demo) { ready <- d }) }()
	select {
	case d := <-ready:
		return d, nil
	case err := <-failed:
		return nil, err
	}
})

func start(t *testing.T) *demo {
	t.Helper()
	d, err := running()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *demo) browser(t *testing.T) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: d.authority.pool()}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func (d *demo) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	resp, err := d.browser(t).Get(d.url() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func (d *demo) post(t *testing.T, path, site string, into any) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, d.url()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", site)
	resp, err := d.browser(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if into != nil && resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, into); err != nil {
			t.Fatal(err)
		}
	} else if into != nil {
		t.Logf("POST %s: %s", path, body)
	}
	return resp.StatusCode
}

func (d *demo) runAttack(t *testing.T, id string) outcome {
	t.Helper()
	var o outcome
	if status := d.post(t, "/attack?name="+id, "same-origin", &o); status != http.StatusOK {
		t.Fatalf("POST /attack?name=%s: %d", id, status)
	}
	return o
}

func TestEachAttackGetsTheAnswerItsButtonPromises(t *testing.T) {
	d := start(t)
	rows := []struct {
		id     string
		status int
		close  int
		public string // what the peer is told
		reason string // what the event says
		steps  int
		sent   string // in the last step
	}{
		{"foreign-origin", 403, 0, "origin", "origin", 1, "Origin: https://evil.example"},
		{"no-token", 401, 0, "token-missing", "token-missing", 1, "(no Authorization)"},
		{"expired-token", 401, 0, "token-invalid", "token-expired", 1, "Authorization: Bearer eyJ"},
		{"wrong-version", 426, 0, "version", "version", 1, "Sec-WebSocket-Version: 8"},
		{"replayed-key", 400, 0, "key", "key-replay", 2, "Sec-WebSocket-Key: "},
		{"oversize-message", 101, 1009, "message-size", "message-size", 2, "81 ff"},
		{"bad-utf8", 101, 1007, "utf-8", "utf-8", 2, "c0 af"},
		{"message-flood", 101, 1008, "message-rate", "message-rate", 2, "200 in all"},
		{"forged-ban", 403, 0, "banned", "banned", 3, "Authorization: Bearer eyJ"}, // last: it bans the attacker's address
	}
	if len(rows) != len(attacks) {
		t.Errorf("%d rows for %d buttons", len(rows), len(attacks))
	}
	for _, row := range rows {
		t.Run(row.id, func(t *testing.T) {
			o := d.runAttack(t, row.id)
			if o.Status != row.status || o.CloseCode != row.close || o.Public != row.public || o.Reason != row.reason {
				t.Errorf("got status %d, close %d, public %q, reason %q", o.Status, o.CloseCode, o.Public, o.Reason)
			}
			if len(o.Steps) != row.steps {
				t.Fatalf("%d steps, want %d: %+v", len(o.Steps), row.steps, o.Steps)
			}
			last := o.Steps[len(o.Steps)-1]
			if !strings.Contains(last.Sent, row.sent) || last.Answered == "" {
				t.Errorf("the last step says %q, answered %q", last.Sent, last.Answered)
			}
			if last.Mark != "" && !slices.Contains(strings.Split(last.Sent, "\n"), last.Mark) {
				t.Errorf("mark %q is no line of what was sent", last.Mark)
			}
			if o.From != "127.0.0.66" || o.Option == "" {
				t.Errorf("from %q, stopped by %q", o.From, o.Option)
			}
		})
	}
	t.Run("the ban holds for the attacker alone, behind the checks that come first, until lifted", func(t *testing.T) {
		if o := d.runAttack(t, "no-token"); o.Status != 403 || o.Public != "banned" || !o.Banned || o.RetryAfter < 1 || o.RetryAfter > 60 {
			t.Errorf("no-token under the ban: %d %q, again in %d s", o.Status, o.Public, o.RetryAfter)
		}
		if o := d.runAttack(t, "message-flood"); o.Public != "banned" || o.CloseCode != 0 {
			t.Errorf("message-flood under the ban: %q, close %d", o.Public, o.CloseCode)
		}
		if o := d.runAttack(t, "foreign-origin"); o.Public != "origin" || o.Banned {
			t.Errorf("foreign-origin under the ban: %q", o.Public)
		}
		d.join(t, "visitor").CloseNow()
		if status := d.post(t, "/unban", "same-origin", nil); status != http.StatusNoContent {
			t.Errorf("POST /unban: %d", status)
		}
		if o := d.runAttack(t, "no-token"); o.Status != 401 || o.Banned {
			t.Errorf("no-token after the ban: %d %q", o.Status, o.Public)
		}
	})
	t.Run("no token is shown whole", func(t *testing.T) {
		o := d.runAttack(t, "expired-token")
		if whole := regexp.MustCompile(`eyJ[\w-]{20,}`).FindString(o.Steps[0].Sent); whole != "" {
			t.Errorf("shown: %s", whole)
		}
	})
}

func TestOnlyThePageMayAttack(t *testing.T) {
	d := start(t)
	if status := d.post(t, "/attack?name=no-token", "cross-site", nil); status != http.StatusForbidden {
		t.Errorf("cross-site: %d", status)
	}
	if status := d.post(t, "/unban", "cross-site", nil); status != http.StatusForbidden {
		t.Errorf("cross-site unban: %d", status)
	}
	if status := d.post(t, "/attack?name=made-up", "same-origin", nil); status != http.StatusNotFound {
		t.Errorf("unknown attack: %d", status)
	}
	if resp, _ := d.get(t, "/attack?name=no-token"); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", resp.StatusCode)
	}
}

func TestOneAttackAtATime(t *testing.T) {
	r := newAttackRunner(start(t))
	inside, leave := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := r.run(t.Context(), attack{steps: func(context.Context, *exchange) error {
			close(inside)
			<-leave
			return io.ErrUnexpectedEOF
		}})
		first <- err
	}()
	<-inside
	if _, err := r.run(t.Context(), attacks[0]); err != errBusy {
		t.Errorf("second attack: %v", err)
	}
	close(leave)
	if err := <-first; err != io.ErrUnexpectedEOF {
		t.Errorf("first attack: %v", err)
	}
}

// patience bounds a wait for what should come at once.
func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// join enters the chat as a browser would: Origin, and the token as a subprotocol.
func (d *demo) join(t *testing.T, name string) *websocket.Conn {
	t.Helper()
	c, resp, err := d.dial(t, "/ws", d.issuer.token(name, scopeEvents, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "chat" {
		t.Errorf("subprotocol %q", got)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func (d *demo) dial(t *testing.T, path, token string) (*websocket.Conn, *http.Response, error) {
	return websocket.Dial(patience(t), strings.Replace(d.url(), "https", "wss", 1)+path, &websocket.DialOptions{
		HTTPClient:   d.browser(t),
		HTTPHeader:   http.Header{"Origin": {d.url()}},
		Subprotocols: []string{"bearer", token, "chat"},
	})
}

// hearFrom reads until a line of that member and kind.
func hearFrom(t *testing.T, c *websocket.Conn, kind, from string) chatLine {
	t.Helper()
	ctx := patience(t)
	for {
		_, p, err := c.Read(ctx)
		if err != nil {
			t.Fatalf("waiting for %s of %s: %v", kind, from, err)
		}
		var line chatLine
		if err := json.Unmarshal(p, &line); err != nil {
			t.Fatal(err)
		}
		if line.Kind == kind && line.From == from {
			return line
		}
	}
}

func sayTo(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, encode(saying{Text: text})); err != nil {
		t.Fatal(err)
	}
}

func TestTwoMembersHearEachOther(t *testing.T) {
	d := start(t)
	ann, bob := d.join(t, "ann"), d.join(t, "bob")
	hearFrom(t, ann, "joined", "bob")
	sayTo(t, ann, "<b>hello</b>")
	if got := hearFrom(t, bob, "said", "ann").Text; got != "<b>hello</b>" {
		t.Errorf("bob heard %q", got)
	}
	if got := hearFrom(t, ann, "said", "ann").Text; got != "<b>hello</b>" {
		t.Errorf("ann heard %q of herself", got)
	}
	bob.Close(websocket.StatusNormalClosure, "")
	hearFrom(t, ann, "left", "bob")

	t.Run("what turns text around is dropped, and blank messages with it", func(t *testing.T) {
		sayTo(t, ann, "\u202e \u2066 \x1b\n")
		sayTo(t, ann, "  a\u202eb\x07c \u2764\ufe0f\u200d\U0001f525 ")
		if got, want := hearFrom(t, ann, "said", "ann").Text, "abc \u2764\ufe0f\u200d\U0001f525"; got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	})
	for name, message := range map[string]string{
		"no JSON":        `hello`,
		"another member": `{"text":"hi","from":"admin"}`,
		"too long":       `{"text":"` + strings.Repeat("a", longestSaying+1) + `"}`,
	} {
		t.Run(name+" ends the session with 1008", func(t *testing.T) {
			c := d.join(t, "carol")
			if err := c.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
				t.Fatal(err)
			}
			ctx := patience(t)
			for {
				_, _, err := c.Read(ctx)
				if err == nil {
					continue // what was said before
				}
				if got := websocket.CloseStatus(err); got != websocket.StatusPolicyViolation {
					t.Errorf("close %d: %v", got, err)
				}
				return
			}
		})
	}
}

func TestEventFeed(t *testing.T) {
	d := start(t)
	t.Run("needs its scope", func(t *testing.T) {
		_, resp, err := d.dial(t, "/events", d.issuer.token("dave", "chat:read", time.Minute))
		if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("answered %v, %v", resp, err)
		}
	})
	t.Run("shows a refusal as it happens, with what the peer was not told", func(t *testing.T) {
		c, _, err := d.dial(t, "/events", d.issuer.token("eve", scopeEvents, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		began := time.Now()
		if _, _, err := d.dial(t, "/ws", d.issuer.token("frank", scopeEvents, -time.Hour)); err == nil {
			t.Fatal("an expired token was admitted")
		}
		ctx := patience(t)
		for {
			_, p, err := c.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var e eventView
			if err := json.Unmarshal(p, &e); err != nil {
				t.Fatal(err)
			}
			if e.Time.Before(began) || e.Kind != "handshake.refused" {
				continue
			}
			if e.Reason != "token-expired" || e.Status != 401 || e.Path != "/ws" || e.ClientIP.String() != "127.0.0.1" {
				t.Errorf("event %+v", e)
			}
			return
		}
	})
	t.Run("only sends", func(t *testing.T) {
		c, _, err := d.dial(t, "/events", d.issuer.token("gus", scopeEvents, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		sayTo(t, c, "hello")
		ctx := patience(t)
		for err == nil {
			_, _, err = c.Read(ctx)
		}
		if got := websocket.CloseStatus(err); got != websocket.StatusPolicyViolation {
			t.Errorf("close %d: %v", got, err)
		}
	})
}

func TestPageObeysItsOwnPolicy(t *testing.T) {
	d := start(t)
	resp, html := d.get(t, "/")
	want := map[string]string{
		"Content-Security-Policy": "default-src 'self'; connect-src 'self' wss://localhost:" + d.port +
			"; form-action 'self'; frame-ancestors 'none'; base-uri 'self'; object-src 'none'",
		"X-Frame-Options":              "DENY",
		"X-Content-Type-Options":       "nosniff",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Strict-Transport-Security":    "", // never for localhost: it would lock the visitor's other servers out
		"Content-Type":                 "text/html; charset=utf-8",
	}
	for name, value := range want {
		if got := resp.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	for what, pattern := range map[string]string{
		"inline script": `(?i)<script[^>]*>[^<]`, "inline handler": `(?i)\son\w+\s*=`,
		"inline style": `(?i)<style|\sstyle\s*=`, "foreign source": `(?i)(src|href)="(https?:|//)`,
	} {
		if found := regexp.MustCompile(pattern).FindString(html); found != "" {
			t.Errorf("%s: %q", what, found)
		}
	}
	for _, name := range []string{"chat-input", "chat-log", "attack-result", "events"} {
		if !strings.Contains(html, `data-test="`+name+`"`) {
			t.Errorf("no element with data-test=%q", name)
		}
	}
	for _, a := range attacks {
		if !strings.Contains(html, `data-test="attack-`+a.ID+`"`) {
			t.Errorf("no button for %s", a.ID)
		}
	}
	for path, kind := range map[string]string{"/app.js": "text/javascript; charset=utf-8", "/app.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml"} {
		resp, body := d.get(t, path)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != kind {
			t.Errorf("%s: %d %s", path, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		if found := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|https?://[^w]`).FindString(body); found != "" {
			t.Errorf("%s contains %q", path, found)
		}
	}
}

func TestSessionTokenOpensTheChat(t *testing.T) {
	d := start(t)
	resp, body := d.get(t, "/session")
	var s struct{ Name, Token, Transport string }
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(s.Transport, "TLS 1.3") {
		t.Errorf("Cache-Control %q, transport %q", resp.Header.Get("Cache-Control"), s.Transport)
	}
	c, _, err := d.dial(t, "/ws", s.Token)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	hearFrom(t, c, "joined", s.Name)
}

// TestPrintedCommandLinesWork does what the greeting says, word by word.
func TestPrintedCommandLinesWork(t *testing.T) {
	d := start(t)
	var greeting strings.Builder
	d.greet(&greeting)
	argument := func(name string) string {
		found := regexp.MustCompile(`-` + name + ` (\S+)`).FindStringSubmatch(greeting.String())
		if found == nil {
			t.Fatalf("no -%s in the greeting", name)
		}
		return found[1]
	}
	url, pin, token := argument("connect"), argument("pin"), argument("token")

	t.Run("-connect", func(t *testing.T) {
		stdin, type_ := io.Pipe()
		heard, stdout := io.Pipe()
		done := make(chan error, 1)
		go func() {
			done <- talk(patience(t), url, token, pin, stdin, stdout)
			stdout.Close()
		}()
		lines := bufio.NewScanner(heard)
		sent := false
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "Connected.") {
				go io.WriteString(type_, "hello from a terminal\n")
			}
			if strings.HasSuffix(lines.Text(), `terminal: "hello from a terminal"`) {
				sent = true
				type_.Close()
			}
		}
		if err := <-done; err != nil || !sent {
			t.Errorf("talk: %v, heard itself: %v", err, sent)
		}
	})
	t.Run("-connect with another pin, or a bad token", func(t *testing.T) {
		err := talk(t.Context(), url, token, strings.Repeat("00", 32), strings.NewReader(""), io.Discard)
		if err == nil || !strings.Contains(err.Error(), "pinned fingerprint") {
			t.Errorf("another pin: %v", err)
		}
		err = talk(t.Context(), url, "abc", pin, strings.NewReader(""), io.Discard)
		if err == nil || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "token-invalid") {
			t.Errorf("bad token: %v", err)
		}
	})
	t.Run("curl, and the same line again", func(t *testing.T) {
		_, line, _ := strings.Cut(greeting.String(), "    curl ")
		x := newExchange(d, attack{})
		h := x.handshake()
		h.Lines = []string{"Host: localhost:" + d.port}
		for _, header := range regexp.MustCompile(`-H '([^']+)'`).FindAllStringSubmatch(line, -1) {
			h.Add(header[1])
		}
		first, conn, err := x.send(patience(t), h)
		if err != nil || first.Status != http.StatusSwitchingProtocols {
			t.Fatalf("first time: %+v, %v", first, err)
		}
		defer conn.Close()
		again, _, err := x.send(patience(t), h)
		if err != nil || again.Status != http.StatusBadRequest || !strings.Contains(string(again.Body), "#key") {
			t.Errorf("second time: %+v, %v", again, err)
		}
	})
}

func TestAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"localhost:8443": "", "127.0.0.1:9": "", "localhost:0": "",
		"0.0.0.0:8443": "not this machine", ":8443": "not this machine", "example.com:1": "not this machine", "8443": "no host:port",
	} {
		port, err := loopbackPort(addr)
		if want == "" && (err != nil || port == "" || port == "0") {
			t.Errorf("%s: %q, %v", addr, port, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	d := start(t)
	err := serve(t.Context(), "localhost:"+d.port, func(*demo) { t.Error("listening twice") })
	if err == nil || !strings.Contains(err.Error(), "is taken") || !strings.Contains(err.Error(), "-addr localhost:0") {
		t.Errorf("port taken: %v", err)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	err := serve(ctx, "localhost:0", func(*demo) { stop() })
	if err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestBoardNeverWaits(t *testing.T) {
	b := newBoard[int]()
	slow, leave := b.watch()
	for n := range boardQueue + 10 {
		b.post(n)
	}
	if first := <-slow; first != 10 {
		t.Errorf("a slow watcher's oldest post is %d, want 10", first)
	}
	leave()
	late, leave := b.watch()
	defer leave()
	if first := <-late; first != boardQueue+10-boardKeeps {
		t.Errorf("a newcomer's oldest post is %d", first)
	}
	if len(late) != boardKeeps-1 || cap(b.recent) > 2*boardKeeps {
		t.Errorf("%d posts kept, room for %d", len(late)+1, cap(b.recent))
	}
}
