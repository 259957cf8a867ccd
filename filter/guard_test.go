package filter_test

import (
	"context"
	"testing"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/filter"
	"github.com/wssecure/wssecure/wssecuretest"
)

// What a filter refuses must end the session as the specification says, not only return an error.
func TestRefusedMessageEndsTheSession(t *testing.T) {
	ctx := context.Background()
	s := wssecuretest.NewServer(t,
		wssecure.OnMessage(filter.JSON(2, 4), filter.NoControls()),
		wssecure.OnSend(filter.EscapeHTML()),
	)
	for _, row := range []struct{ name, in, out string }{
		{"L-17 admitted and escaped", `["<b>"]`, `[&#34;&lt;b&gt;&#34;]`},
		{"L-17 duplicate member", `{"a":1,"a":2}`, ""},
		{"L-17 depth", `[[[]]]`, ""},
		{"L-17 controls", "[\"\x7f\"]", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, _, err := s.Dial(ctx, s.Issuer.Token("alice"))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Write(ctx, wssecure.MessageText, []byte(row.in)); err != nil {
				t.Fatal(err)
			}
			_, p, err := c.Read(ctx)
			if row.out != "" {
				if string(p) != row.out || err != nil {
					t.Errorf("got %q, %v", p, err)
				}
				c.Close(websocket.StatusNormalClosure, "")
				s.WaitEvent(wssecure.EventClosed)
				return
			}
			if websocket.CloseStatus(err) != wssecure.StatusPolicyViolation {
				t.Errorf("%q, %v; want 1008", p, err)
			}
			if e := s.WaitEvent(wssecure.EventClosed); e.Reason != wssecure.ReasonMessageInvalid {
				t.Errorf("%+v", e)
			}
		})
	}
}
