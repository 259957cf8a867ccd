package wssecure_test

import (
	"crypto/tls"
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
