package wssecure_test

import (
	"crypto/tls"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
)

// Clients that are all of one's own and up to date.
func ExampleSetTLS() {
	guard, err := wssecure.New(
		wssecure.InsecureAllowAnonymous("an example"),
		wssecure.SetTLS(wssecure.Modern),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tls.VersionName(guard.TLSConfig().MinVersion))
	// Output: TLS 1.3
}

// A network in which nobody listens, or so it is said. Behind a proxy that ends TLS TrustProxies is the option.
func ExampleInsecureAllowPlaintext() {
	strict, err := wssecure.New(
		wssecure.AllowOrigins("http://panel.example.com"),
		wssecure.InsecureAllowAnonymous("an example"),
	)
	if err != nil {
		log.Fatal(err)
	}
	lenient, err := strict.With(wssecure.InsecureAllowPlaintext("the machine hall has no certificates"))
	if err != nil {
		log.Fatal(err)
	}
	for _, guard := range []*wssecure.Guard{strict, lenient} {
		r := httptest.NewRequest("GET", "http://panel.example.com/ws", nil)
		r.Header = memnet.Request("").Header
		r.Header.Set("Origin", "http://panel.example.com")
		fmt.Println(verdict(present(guard, r)))
	}
	// Output:
	// 403 insecure-transport
	// 101
}

// Browsers that were here once refuse this host without TLS for a year, unless it says otherwise while there still is TLS.
func ExampleInsecureHSTSOff() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("an example"),
	)
	if err != nil {
		log.Fatal(err)
	}
	retreat, err := guard.With(wssecure.InsecureHSTSOff("the domain is given up"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(visit(guard).Header.Get("Strict-Transport-Security"))
	fmt.Println(visit(retreat).Header.Get("Strict-Transport-Security"))
	// Output:
	// max-age=31536000
	// max-age=0
}

// Clients that speak none of the application's protocols are told so at the door.
func ExampleRequireSubprotocol() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("an example"),
		wssecure.AllowSubprotocols("chat.v2", "chat.v1"), // the first of these that is offered is chosen
		wssecure.RequireSubprotocol(),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(visit(guard, "Sec-WebSocket-Protocol: chat.v1, chat.v2").Header.Get("Sec-WebSocket-Protocol"))
	fmt.Println(verdict(visit(guard, "Sec-WebSocket-Protocol: mqtt")))
	// Output:
	// chat.v2
	// 400 subprotocol
}

// Long texts that hold no secret beside what others may write.
func ExampleAllowCompression() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("public market data"),
	)
	if err != nil {
		log.Fatal(err)
	}
	compressing, err := guard.With(wssecure.AllowCompression())
	if err != nil {
		log.Fatal(err)
	}
	const offer = "Sec-WebSocket-Extensions: permessage-deflate"
	fmt.Printf("%q\n", visit(guard, offer).Header.Get("Sec-WebSocket-Extensions"))
	fmt.Printf("%q\n", visit(compressing, offer).Header.Get("Sec-WebSocket-Extensions"))
	// Output:
	// ""
	// "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
}
