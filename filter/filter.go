// Package filter has ready message filters for wssecure.OnMessage and wssecure.OnSend.
//
//	wssecure.OnMessage(filter.JSON(8, 64), filter.NoControls())
//	wssecure.OnSend(filter.EscapeHTML())
//
// A filter judges form, not meaning: which member may hold what is for the application to say, with
// wssecure.ReadJSON or a filter of its own. Errors say what is wrong and where, and never repeat the message.
package filter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"unicode"
	"unicode/utf8"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/strictjson"
)

// Bounds of JSON where it is given 0.
const (
	DefaultDepth   = 32
	DefaultMembers = 1024
)

// JSON admits only messages, text and binary, that are one JSON value (RFC 8259) which every reader must understand
// alike: valid UTF-8 without a byte order mark, no lone surrogate, no member name twice in one object, nothing behind
// the value. At most depth objects and arrays may stand inside each other, and all objects together may have at most
// members members; 0 means the default of either, a negative number admits none. Elements of arrays are not counted:
// the size of the message bounds them.
//
// The message itself goes on unchanged.
func JSON(depth, members int) wssecure.Filter {
	limits := strictjson.Limits{Depth: depth, Members: members}
	if depth == 0 {
		limits.Depth = DefaultDepth
	}
	if members == 0 {
		limits.Members = DefaultMembers
	}
	return func(_ context.Context, _ *wssecure.Conn, _ wssecure.MessageType, p []byte) ([]byte, error) {
		if err := strictjson.Check(p, limits); err != nil {
			return nil, fmt.Errorf("filter: %w", err)
		}
		return p, nil
	}
}

var errEncoding = errors.New("filter: text is not UTF-8")

// NoControls refuses text messages with control characters (C0, DEL, C1) other than tab, line feed and carriage
// return: what drives terminals and ends strings early has no place in text that people read. Binary messages pass. A
// control character that JSON has escaped (\u0000) is not seen here.
func NoControls() wssecure.Filter {
	return func(_ context.Context, _ *wssecure.Conn, typ wssecure.MessageType, p []byte) ([]byte, error) {
		if typ != wssecure.MessageText {
			return p, nil
		}
		for i := 0; i < len(p); {
			r, size := utf8.DecodeRune(p[i:])
			if r == utf8.RuneError && size == 1 {
				return nil, errEncoding
			}
			if unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' {
				return nil, fmt.Errorf("filter: control character %U at byte %d", r, i)
			}
			i += size
		}
		return p, nil
	}
}

// EscapeHTML replaces < > & " and ' in text messages by character references, so that a page may put the text between
// tags or into a quoted attribute. Binary messages pass.
//
// It is for plain text on its way out. JSON would lose its quotes: there encoding/json already escapes < > and &, and
// the page escapes what it shows. No escaping makes text safe inside a script, a style or a URL.
func EscapeHTML() wssecure.Filter {
	return func(_ context.Context, _ *wssecure.Conn, typ wssecure.MessageType, p []byte) ([]byte, error) {
		if typ != wssecure.MessageText || !bytes.ContainsAny(p, `<>&"'`) {
			return p, nil
		}
		return []byte(html.EscapeString(string(p))), nil
	}
}
