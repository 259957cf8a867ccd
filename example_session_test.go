package wssecure_test

import (
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
