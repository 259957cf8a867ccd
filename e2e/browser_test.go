package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/program"
)

func TestMain(m *testing.M) {
	program.Need("The browser tests", "WSS_REQUIRE_CHROMIUM", program.Missing([]string{"chromium", "node"}, "node_modules/playwright-core"))
	code := m.Run()
	if shared != nil {
		if err := shared.end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// patience bounds every wait for the browser, on a machine however busy; the driver's own waits are half as long.
const patience = 2 * time.Minute

// browser is one Chromium with a profile of its own, driven over the standard input of driver.mjs: one call at a time.
type browser struct {
	profile string
	t       testing.TB // the test that calls at present
	calls   *json.Encoder
	answers chan answer
	ended   chan error
	input   io.Closer
	process *os.Process
}

type answer struct {
	Value json.RawMessage
	Error string
}

// shared is the browser of all tests but the quickstart's: starting one takes longer than most tests.
var shared *browser

// borrow gives the test the shared browser; reset makes it forget the test, all but what it knows of HSTS.
func borrow(t *testing.T) *browser {
	t.Helper()
	if shared == nil {
		b, err := startBrowser(pin(t))
		if err != nil {
			t.Fatal(err)
		}
		shared = b
	}
	shared.t = t
	return shared
}

func (b *browser) reset() { b.do(map[string]any{"do": "reset"}, nil) }

// startBrowser starts one that accepts the certificate whose key hashes to pin.
func startBrowser(pin string) (*browser, error) {
	// go test keeps a result until something changes that it has seen the tests look at.
	for _, dir := range []string{".", "../examples/quickstart", "../examples/quickstart/page"} {
		if _, err := os.ReadDir(filepath.FromSlash(dir)); err != nil {
			return nil, err
		}
	}
	profile, err := os.MkdirTemp("", "e2e-profile-")
	if err != nil {
		return nil, err
	}
	b := &browser{profile: profile, answers: make(chan answer), ended: make(chan error, 1)}
	// Third-party cookies are allowed: a browser that blocks them would spare the guard the attack.
	settings := filepath.Join(profile, "Default", "Preferences")
	if err := os.MkdirAll(filepath.Dir(settings), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(settings, []byte(`{"profile":{"cookie_controls_mode":0}}`), 0o600); err != nil {
		return nil, err
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		return nil, err
	}
	start, err := json.Marshal(map[string]any{"executable": chromium, "profile": profile, "pin": pin, "patience": patience.Milliseconds() / 2})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("node", "driver.mjs", string(start))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.calls, b.input, b.process = json.NewEncoder(in), in, cmd.Process
	go b.listen(out, cmd)
	return b, nil
}

func (b *browser) listen(out io.Reader, cmd *exec.Cmd) {
	defer close(b.answers)
	lines := json.NewDecoder(out)
	for {
		var a answer
		if err := lines.Decode(&a); err != nil {
			b.ended <- cmd.Wait()
			return
		}
		b.answers <- a
	}
}

// end ends the browser: its driver does when it has nothing more to read.
func (b *browser) end() error {
	b.input.Close()
	late := time.AfterFunc(patience, func() { b.process.Kill() })
	defer late.Stop()
	for range b.answers {
	}
	err := <-b.ended
	if err != nil {
		err = fmt.Errorf("the browser's driver: %w", err)
	}
	return errors.Join(err, os.RemoveAll(b.profile))
}

// do makes a call and stores its answer in into.
func (b *browser) do(call map[string]any, into any) {
	b.t.Helper()
	if err := b.calls.Encode(call); err != nil {
		b.t.Fatalf("%v: %v", call, err)
	}
	select {
	case a, ok := <-b.answers:
		if !ok || a.Error != "" {
			b.t.Fatalf("%v: the browser says %q", call, a.Error)
		}
		if into == nil {
			return
		}
		if err := json.Unmarshal(a.Value, into); err != nil {
			b.t.Fatalf("%v: answered %s: %v", call, a.Value, err)
		}
	case <-time.After(patience):
		b.t.Fatalf("%v: no answer within %v", call, patience)
	}
}

// page is a page that the browser shows, or a frame of one.
type page struct {
	*browser
	at     int
	status int // of the answer to its address
}

func (b *browser) open(url string) *page {
	b.t.Helper()
	return b.show(map[string]any{"do": "open", "url": url})
}

// goTo shows another address in p.
func (p *page) goTo(url string) *page {
	p.t.Helper()
	return p.show(map[string]any{"do": "goto", "at": p.at, "url": url})
}

// embed adds a frame with these attributes and waits until it shows something.
func (p *page) embed(attributes map[string]string) *page {
	p.t.Helper()
	return p.show(map[string]any{"do": "embed", "at": p.at, "attributes": attributes})
}

func (b *browser) show(call map[string]any) *page {
	b.t.Helper()
	var shown struct{ At, Status int }
	b.do(call, &shown)
	return &page{browser: b, at: shown.At, status: shown.Status}
}

func (p *page) call(do string, more map[string]any, into any) {
	p.t.Helper()
	call := map[string]any{"do": do, "at": p.at, "patience": patience.Milliseconds() / 2}
	maps.Copy(call, more)
	p.do(call, into)
}

// dial opens a socket from the page and returns what the page saw: "open" with the subprotocol, or how it failed.
func (p *page) dial(url string, protocols ...string) []string {
	p.t.Helper()
	var seen []string
	p.call("dial", map[string]any{"url": url, "protocols": protocols}, &seen)
	return seen
}

// dialInVain is dial for a socket that the page's policy forbids: it may have an error, and no end.
func (p *page) dialInVain(url string) []string {
	p.t.Helper()
	var seen []string
	p.call("dial", map[string]any{"url": url, "orError": true}, &seen)
	return seen
}

func isOpen(seen string) bool { return strings.HasPrefix(seen, "open") }

// ended waits for the end of the page's socket and returns all that the page saw of it.
func (p *page) ended() []string {
	p.t.Helper()
	var seen []string
	p.call("ended", nil, &seen)
	return seen
}

func (p *page) send(text string, times int) {
	p.t.Helper()
	p.call("send", map[string]any{"text": text, "times": times}, nil)
}

func (p *page) url() (url string) {
	p.t.Helper()
	p.call("url", nil, &url)
	return url
}

// trouble is every error and warning of the page's console since it was last asked for.
func (p *page) trouble() (lines []string) {
	p.t.Helper()
	p.call("trouble", nil, &lines)
	return lines
}

func (p *page) wantTrouble(text string) {
	p.t.Helper()
	var lines []string
	said := func(line string) bool { return strings.Contains(line, text) }
	for deadline := time.Now().Add(patience); !slices.ContainsFunc(lines, said); { // a socket's end may come first
		if time.Now().After(deadline) {
			p.t.Errorf("the console says %q, want %q in it", lines, text)
			return
		}
		lines = append(lines, p.trouble()...)
	}
}

// The parts of a page are the elements that carry a data-test attribute.

func (p *page) click(part string) { p.t.Helper(); p.call("click", map[string]any{"part": part}, nil) }

func (p *page) fill(part, text string) {
	p.t.Helper()
	p.call("fill", map[string]any{"part": part, "text": text}, nil)
}

func (p *page) press(part, key string) {
	p.t.Helper()
	p.call("press", map[string]any{"part": part, "text": key}, nil)
}

func (p *page) text(part string) (text string) {
	p.t.Helper()
	p.call("text", map[string]any{"part": part}, &text)
	return text
}

func (p *page) html(part string) (html string) {
	p.t.Helper()
	p.call("html", map[string]any{"part": part}, &html)
	return html
}

// shows waits until the part is visible and has the text.
func (p *page) shows(part, text string) {
	p.t.Helper()
	p.call("shows", map[string]any{"part": part, "text": text}, nil)
}

// record keeps every text that the part has from now on; showed waits for one of them.
func (p *page) record(part string) {
	p.t.Helper()
	p.call("record", map[string]any{"part": part}, nil)
}

func (p *page) showed(part, want string) {
	p.t.Helper()
	var texts []string
	p.call("recorded", map[string]any{"part": part, "text": want}, &texts)
	if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, want) }) {
		p.t.Errorf("%s showed %q, want %q among it", part, texts, want)
	}
}

func (p *page) picture(path string) {
	p.t.Helper()
	p.call("picture", map[string]any{"path": path}, nil)
}

func (p *page) close() { p.t.Helper(); p.call("close", nil, nil) }

// cookies are the names of all cookies that the browser keeps.
func (b *browser) cookies() (names []string) {
	b.t.Helper()
	b.do(map[string]any{"do": "cookies"}, &names)
	slices.Sort(names)
	return names
}

// run makes name a subtest in which b's failures count.
func (b *browser) run(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(inner *testing.T) {
		b.t = inner
		defer func() { b.t = t }()
		f(inner)
	})
}
