package wssecure_test

import (
	"context"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/wssecure/wssecure"
)

// Tokens of an OpenID Connect issuer: its URL is all there is to configure.
func ExampleOIDC() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.OIDC(exampleIssuer, "chat")),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
}

// An issuer with tenants: each has metadata and keys of its own.
func ExampleTenants() {
	guard, err := wssecure.New(wssecure.RequireToken(wssecure.OIDC(
		"https://login.microsoftonline.com/{tenantid}/v2.0", "api://chat",
		wssecure.Tenants("72f988bf-86f1-41af-91ab-2d7cd011db47"),
	)))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
}

// Amazon Cognito: its access tokens name the client where others have aud.
func ExampleAudienceClaim() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.OIDC("https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example", "1example23456789",
			wssecure.AudienceClaim("client_id"))),
		wssecure.RequireClaim("cognito:groups", "chat"),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
}

// Google: its ID token is what there is, and hd the organization.
func ExampleAllowIDToken() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.OIDC("https://accounts.google.com", "1234987819200.apps.googleusercontent.com", wssecure.AllowIDToken())),
		wssecure.RequireClaim("hd", "example.com"),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
}

// Opaque tokens: the authorization server is asked about each, and about those of
// open sessions again.
func ExampleIntrospection() {
	guard, err := wssecure.New(wssecure.RequireToken(wssecure.Introspection(
		exampleIssuer+"/introspect", "chat-server", os.Getenv("INTROSPECTION_SECRET"), "chat",
	)))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
}

// A server whose answers name no audience.
func ExampleInsecureAnyAudience() {
	guard, err := wssecure.New(wssecure.RequireToken(wssecure.Introspection(
		exampleIssuer+"/introspect", "chat-server", os.Getenv("INTROSPECTION_SECRET"), "",
		wssecure.InsecureAnyAudience("the session service issues tokens for us alone"),
	)))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
}

// Two issuers beside each other: a token is judged by the keys of its own alone.
func ExampleAnyOf() {
	guard, err := wssecure.New(wssecure.RequireToken(wssecure.AnyOf(
		wssecure.OIDC(exampleIssuer, "chat"),
		wssecure.OIDC("https://partner.example.net", "chat"),
	)))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
}

// Who was put out of the directory loses open sockets too, within the interval.
func ExampleSetRecheck() {
	inDirectory := func(ctx context.Context, id *wssecure.Identity) (bool, error) { return true, nil }
	guard, err := wssecure.New(
		wssecure.RequireToken(wssecure.OIDC(exampleIssuer, "chat")),
		wssecure.SetRecheck(5*time.Minute, func(ctx context.Context, id *wssecure.Identity) error {
			member, err := inDirectory(ctx, id)
			if err != nil {
				return err // asked again soon; the session ends when it lasts three intervals
			}
			if !member {
				return wssecure.ReasonForbidden
			}
			return nil
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
}
