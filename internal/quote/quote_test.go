package quote_test

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wssecure/wssecure/internal/quote"
)

func TestCutEscapesWhatIsNotPlain(t *testing.T) {
	for _, row := range []struct{ name, in, want string }{
		{"plain", "https://app.example.com", "https://app.example.com"},
		{"letters of any script", "Grüße 世界 привет 🙂", "Grüße 世界 привет 🙂"},
		{"replacement character itself", "\uFFFD", "\uFFFD"},
		{"replacement character beside an escape", "\uFFFD\n", "\uFFFD\\n"},
		{"empty", "", ""},
		{"U-03 CR LF", "a\r\nlevel=INFO", `a\r\nlevel=INFO`},
		{"U-03 ESC", "\x1b[2J", `\x1b[2J`},
		{"U-03 byte 0x9B", "\x9b2J", `\x9b2J`},
		{"U-03 CSI as a rune", "\u009b2J", `\u009b2J`},
		{"U-03 U+202E", "a\u202Eb", `a\u202eb`},
		{"U-03 U+2028", "a\u2028b\u2029", `a\u2028b\u2029`},
		{"U-03 invalid UTF-8", "a\xff\xc3(", `a\xff\xc3(`},
		{"surrogate half in UTF-8", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"overlong slash", "\xc0\xaf", `\xc0\xaf`},
		{"isolates", "\u2066\u2067\u2068\u2069", `\u2066\u2067\u2068\u2069`},
		{"embeddings", "\u202a\u202b\u202c\u202d", `\u202a\u202b\u202c\u202d`},
		{"marks", "\u200e\u200f\u061c", `\u200e\u200f\u061c`},
		{"zero width and BOM", "\u200b\u200c\u200d\u2060\ufeff", `\u200b\u200c\u200d\u2060\ufeff`},
		{"tag characters", "\U000e0041", `\U000e0041`},
		{"invisible letters", "\u115f\u3164\uffa0\u034f", `\u115f\u3164\uffa0\u034f`},
		{"variation selector", "a\ufe0f", `a\ufe0f`},
		{"blank that looks like a space", "a\u00a0b", `a\u00a0b`},
		{"NUL, TAB, DEL", "\x00\t\x7f", `\x00\t\x7f`},
		{"backslash and quote", `\n"`, `\\n\"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := quote.Cut(row.in, quote.Value); got != row.want {
				t.Errorf("Cut(%+q) = %s, want %s", row.in, got, row.want)
			}
		})
	}
}

func TestCutKeepsTheLimit(t *testing.T) {
	for _, row := range []struct {
		name string
		in   string
		max  int
		want string
	}{
		{"exact fit", "abcdef", 6, "abcdef"},
		{"one over", "abcdefg", 6, "abc…"},
		{"rune does not fit", "äöüä", 7, "äö…"},
		{"escape is not cut", "ab\x1bcd", 6, "ab…"},
		{"escape that just fits", "ab\x1b", 6, `ab\x1b`},
		{"escape before the mark", "\x1bbcdef", 7, `\x1b…`},
		{"only the mark", "abcd", 3, "…"},
		{"no room for the mark", "abcd", 2, "ab"},
		{"no room for a rune", "ä", 1, ""},
		{"nothing", "abcd", 0, ""},
		{"negative", "abcd", -1, ""},
		{"U-03 5 KB", strings.Repeat("a", 5<<10), quote.Value, strings.Repeat("a", 253) + "…"},
		{"U-03 5 KB of ESC", strings.Repeat("\x1b", 5<<10), quote.Origin, strings.Repeat(`\x1b`, 15) + "…"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := quote.Cut(row.in, row.max); got != row.want {
				t.Errorf("Cut(%q, %d) = %s, want %s", row.in, row.max, got, row.want)
			}
		})
	}
}

func TestTextKeepsWhatIsQuoted(t *testing.T) {
	for _, row := range []struct {
		name, in string
		max      int
		want     string
	}{
		{"plain", "claim aud", quote.Value, "claim aud"},
		{"a quoted value", `claim aud is "x\n", not "chat"`, quote.Value, `claim aud is "x\n", not "chat"`},
		{"U-03 CR LF", "\"a\"\r\nlevel=INFO", quote.Value, `"a"\r\nlevel=INFO`},
		{"U-03 ESC and U+202E", "\"\x1b[2J\u202e", quote.Value, `"\x1b[2J\u202e`},
		{"U-03 invalid UTF-8", "\"\xff", quote.Value, `"\xff`},
		{"cut", `"abcdefg"`, 6, `"ab…`},
		{"nothing", `"`, 0, ""},
		{"U-03 5 KB", strings.Repeat(`"`, 5<<10), quote.Value, strings.Repeat(`"`, 253) + "…"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := quote.Text(row.in, row.max); got != row.want {
				t.Errorf("Text(%q, %d) = %s, want %s", row.in, row.max, got, row.want)
			}
		})
	}
}

func TestQuotedCountsItsQuotes(t *testing.T) {
	for _, row := range []struct {
		in   string
		max  int
		want string
	}{
		{"abc", 5, `"abc"`},
		{"abcd", 5, `"…"`},
		{`a"b`, 64, `"a\"b"`},
		{"", 2, `""`},
		{"a", 1, ""},
		{"a", -5, ""},
	} {
		if got := quote.Quoted(row.in, row.max); got != row.want {
			t.Errorf("Quoted(%q, %d) = %s, want %s", row.in, row.max, got, row.want)
		}
	}
}

func TestCutOfPlainTextAllocatesNothing(t *testing.T) {
	const in = "https://grüße.example.com:8443"
	if n := testing.AllocsPerRun(100, func() { quote.Cut(in, quote.Origin) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// A megabyte in a header must cost a log line what a kilobyte costs.
func TestCutReadsNoFurtherThanItsLimit(t *testing.T) {
	took := func(in string) time.Duration {
		began := time.Now()
		quote.Cut(in, quote.Value)
		quote.Quoted(in, quote.Value)
		return time.Since(began)
	}
	for _, unit := range []string{"a", "\x1b", "ä"} {
		kilobyte, megabytes := strings.Repeat(unit, 1<<10), strings.Repeat(unit, 8<<20)
		short, long := time.Hour, time.Hour
		for range 50 {
			short = min(short, took(kilobyte))
		}
		// On a busy machine some are late; what reads all of it is late each time.
		for deadline := time.Now().Add(time.Minute); long > 10*short+100*time.Microsecond && time.Now().Before(deadline); {
			long = min(long, took(megabytes))
		}
		if long > 10*short+100*time.Microsecond {
			t.Errorf("%q: %v for a kilobyte, %v for megabytes", unit, short, long)
		}
	}
}

func FuzzCut(f *testing.F) {
	for _, seed := range []string{"", "plain", "a\r\nb", "\x1b[2J", "\u009b\u202e\u2028", "\xff\xc3(", `\"\\`, "🙂\ufe0f\U000e0041"} {
		for _, max := range []int{-1, 0, 2, 3, 7, quote.Origin, quote.Value} {
			f.Add(seed, max)
		}
	}
	f.Fuzz(func(t *testing.T, in string, max int) {
		if max > 1<<20 {
			return
		}
		got := quote.Cut(in, max)
		if len(got) > 0 && len(got) > max {
			t.Fatalf("%d bytes, limit %d", len(got), max)
		}
		assertOneLine(t, got)
		assertOneLine(t, quote.Quoted(in, max))
		if len(quote.Quoted(in, max)) > 0 && len(quote.Quoted(in, max)) > max {
			t.Fatalf("Quoted: limit %d exceeded", max)
		}
		// What was not cut is unambiguous: it reads back as what went in.
		if back, err := strconv.Unquote(quote.Quoted(in, 10*len(in)+2)); err != nil || back != in {
			t.Fatalf("%q reads back as %q, %v", in, back, err)
		}
	})
}

func assertOneLine(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Fatalf("%q is not UTF-8", s)
	}
	for _, r := range s {
		if !strconv.IsPrint(r) {
			t.Fatalf("%q contains %U", s, r)
		}
	}
}

func BenchmarkCut(b *testing.B) {
	for _, row := range []struct{ name, in string }{
		{"plain", "https://app.example.com"},
		{"hostile 5 KB", strings.Repeat("\x1b\u202e", 1280)},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				quote.Cut(row.in, quote.Value)
			}
		})
	}
}
