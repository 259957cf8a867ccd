package token_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/token"
)

const keysURL = "https://id.example.com/keys"

// An idp serves a key set without a network, so that time is fake. It is an http.RoundTripper.
type idp struct {
	mu      sync.Mutex
	answer  func(*http.Request) (*http.Response, error)
	asked   []time.Time
	notices []token.Notice
}

func (p *idp) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.asked = append(p.asked, time.Now())
	answer := p.answer
	p.mu.Unlock()
	return answer(r)
}

func (p *idp) set(answer func(*http.Request) (*http.Response, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *idp) notice(n token.Notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notices = append(p.notices, n)
}

// took returns and forgets when fetches began, and what was told of them.
func (p *idp) took() ([]time.Time, []token.Notice) {
	synctest.Wait() // a fetch tells who waits before it tells of itself
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, notices := p.asked, p.notices
	p.asked, p.notices = nil, nil
	return asked, notices
}

func (p *idp) fetches() int { asked, _ := p.took(); return len(asked) }

func respond(status int, body string, header ...string) *http.Response {
	r := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func serves(keys []byte, header ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return respond(200, string(keys), header...), nil }
}

func down(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// after answers like next when d is over.
func after(d time.Duration, next func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return next(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// remote runs f with a verifier of an idp in fake time, and sees to it that Close leaves no goroutine: synctest.Test
// would not return.
func remote(t *testing.T, answer func(*http.Request) (*http.Response, error), f func(*testing.T, *idp, *verifier)) {
	t.Helper()
	fixtureSet()
	synctest.Test(t, func(t *testing.T) {
		p := &idp{answer: answer}
		v, err := token.NewRemote(keysURL, &http.Client{Transport: p}, rules(), same, p.notice)
		if err != nil {
			t.Fatal(err)
		}
		f(t, p, v)
		v.Close()
		v.Close()
	})
}

// lasting is a claim that outlives the hours a test lets pass.
func lasting() map[string]any { return map[string]any{"exp": time.Now().Unix() + 1_000_000} }

func within(d, least, most time.Duration) bool { return least <= d && d <= most }

// wantBackOff wants pauses that double from a second to a minute, give or take a fifth.
func wantBackOff(t *testing.T, asked []time.Time) {
	t.Helper()
	want := time.Second
	for i := 1; i < len(asked); i++ {
		if d := asked[i].Sub(asked[i-1]); !within(d, want*8/10, want*12/10) {
			t.Errorf("pause %d is %v, want %v ± 20 %%", i, d, want)
		}
		want = min(2*want, time.Minute)
	}
}
