package wssecure_test

import (
	"fmt"
	"log"

	"github.com/wssecure/wssecure"
)

// A page cannot set a header for its socket, but it can name subprotocols:
// new WebSocket(url, ["bearer", token, "chat.v2"]).
func ExampleFromSubprotocol() {
	provider := newExampleProvider()
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(provider.keys, exampleIssuer, "chat"), wssecure.FromSubprotocol()),
		wssecure.AllowSubprotocols("chat.v2"),
	)
	if err != nil {
		log.Fatal(err)
	}
	resp := visit(guard, "Sec-WebSocket-Protocol: bearer, "+provider.token(nil)+", chat.v2")
	fmt.Println(resp.StatusCode, resp.Header.Get("Sec-WebSocket-Protocol")) // never the token
	// Output: 101 chat.v2
}

// An access proxy has asked who the visitor is. Who goes round it is believed nothing.
func ExampleFromHeader() {
	provider := newExampleProvider()
	policy := wssecure.Options(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(provider.keys, exampleIssuer, "chat"), wssecure.FromHeader("Cf-Access-Jwt-Assertion")),
	)
	behind, err := wssecure.New(policy, wssecure.TrustProxies("X-Forwarded-For", "192.0.2.0/24"))
	if err != nil {
		log.Fatal(err)
	}
	elsewhere, err := wssecure.New(policy, wssecure.TrustProxies("X-Forwarded-For", "198.51.100.0/24"))
	if err != nil {
		log.Fatal(err)
	}
	fields := []string{"Cf-Access-Jwt-Assertion: " + provider.token(nil), "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https"}
	fmt.Println(verdict(visit(behind, fields...))) // from 192.0.2.1
	fmt.Println(verdict(visit(elsewhere, fields...)))
	// Output:
	// 101
	// 401 token-missing
}

// A login that others wrote keeps its token in a cookie without a prefix, and its players' boxes can set no header.
func ExampleInsecureFromCookie() {
	provider := newExampleProvider()
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(provider.keys, exampleIssuer, "chat"),
			wssecure.InsecureFromCookie("sid", "the portal sets it; renaming is planned for spring"),
			wssecure.InsecureFromQuery("access_token", "the box can set no header"),
		),
	)
	if err != nil {
		log.Fatal(err)
	}
	cookie := "Cookie: sid=" + provider.token(nil)
	fmt.Println(verdict(visit(guard, cookie)))
	fmt.Println(verdict(visit(guard, cookie, "Origin: https://evil.example"))) // the browser sends the cookie, whoever asks it to
	fmt.Println(verdict(visit(guard, cookie, "Origin")))
	// Output:
	// 101
	// 403 origin
	// 403 origin-missing
}
