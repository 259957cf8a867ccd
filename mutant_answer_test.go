package wssecure_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"sync"
	"testing"

	catalogue "github.com/wssecure/wssecure/internal/attack"

	"github.com/wssecure/wssecure/internal/logbook"
)

// A kiosk sells tickets.
type kiosk struct {
	mu   sync.Mutex
	sold map[string]bool
}

func (b *kiosk) sell() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	ticket := rand.Text()
	b.sold[ticket] = true
	return ticket
}

func (b *kiosk) known(ticket string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sold[ticket]
}

func (b *kiosk) spend(ticket string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.sold[ticket]
	delete(b.sold, ticket)
	return was
}

// ticketed is a fixture that swaps tickets of a kiosk for a good token.
func ticketed(admit func(b *kiosk, list []string) bool) func(*testing.T) *catalogue.Target {
	return func(t *testing.T) *catalogue.Target {
		b := &kiosk{sold: map[string]bool{}}
		target := holedKnowing(func(r *http.Request, good string) {
			if list := r.URL.Query()["ticket"]; admit(b, list) {
				r.Header.Set("Authorization", "Bearer "+good)
			}
		})(t)
		target.Ticket = func(context.Context, string) (string, error) { return b.sell(), nil }
		return target
	}
}

// whole are the headers of a refusal that lacks nothing.
var whole = map[string]string{
	"X-Content-Type-Options":    "nosniff",
	"X-Frame-Options":           "DENY",
	"Content-Security-Policy":   "default-src 'none'; frame-ancestors 'none'",
	"Cache-Control":             "no-store",
	"Strict-Transport-Security": "max-age=31536000",
	"Connection":                "close",
}

func answerMutants() []mutant {
	answer := func(status int, change func(h http.Header)) func(*testing.T) *catalogue.Target {
		return refusedBefore(func(w http.ResponseWriter, r *http.Request) {
			for name, value := range whole {
				w.Header().Set(name, value)
			}
			change(w.Header())
			w.WriteHeader(status)
		})
	}
	lack := func(names ...string) func(*testing.T) *catalogue.Target {
		return answer(403, func(h http.Header) {
			for _, name := range names {
				h.Del(name)
			}
		})
	}
	add := func(name, value string) func(*testing.T) *catalogue.Target {
		return answer(403, func(h http.Header) { h.Set(name, value) })
	}
	return []mutant{
		{"no X-Content-Type-Options", []string{"header-sniff"}, lack("X-Content-Type-Options")},
		{"no word on frames", []string{"header-frame", "header-csp", "page-frame"}, lack("X-Frame-Options", "Content-Security-Policy")},
		{"refusals that are stored", []string{"header-cache"}, lack("Cache-Control")},
		{"no HSTS", []string{"header-hsts"}, lack("Strict-Transport-Security")},
		{"a cookie for everybody", []string{"header-cookie"}, add("Set-Cookie", "sid=1")},
		{"a redirect to the login page", []string{"header-redirect"}, answer(302, func(h http.Header) { h.Set("Location", "https://id.example.com/login") })},
		{"CORS for everybody", []string{"header-cors"}, add("Access-Control-Allow-Origin", "*")},
		{"a proud server", []string{"header-version"}, add("Server", "gopher/1.2.3")},
		{"errors that quote the request", []string{"reflected-origin", "reflected-version", "reflected-upgrade", "reflected-query", "reflected-token"},
			refusedBefore(func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, fmt.Sprint("cannot upgrade: ", r.URL, r.Header), http.StatusForbidden)
			})},
		{"a log of whole requests", []string{"log-secrets", "log-injection"}, func(t *testing.T) *catalogue.Target {
			var book logbook.Book
			logger := log.New(&book, "", 0)
			target := holed(t, func(r *http.Request) {
				query := r.URL.Query().Encode()
				logger.Printf("request %s %s %v", r.URL.Path, query, r.Header)
			})
			target.Log = book.String
			return target
		}},
		{"a log of user agents", []string{"log-injection"}, func(t *testing.T) *catalogue.Target {
			var book logbook.Book
			target := holed(t, func(r *http.Request) { fmt.Fprintln(&book, r.UserAgent()) })
			target.Log = book.String
			return target
		}},
	}
}
