package wssecure_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	catalogue "github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/wssecuretest"
)

// holed is a guard behind a hole: what it mends in a request, a server without that check would not have seen.
func holed(t *testing.T, hole func(r *http.Request), opts ...wssecure.Option) *catalogue.Target {
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: append([]wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()}, opts...),
		Handler: func(g *wssecure.Guard) http.Handler {
			next := g.ConnHandler(wssecuretest.Echo)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				hole(r)
				next.ServeHTTP(w, r)
			})
		},
	})
	s.Issuer = issuer
	return targetOf(s)
}

// originMutants match as servers do that have been broken into.
func originMutants() []mutant {
	const good, host = wssecuretest.Origin, "app.example.com"
	matching := func(match func(origin string) bool) func(*testing.T) *catalogue.Target {
		return func(t *testing.T) *catalogue.Target {
			return holed(t, func(r *http.Request) {
				if lines := r.Header["Origin"]; len(lines) == 1 && match(lines[0]) {
					r.Header.Set("Origin", good)
				}
			})
		}
	}
	parsed := func(match func(u *url.URL) bool) func(*testing.T) *catalogue.Target {
		return matching(func(origin string) bool {
			u, err := url.Parse(origin)
			return err == nil && match(u)
		})
	}
	dots := regexp.MustCompile(`^https://app.example.com$`)
	return []mutant{
		{"no check of Origin", []string{"origin-foreign", "origin-null", "origin-address", "origin-extension"}, func(t *testing.T) *catalogue.Target {
			return holed(t, func(r *http.Request) { r.Header.Set("Origin", good) })
		}},
		{"Origin by prefix", []string{"origin-suffix", "origin-userinfo", "origin-port", "origin-port-number", "origin-path", "origin-backslash", "origin-percent", "origin-list", "origin-long", "origin-trailing-dot"},
			matching(func(o string) bool { return strings.HasPrefix(o, good) })},
		{"Origin by suffix", []string{"origin-prefix", "origin-fragment"}, matching(func(o string) bool { return strings.HasSuffix(o, "example.com") })},
		{"Origin by what it contains", []string{"origin-inside", "origin-query"}, matching(func(o string) bool { return strings.Contains(o, good) })},
		{"Origin by a pattern with dots", []string{"origin-regexp-dot"}, matching(dots.MatchString)},
		{"Origin by its host alone", []string{"origin-scheme", "origin-port", "origin-user", "origin-path", "origin-schemeless"}, parsed(func(u *url.URL) bool { return u.Hostname() == host })},
		{"Origin without its last dot", []string{"origin-trailing-dot"}, matching(func(o string) bool { return strings.TrimSuffix(o, ".") == good })},
		{"Origin with letters folded", []string{"origin-unicode"}, matching(func(o string) bool { return strings.ReplaceAll(o, "а", "a") == good })},
		{"null for an app", []string{"origin-null"}, matching(func(o string) bool { return o == "null" })},
		{"pages without a host", []string{"origin-file", "origin-null"}, parsed(func(u *url.URL) bool { return u.Host == "" })},
		{"empty for missing", []string{"origin-empty"}, matching(func(o string) bool { return o == "" })},
		{"addresses for machines of ours", []string{"origin-address"}, parsed(func(u *url.URL) bool { return strings.HasPrefix(u.Host, "203.") })},
		{"localhost from development", []string{"origin-localhost"}, parsed(func(u *url.URL) bool { return u.Hostname() == "localhost" })},
		{"extensions", []string{"origin-extension"}, parsed(func(u *url.URL) bool { return u.Scheme == "chrome-extension" })},
		{"the first Origin", []string{"origin-duplicate"}, func(t *testing.T) *catalogue.Target {
			return holed(t, func(r *http.Request) { r.Header["Origin"] = r.Header["Origin"][:1] })
		}},
		{"the last Origin", []string{"origin-duplicate-last"}, func(t *testing.T) *catalogue.Target {
			return holed(t, func(r *http.Request) { r.Header["Origin"] = r.Header["Origin"][len(r.Header["Origin"])-1:] })
		}},
		{"same origin by X-Forwarded-Host", []string{"origin-forwarded"}, func(t *testing.T) *catalogue.Target {
			return holed(t, func(r *http.Request) {
				if h := r.Header.Get("X-Forwarded-Host"); h != "" && r.Header.Get("Origin") == "https://"+h {
					r.Header.Set("Origin", good)
				}
			})
		}},
		{"same origin by any Host", []string{"origin-rebinding"}, func(t *testing.T) *catalogue.Target {
			return overPlaintext(t, func(r *http.Request) {
				if r.Header.Get("Origin") == "http://"+r.Host {
					r.Header.Set("Origin", good)
				}
			})
		}},
		{"no Origin, no objection", []string{"origin-missing"}, func(t *testing.T) *catalogue.Target {
			return overPlaintext(t, func(r *http.Request) {
				if r.Header["Origin"] == nil {
					r.Header.Set("Origin", good)
				}
			})
		}},
		{"Without(fetch-metadata)", []string{"fetch-navigate", "fetch-document"}, func(t *testing.T) *catalogue.Target {
			return without(t, "fetch-metadata")
		}},
		{"Without(origin)", []string{"origin-foreign", "origin-null", "origin-suffix"}, func(t *testing.T) *catalogue.Target { return without(t, "origin") }},
	}
}

// overPlaintext is holed for anybody, over plaintext.
func overPlaintext(t *testing.T, hole func(r *http.Request)) *catalogue.Target {
	return targetOf(wssecuretest.Start(t, wssecuretest.Config{
		Plaintext: true,
		Options: []wssecure.Option{
			wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("mutant"), wssecure.InsecureAllowPlaintext("mutant"),
		},
		Handler: func(g *wssecure.Guard) http.Handler {
			next := g.ConnHandler(wssecuretest.Echo)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				hole(r)
				next.ServeHTTP(w, r)
			})
		},
	}))
}

// without is a fixture whose guard lacks a check.
func without(t *testing.T, check string) *catalogue.Target {
	issuer := wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{
		Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()},
		Handler: func(g *wssecure.Guard) http.Handler {
			return wssecure.Without(g, check).ConnHandler(wssecuretest.Echo)
		},
	})
	s.Issuer = issuer
	return targetOf(s)
}

func requestMutants() []mutant {
	mend := func(name, value string) func(*testing.T) *catalogue.Target {
		return func(t *testing.T) *catalogue.Target {
			return holed(t, func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = []string{value} })
		}
	}
	hole := func(h func(r *http.Request)) func(*testing.T) *catalogue.Target {
		return func(t *testing.T) *catalogue.Target { return holed(t, h) }
	}
	slow := func(t *testing.T) *catalogue.Target {
		return holed(t, func(r *http.Request) {
			size := 0
			for name, values := range r.Header {
				size += len(name) + len(strings.Join(values, ""))
			}
			if size > 5000 {
				<-time.After(2500 * time.Millisecond) // what a quadratic parser would take, without the heat
			}
		})
	}
	body := hole(func(r *http.Request) { r.ContentLength, r.TransferEncoding, r.Body = 0, nil, http.NoBody })
	return []mutant{
		{"any method", []string{"method-post"}, hole(func(r *http.Request) { r.Method = "GET" })},
		{"any HTTP", []string{"http-1-0"}, hole(func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1 })},
		{"any Upgrade", []string{"upgrade-other", "upgrade-none"}, mend("Upgrade", "websocket")},
		{"any Connection", []string{"connection-none"}, mend("Connection", "Upgrade")},
		{"any version", []string{"version-draft", "version-none", "version-list", "version-twice"}, mend("Sec-WebSocket-Version", "13")},
		{"drafts too", []string{"draft-hixie-76"}, hole(func(r *http.Request) {
			if r.Header.Get("Sec-WebSocket-Key1") != "" {
				r.Header.Set("Sec-WebSocket-Version", "13")
				r.Header.Set("Sec-WebSocket-Key", anyKey())
			}
		})},
		{"any key", []string{"key-none", "key-short", "key-text", "key-twice", "key-replay"}, hole(func(r *http.Request) {
			r.Header.Set("Sec-WebSocket-Key", anyKey())
		})},
		{"any Host", []string{"host-list", "host-port"}, hole(func(r *http.Request) { r.Host = wssecuretest.Host })},
		{"Without(host)", []string{"host-port"}, func(t *testing.T) *catalogue.Target { return without(t, "host") }},
		{"a body beside the handshake", []string{"body-withheld", "body-chunked"}, body},
		{"a parser of lists that gives up", []string{"subprotocol-twice", "subprotocol-empty"}, hole(func(r *http.Request) { r.Header.Del("Sec-WebSocket-Protocol") })},
		{"slow parsers", []string{"subprotocol-blanks", "extension-escapes", "extension-commas", "header-flood"}, slow},
		{"a library that keeps refused connections", []string{"pipelined", "body-withheld-refused"}, refusedBefore(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusUpgradeRequired) })},

		{"the token is asked for later", []string{"token-missing"}, holedKnowing(func(r *http.Request, good string) {
			if r.Header.Get("Authorization") == "" {
				r.Header.Set("Authorization", "Bearer "+good)
			}
		})},
		{"an empty token is none", []string{"token-empty"}, holedKnowing(func(r *http.Request, good string) {
			if r.Header.Get("Authorization") == "Bearer" {
				r.Header.Set("Authorization", "Bearer "+good)
			}
		})},
		{"Basic is Bearer", []string{"token-basic"}, holedKnowing(func(r *http.Request, _ string) {
			if _, password, ok := r.BasicAuth(); ok {
				r.Header.Set("Authorization", "Bearer "+password)
			}
		})},
		{"the query too", []string{"token-in-query"}, holedKnowing(func(r *http.Request, _ string) {
			if q := r.URL.Query().Get("access_token"); q != "" {
				r.Header.Set("Authorization", "Bearer "+q)
			}
		})},
		{"cookies too", []string{"token-in-cookie"}, holedKnowing(func(r *http.Request, _ string) {
			if c, err := r.Cookie("token"); err == nil {
				r.Header.Set("Authorization", "Bearer "+c.Value)
			}
		})},
		{"the first Authorization", []string{"token-twice"}, holedKnowing(func(r *http.Request, _ string) {
			if lines := r.Header["Authorization"]; len(lines) > 1 {
				r.Header["Authorization"] = lines[:1]
			}
		})},
		{"the last Authorization", []string{"token-twice-last"}, holedKnowing(func(r *http.Request, _ string) {
			if lines := r.Header["Authorization"]; len(lines) > 1 {
				r.Header["Authorization"] = lines[len(lines)-1:]
			}
		})},
		{"Authorization up to the comma", []string{"token-list"}, holedKnowing(func(r *http.Request, _ string) {
			value, _, _ := strings.Cut(r.Header.Get("Authorization"), ",")
			r.Header.Set("Authorization", value)
		})},
		{"the first cookie", []string{"token-two-cookies"}, func(t *testing.T) *catalogue.Target {
			target := holed(t, func(r *http.Request) {
				if c, err := r.Cookie("__Host-sid"); err == nil {
					r.Header.Del("Cookie")
					r.Header.Set("Authorization", "Bearer "+c.Value)
				}
			})
			target.Place = catalogue.Place{Kind: catalogue.InCookie, Name: "__Host-sid"}
			return target
		}},
	}
}

// holedKnowing is holed by somebody who has a good token at hand.
func holedKnowing(hole func(r *http.Request, good string)) func(*testing.T) *catalogue.Target {
	return func(t *testing.T) *catalogue.Target {
		var good string
		target := holed(t, func(r *http.Request) { hole(r, good) })
		good = target.Token()
		target.Patience = time.Second // nothing comes late here
		return target
	}
}

func anyKey() string {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	return base64.StdEncoding.EncodeToString(nonce)
}

// refusedBefore is a fixture before which somebody else refuses what is not honest: another Origin, version or path.
func refusedBefore(refuse http.HandlerFunc) func(*testing.T) *catalogue.Target {
	return func(t *testing.T) *catalogue.Target {
		issuer := wssecuretest.NewIssuer(t, "")
		s := wssecuretest.Start(t, wssecuretest.Config{
			Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()},
			Handler: func(g *wssecure.Guard) http.Handler {
				next := g.ConnHandler(wssecuretest.Echo)
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					honest := slices.Equal(r.Header["Origin"], []string{wssecuretest.Origin}) && r.Header.Get("Upgrade") == "websocket" &&
						r.Header.Get("Sec-WebSocket-Version") == "13" && r.Header.Get("Sec-WebSocket-Key") != ""
					if !honest {
						refuse(w, r)
						return
					}
					next.ServeHTTP(w, r)
				})
			},
		})
		s.Issuer = issuer
		return targetOf(s)
	}
}

// ticketMutants sell tickets of their own.
func ticketMutants() []mutant {
	return []mutant{
		{"tickets that are never spent", []string{"ticket-replay", "ticket-race", "ticket-no-origin"}, ticketed(func(b *kiosk, list []string) bool { return len(list) == 1 && b.known(list[0]) })},
		{"any ticket of the right length", []string{"ticket-forged"}, ticketed(func(b *kiosk, list []string) bool { return len(list) == 1 && len(list[0]) == 26 })},
		{"the first ticket", []string{"ticket-two"}, ticketed(func(b *kiosk, list []string) bool { return len(list) > 0 && b.spend(list[0]) })},
		{"look first, spend later", []string{"ticket-race"}, ticketed(func(b *kiosk, list []string) bool {
			if len(list) != 1 || !b.known(list[0]) {
				return false
			}
			<-time.After(500 * time.Millisecond) // the others have looked by then, on a busy machine too
			b.spend(list[0])
			return true
		})},
	}
}
