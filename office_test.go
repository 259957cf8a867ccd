package wssecure_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// An office is people behind one address, each with a token that the guard has
// not seen.
type office struct {
	g       *gate
	address string
	all     sync.WaitGroup
	mu      sync.Mutex
	answers map[int]int // by status
}

// comes sends so many people at once, and does not wait for them.
func (o *office) comes(people int) {
	tokens := make([]string, people)
	for i := range tokens {
		tokens[i] = o.g.issuer.Token(fmt.Sprint("user", i))
	}
	opens := make(chan struct{})
	for _, token := range tokens {
		o.all.Go(func() {
			<-opens
			a := o.g.knock(o.address, bearer(token))
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.answers == nil {
				o.answers = map[int]int{}
			}
			o.answers[a.status]++
		})
	}
	close(opens)
}

// got is how many have had an answer with this status.
func (o *office) got(status int) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.answers[status]
}

// heldKeys is an issuer whose keys come when release is closed.
type heldKeys struct {
	issuer  *wssecuretest.Issuer
	release chan struct{}
}

func (h *heldKeys) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-h.release:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return internet{heldKeysURL: h.issuer.JWKS()}.RoundTrip(r)
}

const heldKeysURL = "https://id.example.com/keys"

func newHeldGate(t *testing.T, options ...wssecure.Option) (*gate, *heldKeys) {
	g := &gate{t: t, issuer: wssecuretest.NewIssuer(t, "")}
	keys := &heldKeys{issuer: g.issuer, release: make(chan struct{})}
	g.start(stay, append(options, wssecure.RequireToken(
		wssecure.JWKS(heldKeysURL, g.issuer.URL, wssecuretest.Audience, wssecure.HTTPClient(&http.Client{Transport: keys})))))
	return g, keys
}

// TestColdOffice is L-38 for tokens that no cache knows: while the first of the
// office are judged the others wait for what those give back.
func TestColdOffice(t *testing.T) {
	for _, address := range []string{"203.0.113.9", "2001:db8::9"} {
		t.Run("L-38 keys that come late, "+address, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const people = 1000
				g, keys := newHeldGate(t)
				o := &office{g: g, address: address}
				o.comes(people)
				synctest.Wait()
				if n := o.got(429); n != 0 {
					t.Errorf("%d were refused while the keys were awaited", n)
				}
				time.Sleep(4 * time.Second)
				close(keys.release)
				o.all.Wait()
				if n := o.got(101); n != people {
					t.Errorf("%d of %d people are in: %v", n, people, o.answers)
				}
			})
		})
	}
	t.Run("L-38 5,000 signatures at once", func(t *testing.T) {
		const people = 5000
		g := newTokenGate(t, stay)
		o := &office{g: g, address: "203.0.113.9"}
		o.comes(people)
		o.all.Wait()
		if n := o.got(101); n != people {
			t.Errorf("%d of %d people are in: %v", n, people, o.answers)
		}
	})
}
