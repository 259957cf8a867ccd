package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
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
	return &http.Client{Transport: transport, Timeout: time.Minute}
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
	for path, kind := range map[string]string{"/app.js": "text/javascript; charset=utf-8", "/reconnect.js": "text/javascript; charset=utf-8", "/app.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml"} {
		resp, body := d.get(t, path)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != kind {
			t.Errorf("%s: %d %s", path, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		if found := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|https?://[^w]`).FindString(body); found != "" {
			t.Errorf("%s contains %q", path, found)
		}
	}
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
