package wssecure_test

import (
	"fmt"
	"log"

	"github.com/wssecure/wssecure"
)

// Pages of the listed origins connect, and no other page: "*." stands for labels in front, never for the bare domain.
func ExampleAllowOrigins() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com", "https://*.customers.example.com"),
		wssecure.InsecureAllowAnonymous("an example"),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict(visit(guard)))
	fmt.Println(verdict(visit(guard, "Origin: https://eu.customers.example.com")))
	fmt.Println(verdict(visit(guard, "Origin: https://customers.example.com")))
	fmt.Println(verdict(visit(guard, "Origin: https://app.example.com.evil.example")))
	// Output:
	// 101
	// 101
	// 403 origin
	// 403 origin
}

// A name of the attacker's that resolves to this server (DNS rebinding) is not served.
func ExampleAllowHosts() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.AllowHosts("chat.example.com", "*.chat.example.com"),
		wssecure.InsecureAllowAnonymous("an example"),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict(visit(guard))) // asks for ws.example.com
	// Output: 421 host
}

// Programs send no Origin, and a token lets them in all the same; where only pages connect that is one way in too many.
func ExampleRequireOrigin() {
	provider := newExampleProvider()
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.StaticKeys(provider.keys, exampleIssuer, "chat")),
	)
	if err != nil {
		log.Fatal(err)
	}
	pages, err := guard.With(wssecure.RequireOrigin())
	if err != nil {
		log.Fatal(err)
	}
	token := "Authorization: Bearer " + provider.token(nil)
	fmt.Println(verdict(visit(guard, token, "Origin")))
	fmt.Println(verdict(visit(pages, token, "Origin")))
	// Output:
	// 101
	// 403 origin-missing
}

// Devices that show nothing but their network's word.
func ExampleInsecureAllowMissingOrigin() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("sensors on a closed network"),
		wssecure.InsecureAllowMissingOrigin("sensors are no browsers"),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict(visit(guard, "Origin")))
	fmt.Println(verdict(visit(guard, "Origin: https://evil.example"))) // a page on that network
	// Output:
	// 101
	// 403 origin
}

// An application in a sandboxed frame has the origin "null", and so has anybody's.
func ExampleInsecureAllowNullOrigin() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("a public ticker"),
		wssecure.InsecureAllowNullOrigin("the widget runs in a sandboxed frame"),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict(visit(guard, "Origin: null")))
	// Output: 101
}

// A feed for everybody's pages. Beside cookies New refuses this.
func ExampleInsecureAllowAnyOrigin() {
	guard, err := wssecure.New(
		wssecure.InsecureAllowAnyOrigin("a public feed without credentials"),
		wssecure.InsecureAllowAnonymous("a public feed without credentials"),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict(visit(guard, "Origin: https://blog.example.net")))
	// Output: 101
}
