package wssecure

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/wssecure/wssecure/internal/strictjson"
)

// maxJSONDepth is how deep arrays and objects may nest.
const maxJSONDepth = 32

// ReadJSON reads one text message of strict JSON (RFC 8259) into a T: a field
// that T lacks or has in another case, a duplicate name, text behind the value,
// nesting beyond 32 and invalid UTF-8 end the session with 1008, and the cause
// is returned. A binary message ends it with 1003.
func ReadJSON[T any](ctx context.Context, c *Conn) (T, error) {
	var v T
	typ, p, err := c.Read(ctx)
	if err != nil {
		return v, err
	}
	if typ != MessageText {
		return v, c.session.endWith(&Rejection{Reason: ReasonMessageType}, ByGuard, 1003)
	}
	if err := strictjson.Unmarshal(p, &v, strictjson.Limits{Depth: maxJSONDepth}); err != nil {
		var zero T
		c.session.refuseMessage(err)
		return zero, c.session.endWith(&Rejection{Reason: ReasonMessageInvalid, Err: err}, ByGuard, 1008)
	}
	return v, nil
}

// WriteJSON sends v as one text message of JSON, with <, > and & escaped.
func WriteJSON(ctx context.Context, c *Conn, v any) error {
	p, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("wssecure: %w", err)
	}
	return c.Write(ctx, MessageText, p)
}
