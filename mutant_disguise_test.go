package wssecure_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	catalogue "github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/wssecuretest"
)

// disguiseMutants read requests otherwise than what stands behind them.
func disguiseMutants() []mutant {
	return []mutant{
		{"a check of Origin for one spelling of handshakes", []string{"upgrade-disguised"}, func(t *testing.T) *catalogue.Target {
			return holed(t, func(r *http.Request) {
				if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
					r.Header.Set("Origin", wssecuretest.Origin)
				}
				for _, l := range []string{"Upgrade: websocket", "Connection: Upgrade"} {
					name, value, _ := strings.Cut(l, ": ")
					if strings.Contains(strings.ToLower(strings.Join(r.Header[name], ",")), strings.ToLower(value)) {
						r.Header.Set(name, value)
					}
				}
			})
		}},
		{"HTTP/2 in clear", []string{"upgrade-h2c"}, refusedBefore(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") == "h2c" {
				w.Header().Set("Upgrade", "h2c")
				w.Header().Set("Connection", "Upgrade")
				w.WriteHeader(http.StatusSwitchingProtocols)
			}
		})},
		{"versions by strconv.Atoi", []string{"version-spelled"}, func(t *testing.T) *catalogue.Target {
			return holed(t, func(r *http.Request) {
				if n, err := strconv.Atoi(r.Header.Get("Sec-WebSocket-Version")); err == nil && n == 13 {
					r.Header.Set("Sec-WebSocket-Version", "13")
				}
			})
		}},
		{"nonces by their text", []string{"key-replay-spelled"}, func(t *testing.T) *catalogue.Target {
			return holed(t, func(r *http.Request) {
				if key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key")); err == nil && len(key) == 16 &&
					base64.StdEncoding.EncodeToString(key) != r.Header.Get("Sec-WebSocket-Key") {
					r.Header.Set("Sec-WebSocket-Key", anyKey())
				}
			})
		}},
		{"the query in a header", []string{"header-split"}, refusedBefore(func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			q, _ := url.QueryUnescape(r.URL.RawQuery)
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nX-Query: " + q + "\r\n\r\n"))
		})},
		{"whom a header calls local needs no token", []string{"forwarded-local"}, holedKnowing(func(r *http.Request, good string) {
			if r.Header.Get("X-Forwarded-For") == "127.0.0.1" {
				r.Header.Set("Authorization", "Bearer "+good)
			}
		})},
		{"whom a header names has logged in", []string{"identity-header"}, holedKnowing(func(r *http.Request, good string) {
			if r.Header.Get("X-Forwarded-User") != "" {
				r.Header.Set("Authorization", "Bearer "+good)
			}
		})},
		{"limits by what X-Real-IP says", []string{"forwarded-address"}, func(t *testing.T) *catalogue.Target {
			return plainWith(t, limiting(200, func(r *http.Request) string { return addressOf(r) + r.Header.Get("X-Real-IP") }))
		}},
		{"limits by the first of Forwarded", []string{"forwarded-address"}, func(t *testing.T) *catalogue.Target {
			return plainWith(t, limiting(200, func(r *http.Request) string { return addressOf(r) + r.Header.Get("Forwarded") }))
		}},
		{"limits for those who have no token", []string{"limit-guessing"}, func(t *testing.T) *catalogue.Target {
			issuer := wssecuretest.NewIssuer(t, "")
			s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
				wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(), wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.PerSecond(1_000_000)),
			}})
			s.Issuer = issuer
			return targetOf(s)
		}},
		{"limits before Origin", []string{"limit-stolen"}, func(t *testing.T) *catalogue.Target {
			before := limiting(200, addressOf)
			s := wssecuretest.Start(t, wssecuretest.Config{
				Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("mutant")},
				Handler: func(g *wssecure.Guard) http.Handler {
					next := g.ConnHandler(wssecuretest.Echo)
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { before(w, r, next) })
				},
			})
			return targetOf(s)
		}},
		{"keys asked for one by one", []string{"limit-kids"}, func(t *testing.T) *catalogue.Target {
			var asking sync.Mutex
			return verifying(func(s shown) error {
				asking.Lock()
				defer asking.Unlock()
				_, err := s.good.Verify(context.Background(), s.raw)
				if kid, _ := s.header["kid"].(string); strings.HasPrefix(kid, "canary") {
					<-time.After(600 * time.Millisecond)
				}
				return err
			})(t)
		}},
		{"a server that sends no pings", []string{"silent-peer"}, handled(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
			if err == nil {
				c.Read(r.Context())
			}
		})},
		{"tokens revoked by their text", []string{"revoke-twin"}, func(t *testing.T) *catalogue.Target {
			var revoked sync.Map
			target := verifying(func(s shown) error {
				if _, gone := revoked.Load(s.raw); gone {
					return wssecure.ReasonTokenInvalid
				}
				_, err := s.good.Verify(context.Background(), s.raw)
				return err
			})(t)
			target.Revoke = func(_ context.Context, token string) error {
				revoked.Store(token, true)
				return nil
			}
			return target
		}},
		{"tickets of any page", []string{"ticket-foreign"}, ticketed(func(b *kiosk, list []string) bool { return len(list) == 1 && b.spend(list[0]) })},
	}
}

// limiting puts off for good whoever has made so many handshakes.
func limiting(most int, key func(r *http.Request) string) func(w http.ResponseWriter, r *http.Request, next http.Handler) {
	var mu sync.Mutex
	counts := map[string]int{}
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		k := key(r)
		counts[k]++
		over := counts[k] > most
		mu.Unlock()
		if over {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	}
}

func addressOf(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return host
}

// disguisedTokenMutants take tokens for what they are not.
func disguisedTokenMutants() []mutant {
	return []mutant{
		{"exp as a float, or not at all", []string{"token-exp-number"}, trusting(func(s shown) bool {
			return strings.Contains(string(s.payload), `"exp":1e`) || s.has("exp") && s.number("exp") <= 0
		})},
		{"members by letters alone", []string{"token-exp-case"}, trusting(func(s shown) bool { return s.has("EXP") || s.has("Exp") })},
		{"no look at iat", []string{"token-iat-ahead"}, trusting(func(s shown) bool { return s.number("iat") > float64(time.Now().Add(time.Hour).Unix()) })},
		{"audiences of any shape", []string{"token-audience-shape"}, trusting(func(s shown) bool {
			_, text := s.claims["aud"].(string)
			return s.has("aud") && !text
		})},
		{"algorithms by letters alone", []string{"token-alg-case"}, trusting(func(s shown) bool {
			alg, _ := s.header["alg"].(string)
			return alg != "" && alg == strings.ToLower(alg) && alg != "none"
		})},
		{"zip is not read", []string{"token-zip"}, trusting(func(s shown) bool { return s.header["zip"] != nil })},
		{"signatures by their beginning", []string{"token-signature-form"}, func(t *testing.T) *catalogue.Target {
			return trusting(func(s shown) bool {
				if len(s.parts) != 3 {
					return false
				}
				signature := unsegment(s.parts[2])
				if len(signature) < 64 {
					return false
				}
				_, err := s.good.Verify(context.Background(), strings.Join(append(slices.Clone(s.parts[:2]), base64.RawURLEncoding.EncodeToString(signature[:64])), "."))
				return err == nil
			})(t)
		}},
		{"JWS in JSON", []string{"token-json"}, func(t *testing.T) *catalogue.Target {
			return holed(t, func(r *http.Request) {
				var flat struct{ Protected, Payload, Signature string }
				text, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
				if json.Unmarshal([]byte(text), &flat) == nil {
					r.Header.Set("Authorization", "Bearer "+flat.Protected+"."+flat.Payload+"."+flat.Signature)
				}
			})
		}},
	}
}
