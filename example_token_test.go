package wssecure_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/wssecure/wssecure"
)

// Keys that change with a release of one's own; whatever is wrong with a token, its sender learns nothing but that.
func ExampleStaticKeys() {
	provider := newExampleProvider()
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(provider.keys, exampleIssuer, "chat")),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict(visit(guard, "Authorization: Bearer "+provider.token(nil))))
	fmt.Println(verdict(visit(guard)))
	for _, wrong := range []map[string]any{{"aud": "mail"}, {"iss": "https://evil.example"}, {"exp": time.Now().Unix() - 60}} {
		fmt.Println(verdict(visit(guard, "Authorization: Bearer "+provider.token(wrong))))
	}
	// Output:
	// 101
	// 401 token-missing
	// 401 token-invalid
	// 401 token-invalid
	// 401 token-invalid
}

// One secret takes the other's place without a moment in which tokens are refused.
func ExampleSecrets() {
	older, newer := []byte("8cf2f3d3a5e2c1b04f6e7a8899aabbcc"), []byte("0d4e8b7a6c5f4e3d2c1b0a9f8e7d6c5b")
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.Secrets(exampleIssuer, "chat", newer, older)),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict(visit(guard, bearer256(newer))))
	fmt.Println(verdict(visit(guard, bearer256(older))))
	fmt.Println(verdict(visit(guard, bearer256([]byte("secret secret secret secret secret")))))
	// Output:
	// 101
	// 101
	// 401 token-invalid
}

// An issuer that signs with one algorithm has no use for the others.
func ExampleAlgorithms() {
	provider := newExampleProvider() // signs with EdDSA
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(provider.keys, exampleIssuer, "chat", wssecure.Algorithms("EdDSA"))),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict(visit(guard, "Authorization: Bearer "+provider.token(nil))))
	_, err = wssecure.New(wssecure.RequireToken(wssecure.StaticKeys(provider.keys, exampleIssuer, "chat", wssecure.Algorithms("none"))))
	fmt.Println(err)
	// Output:
	// 101
	// Algorithms: "none" is not a signature; use RS256, PS256, ES256, EdDSA or another of RFC 7518
}

// A token that was made long ago is refused however long it is good for, and an issuer's clock may be off by a little.
func ExampleMaxTokenAge() {
	provider := newExampleProvider()
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(provider.keys, exampleIssuer, "chat",
			wssecure.MaxTokenAge(10*time.Minute), wssecure.ClockSkew(time.Minute))),
	)
	if err != nil {
		log.Fatal(err)
	}
	for _, age := range []time.Duration{5 * time.Minute, time.Hour, -30 * time.Second} {
		token := provider.token(map[string]any{"iat": time.Now().Add(-age).Unix()})
		fmt.Println(verdict(visit(guard, "Authorization: Bearer "+token)))
	}
	// Output:
	// 101
	// 401 token-invalid
	// 101
}

// Access tokens of RFC 9068 alone, of an issuer that lists hundreds of groups in each.
func ExampleTokenType() {
	provider := newExampleProvider()
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(provider.keys, exampleIssuer, "chat",
			wssecure.TokenType("at+jwt"), wssecure.MaxTokenSize(16<<10))),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict(visit(guard, "Authorization: Bearer "+provider.token(nil)))) // has no typ
	// Output: 401 token-invalid
}

// An issuer inside the company, with a certificate of the company's own.
func ExampleHTTPClient() {
	pem, err := os.ReadFile("company-ca.pem")
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.OIDC("https://id.internal.example.com", "chat", wssecure.HTTPClient(client))),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
}
