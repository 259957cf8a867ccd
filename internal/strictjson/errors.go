package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wssecure/wssecure/internal/quote"
)

// Problem says what is wrong with a text.
type Problem string

const (
	Empty        Problem = "no value"
	ByteOrder    Problem = "byte order mark"
	Encoding     Problem = "invalid UTF-8"
	Syntax       Problem = "syntax error"
	Truncated    Problem = "unexpected end"
	Surrogate    Problem = "lone surrogate"
	Trailing     Problem = "data after the value"
	TooDeep      Problem = "nested too deep"
	TooMany      Problem = "too many members"
	Duplicate    Problem = "duplicate member"
	NotObject    Problem = "not an object"
	UnknownField Problem = "unknown member"
	KeySpelling  Problem = "integer key not in its shortest form"
	WrongType    Problem = "value does not fit its type"
	Refused      Problem = "value refused by its type"
	Destination  Problem = "cannot store in this destination"
)

// Error is why a text was refused.
type Error struct {
	Problem Problem
	Offset  int    // of the first byte that is wrong (of WrongType: behind the value); -1 when not known
	Name    string // of the member concerned, as sent and uncut; empty when none is
	Err     error  // from encoding/json or the destination type; may repeat content, so Error leaves it out
}

// Error is one line, safe to log: the name is quoted and cut, values are never shown.
func (e *Error) Error() string {
	text := "json: " + string(e.Problem)
	if e.Problem == Duplicate || e.Name != "" {
		text += " " + quote.Quoted(e.Name, nameLimit)
	}
	if e.Offset >= 0 {
		text += fmt.Sprintf(" at byte %d", e.Offset)
	}
	return text
}

// Unwrap returns the underlying error, if there is one.
func (e *Error) Unwrap() error { return e.Err }

// nameLimit keeps a message readable; names that matter are short.
const nameLimit = 64

// refusedValue hides the text of encoding/json's errors: it repeats numbers and strings at full length.
func refusedValue(err error) *Error {
	if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &Error{Problem: WrongType, Offset: int(typ.Offset), Name: typ.Field, Err: err}
	}
	return &Error{Problem: Refused, Offset: -1, Err: err}
}
