package wssecure_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/netip"
	"time"

	"github.com/wssecure/wssecure"
)

// Whom a revocation may be about. Open sockets close with 3000, and what was issued before admits nobody any more.
func ExampleTarget() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
	)
	if err != nil {
		log.Fatal(err)
	}
	leak := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		target wssecure.Target
		why    string
	}{
		{wssecure.Subject(exampleIssuer, "alice"), "left the company"},
		{wssecure.TokenID(exampleIssuer, "8f14e45f"), "was found in a log"},
		{wssecure.OIDCSession(exampleIssuer, "f2a9e6d0"), "logged out"},
		{wssecure.SessionID("no-such-session"), "was kicked by a moderator"},
		{wssecure.Network(netip.MustParsePrefix("203.0.113.0/24")), "the office was broken into"},
		{wssecure.Everyone().IssuedBefore(leak), "the signing key has leaked"},
	} {
		if _, err := guard.Revoke(context.Background(), row.target, row.why); err != nil {
			log.Fatal(err)
		}
	}
}

// A ban keeps an address out for a while; open sessions live on, and Revoke is what ends them.
func ExampleGuard_Ban() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("an example"),
	)
	if err != nil {
		log.Fatal(err)
	}
	ctx, scraper := context.Background(), wssecure.Network(netip.MustParsePrefix("192.0.2.1/32"))
	if err := guard.Ban(ctx, scraper, time.Hour, "scrapes the ticker"); err != nil {
		log.Fatal(err)
	}
	resp := visit(guard) // from 192.0.2.1
	wait, _ := time.ParseDuration(resp.Header.Get("Retry-After") + "s")
	fmt.Println(verdict(resp), wait.Round(time.Minute))
	if err := guard.Unban(ctx, scraper); err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict(visit(guard)))
	// Output:
	// 403 banned 1h0m0s
	// 101
}

// What a health check and a page for operators ask.
func ExampleGuard_Ready() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("an example"),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/ready", func(w http.ResponseWriter, r *http.Request) {
		if err := guard.Ready(r.Context()); err != nil {
			http.Error(w, "not ready", http.StatusServiceUnavailable) // err is for the log
		}
	})
	visit(guard, "Origin: https://evil.example")
	for s := range guard.Sessions() {
		fmt.Println(s.ID, s.Subject, s.ClientIP)
	}
	fmt.Println(guard.Stats().Refused, guard.Ready(context.Background()))
	// Output: map[origin:1] <nil>
}

// Under Handler the session is in the context of the request.
func ExampleSessionFrom() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, ok := wssecure.SessionFrom(r.Context())
		if !ok {
			return // an ordinary request: no upgrade gets here without a session
		}
		log.Print(session.Identity().Subject, " comes from ", session.ClientIP())
		// A library upgrades here. Whenever the application has had enough:
		session.Close(4000, "kicked")
	})))
}
