// Package strictjson reads JSON (RFC 8259) as the strictest reader would.
//
// Two readers that disagree about one text are an attack: a filter sees the first "aud" and the application the
// last, a name matches in another case, a byte that is no UTF-8 turns into U+FFFD in one of them. So a text is refused
// unless every reader must see the same: one value, valid UTF-8 without a byte order mark, no lone surrogate, no member
// name twice in one object (compared after unescaping), within bounds of depth and members.
//
// Time is linear in the size of the text; memory too, whatever the text is.
package strictjson

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// Limits bounds the shape of a text. A negative limit admits none.
type Limits struct {
	Depth   int // objects and arrays inside each other; 0 means DefaultDepth; never above 10,000, encoding/json's own bound
	Members int // members of all objects together; 0 means as many as fit
}

// DefaultDepth is far above what messages and tokens use.
const DefaultDepth = 32

// Check reports whether p is one well-formed value within l. Its error is an *Error.
func Check(p []byte, l Limits) error {
	var room [inlineNames][]byte
	s := scanner{p: p}
	_, err := s.run(l, nil, room[:0])
	return err
}

// Decode returns the value of p as encoding/json would, with numbers as json.Number. Its error is an *Error.
func Decode(p []byte, l Limits) (any, error) {
	s := scanner{p: p, build: true}
	return s.run(l, nil, nil)
}

// Object is Decode for texts that must be an object.
func Object(p []byte, l Limits) (map[string]any, error) {
	v, err := Decode(p, l)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, &Error{Problem: NotObject}
	}
	return m, nil
}

// Unmarshal checks p, then stores it in what v points to as encoding/json would.
//
// Beyond Check it refuses members that the destination does not have, also when they differ from one only in case
// (encoding/json would take those), integer map keys in a second spelling, and numbers that do not fit. Types with
// an UnmarshalJSON or UnmarshalText method judge their own content; so does what hangs behind an interface inside *v.
// Its error is an *Error, whose text never repeats a value.
func Unmarshal(p []byte, v any, l Limits) error {
	dst := reflect.ValueOf(v)
	if dst.Kind() != reflect.Pointer || dst.IsNil() {
		return &Error{Problem: Destination, Offset: -1, Err: &json.InvalidUnmarshalError{Type: reflect.TypeOf(v)}}
	}
	var room [inlineNames][]byte
	s := scanner{p: p}
	if _, err := s.run(l, shapeOf(dst), room[:0]); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return refusedValue(err)
	}
	return nil
}
