package filter_test

import (
	"context"
	"fmt"
	"log"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/filter"
)

// A chat whose messages are small JSON texts.
func Example() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("public chat"),
		wssecure.OnMessage(filter.JSON(4, 16)),
		wssecure.OnSend(filter.NoControls()),
	)
	if err != nil {
		log.Fatal(err)
	}
	_ = guard.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
		typ, p, err := c.Read(ctx)
		if err != nil {
			return err
		}
		return c.Write(ctx, typ, p)
	})
}

func ExampleJSON() {
	f := filter.JSON(4, 16)
	_, err := f(context.Background(), nil, wssecure.MessageText, []byte(`{"role":"user","\u0072ole":"admin"}`))
	fmt.Println(err)
	// Output: filter: json: duplicate member "role" at byte 15
}

func ExampleNoControls() {
	f := filter.NoControls()
	_, err := f(context.Background(), nil, wssecure.MessageText, []byte("hello \x1b[2J"))
	fmt.Println(err)
	// Output: filter: control character U+001B at byte 6
}

func ExampleEscapeHTML() {
	f := filter.EscapeHTML()
	p, _ := f(context.Background(), nil, wssecure.MessageText, []byte(`<script>alert("1")</script>`))
	fmt.Println(string(p))
	// Output: &lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;
}
