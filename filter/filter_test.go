package filter_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/filter"
)

func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%d":0`, i)
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

func TestFiltersJudgeForm(t *testing.T) {
	const text, binary = wssecure.MessageText, wssecure.MessageBinary
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, row := range []struct {
		name   string
		filter wssecure.Filter
		typ    wssecure.MessageType
		in     string
		admit  bool
	}{
		{"L-17 depth 32", filter.JSON(0, 0), text, deep(32), true},
		{"L-17 depth 33", filter.JSON(0, 0), text, deep(33), false},
		{"L-17 depth as given", filter.JSON(2, 0), text, deep(2), true},
		{"L-17 deeper than given", filter.JSON(2, 0), text, deep(3), false},
		{"L-17 duplicate member", filter.JSON(0, 0), text, `{"a":1,"a":2}`, false},
		{"L-17 duplicate member by escape", filter.JSON(0, 0), text, `{"a":1,"\u0061":2}`, false},
		{"L-17 trailing data", filter.JSON(0, 0), text, `{} {}`, false},
		{"L-17 1,024 members", filter.JSON(0, 0), text, members(1024), true},
		{"L-17 1,025 members", filter.JSON(0, 0), text, members(1025), false},
		{"L-17 members as given", filter.JSON(0, 2), text, `{"a":{"b":1}}`, true},
		{"L-17 more members than given, nested", filter.JSON(0, 2), text, `{"a":{"b":1,"c":1}}`, false},
		{"L-17 negative depth admits none", filter.JSON(-1, 0), text, `[]`, false},
		{"L-17 negative members admit none", filter.JSON(0, -1), text, `{"a":1}`, false},
		{"L-17 binary is judged too", filter.JSON(0, 0), binary, `{"a":1,"a":2}`, false},
		{"L-17 empty", filter.JSON(0, 0), text, ``, false},
		{"L-17 plain text", filter.NoControls(), text, "a\tb\r\ngrüße 🙂", true},
		{"L-17 empty text", filter.NoControls(), text, "", true},
		{"L-17 NUL", filter.NoControls(), text, "a\x00", false},
		{"L-17 ESC", filter.NoControls(), text, "\x1b[2J", false},
		{"L-17 DEL", filter.NoControls(), text, "\x7f", false},
		{"L-17 C1", filter.NoControls(), text, "ä\u009b2J", false},
		{"L-17 not UTF-8", filter.NoControls(), text, "\x9b2J", false},
		{"L-17 controls in binary", filter.NoControls(), binary, "\x00\x1b", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			out, err := row.filter(context.Background(), nil, row.typ, []byte(row.in))
			if (err == nil) != row.admit {
				t.Fatalf("error %v", err)
			}
			// nil would drop the message.
			if row.admit && (out == nil || string(out) != row.in) {
				t.Errorf("changed to %q", out)
			}
		})
	}
}

func TestEscapeHTMLLeavesNoMarkup(t *testing.T) {
	for _, row := range []struct {
		typ      wssecure.MessageType
		in, want string
	}{
		{wssecure.MessageText, `<img src=x onerror="alert('1')">&`, "&lt;img src=x onerror=&#34;alert(&#39;1&#39;)&#34;&gt;&amp;"},
		{wssecure.MessageText, "&lt;", "&amp;lt;"},
		{wssecure.MessageText, "grüße", "grüße"},
		{wssecure.MessageText, "", ""},
		{wssecure.MessageBinary, "<b>", "<b>"},
	} {
		in := []byte(row.in)
		out, err := filter.EscapeHTML()(context.Background(), nil, row.typ, in)
		if err != nil || out == nil || string(out) != row.want {
			t.Errorf("%q: got %q, %v", row.in, out, err)
		}
		if !bytes.Equal(in, []byte(row.in)) {
			t.Errorf("%q: the sender's slice was changed", row.in)
		}
	}
}

func TestErrorsNeverRepeatTheMessage(t *testing.T) {
	for name, f := range map[string]wssecure.Filter{"JSON": filter.JSON(0, 0), "NoControls": filter.NoControls()} {
		in := []byte("{\"ok\":\"secret\x1b\nsecret\"")
		_, err := f(context.Background(), nil, wssecure.MessageText, in)
		if err == nil || strings.Contains(err.Error(), "secret") || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
