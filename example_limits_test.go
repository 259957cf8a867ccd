package wssecure_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/wssecure/wssecure"
)

// A port that serves sockets alone refuses banned and flooding addresses before
// TLS costs anything.
func ExampleGuard_Listener() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
		wssecure.SetCertificate("cert.pem", "key.pem"),
		wssecure.TrustNetworks("health checks", "192.0.2.0/28"), // neither counted nor refused
	)
	if err != nil {
		log.Fatal(err)
	}
	port, err := net.Listen("tcp", ":443")
	if err != nil {
		log.Fatal(err)
	}
	srv := guard.Harden(&http.Server{Handler: guard.ConnHandler(chat)})
	log.Fatal(srv.Serve(tls.NewListener(guard.Listener(port), guard.TLSConfig()))) // the guard below TLS
}

// A large office behind one address reconnects faster than the default lets it.
func ExampleLimitAccepts() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
		wssecure.LimitAccepts(wssecure.Rate{N: 200, Per: time.Second, Burst: 5000}),
	)
	if err != nil {
		log.Fatal(err)
	}
	port, err := net.Listen("tcp", ":8080")
	if err != nil {
		log.Fatal(err)
	}
	srv := guard.Harden(&http.Server{Handler: guard.ConnHandler(chat)})
	log.Fatal(srv.ServeTLS(guard.Listener(port), "cert.pem", "key.pem"))
}

// What a customer pays for decides how much a socket may do.
func ExampleLimitSessionBy() {
	_, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
		wssecure.LimitSession(wssecure.Limits{Conns: 3, MessageSize: 16 << 10}),
		wssecure.LimitSessionBy(func(id *wssecure.Identity) wssecure.Limits {
			if id.Claims["plan"] != "business" {
				return wssecure.Limits{} // those of LimitSession
			}
			return wssecure.Limits{Conns: 50, MessageSize: 1 << 20, Messages: wssecure.PerSecond(500)}
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
}

// A tenant may do as much as its users together, whoever of them asks.
func ExampleByFunc() {
	byTenant := wssecure.ByFunc("tenant", func(h *wssecure.Handshake) string {
		if h.Identity == nil {
			return "" // not counted here
		}
		tenant, _ := h.Identity.Claims["tenant"].(string)
		return tenant
	})
	_, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
		wssecure.LimitHandshakes(byTenant, wssecure.PerMinute(3000)),
		wssecure.LimitConns(byTenant, 500),
	)
	if err != nil {
		log.Fatal(err)
	}
}

// A handshake that was recorded and is sent again is refused for as long as its token is good for.
func ExampleLimitReplay() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("an example"),
		wssecure.LimitReplay(time.Hour),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict(visit(guard, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")))
	fmt.Println(verdict(visit(guard, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")))
	// Output:
	// 101
	// 400 key
}

// What one's own check asks may hang: the visitor is told to come back, and no goroutine waits for ever.
func ExampleLimitHandshakeTime() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("an example"),
		wssecure.LimitHandshakeTime(time.Second),
		wssecure.RequireCheck("license", func(ctx context.Context, h *wssecure.Handshake) error {
			<-ctx.Done() // a server that does not answer
			return ctx.Err()
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict(visit(guard)))
	// Output: 503 unavailable
}

// One small machine: so many sockets in all, few logins an hour, and phones that are asked seldom whether they are there.
func ExampleLimitConns() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("an example"),
		wssecure.LimitConns(wssecure.ByTotal(), 5_000),
		wssecure.LimitConns(wssecure.ByIP(), 16),
		wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 3, Per: time.Hour, Burst: 2}),
		wssecure.LimitFailures(wssecure.ByIP(), wssecure.PerHour(10), time.Hour),
		wssecure.SetPing(2*time.Minute),
		wssecure.LimitSession(wssecure.Limits{Pong: 3 * time.Minute}),
	)
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		visit(guard) // the session ends at once: its peer goes
	}
	resp := visit(guard)
	wait, _ := time.ParseDuration(resp.Header.Get("Retry-After") + "s")
	fmt.Println(verdict(resp), wait.Round(time.Minute))
	// Output: 429 rate-limited 20m0s
}
