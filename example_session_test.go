package wssecure_test

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/wssecure/wssecure"
)

// Logging out at the identity provider ends the sockets of that login: register
// the URL as backchannel_logout_uri of the clients that are named here.
func ExampleGuard_LogoutHandler() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
	http.Handle("/logout", guard.LogoutHandler("web", "ios"))
}

// A client that gets a fresh token sends it over the socket, before the old one
// expires and ends the session.
func ExampleSession_Renew() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
	)
	if err != nil {
		log.Fatal(err)
	}
	type message struct {
		Type  string `json:"type"`
		Token string `json:"token,omitempty"`
		Text  string `json:"text,omitempty"`
	}
	http.Handle("/ws", guard.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
		for {
			m, err := wssecure.ReadJSON[message](ctx, c)
			if err != nil {
				return err
			}
			if m.Type != "token" {
				continue // the application's own
			}
			answer := message{Type: "renewed"}
			if err := c.Session().Renew(ctx, m.Token); err != nil {
				answer = message{Type: "refused"} // the old token holds, unless the session has ended
			}
			if err := wssecure.WriteJSON(ctx, c, answer); err != nil {
				return err
			}
		}
	}))
}

// A page renews beside its socket. It has learned the session's id from it.
func ExampleGuard_RenewHandler() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/renew", guard.RenewHandler())
	http.Handle("/ws", guard.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
		hello := map[string]string{"session": c.Session().ID()}
		if err := wssecure.WriteJSON(ctx, c, hello); err != nil {
			return err
		}
		return chat(ctx, c)
	}))
}

// Meters send for days and log in once a day only.
func ExampleInsecureOutliveToken() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "meters")),
		wssecure.InsecureOutliveToken(8*time.Hour, "firmware 1 cannot renew"),
		wssecure.SetRecheck(10*time.Minute, func(ctx context.Context, id *wssecure.Identity) error {
			return nil // ask whether the meter is still in service
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
}

// graphql-ws sends its credential in the payload of connection_init.
func ExampleAllowLateToken() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "graphql")),
		wssecure.AllowSubprotocols("graphql-transport-ws"),
		wssecure.AllowLateToken(10*time.Second), // a session without its token ends then
	)
	if err != nil {
		log.Fatal(err)
	}
	type connectionInit struct {
		Type    string `json:"type"`
		Payload struct {
			Token string `json:"token"`
		} `json:"payload"`
	}
	http.Handle("/graphql", guard.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
		first, err := wssecure.ReadJSON[connectionInit](ctx, c)
		if err != nil {
			return err
		}
		if first.Type != "connection_init" {
			return wssecure.ReasonForbidden
		}
		if err := c.Session().Authenticate(ctx, first.Payload.Token); err != nil {
			return err // the session has ended, with its close code
		}
		if err := wssecure.WriteJSON(ctx, c, map[string]string{"type": "connection_ack"}); err != nil {
			return err
		}
		return chat(ctx, c) // c.Identity() is known from here on
	}))
}

// Money moves only for who has just shown a second factor; everything else on
// the same server needs a token alone.
func ExampleRequireAuthLevel() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
	)
	if err != nil {
		log.Fatal(err)
	}
	payments, err := guard.With(
		wssecure.RequireAuthLevel(5*time.Minute, "urn:example:mfa"),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
	http.Handle("/payments", payments.ConnHandler(chat))
}

// Pages learn why they were refused: 3000 sends a visitor to the login, 1013 lets
// the page come back later. A page of another site still sees 1006 alone.
func ExampleSetBrowserRefusals() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
		wssecure.SetBrowserRefusals(),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
}

// The sessions end one by one over the first 40 of 50 seconds, so that the next
// server does not meet all of them at once.
func ExampleGuard_Shutdown() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
	)
	if err != nil {
		log.Fatal(err)
	}
	srv := guard.Harden(&http.Server{Addr: ":8443", Handler: guard.ConnHandler(chat)})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-exampleSignal.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
		defer cancel()
		if err := guard.Shutdown(ctx); err != nil {
			log.Print("not all sessions have ended by themselves: ", err)
		}
		srv.Shutdown(ctx)
	}()
	log.Print(srv.ListenAndServeTLS("cert.pem", "key.pem"))
	<-stopped
}

// What a router found in the path is kept for as long as the session lives.
func ExampleSetContext() {
	type roomKey struct{}
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
		wssecure.SetContext(func(ctx context.Context, h *wssecure.Handshake) context.Context {
			return context.WithValue(ctx, roomKey{}, h.Request.PathValue("room"))
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/rooms/{room}", guard.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
		room, _ := ctx.Value(roomKey{}).(string)
		return c.Write(ctx, wssecure.MessageText, []byte("welcome to "+room))
	}))
}

// exampleSignal stands for signal.NotifyContext.
var exampleSignal = context.Background()
