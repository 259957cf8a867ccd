package wssecure_test

import (
	"log"
	"net/http"
	"time"

	"github.com/wssecure/wssecure"
)

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
