package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/strictjson"
)

type row struct {
	id      string
	problem strictjson.Problem // "ok" for none
	offset  int
	text    string
}

func rows(tb testing.TB) []row {
	tb.Helper()
	file, err := os.ReadFile("testdata/texts.txt")
	if err != nil {
		tb.Fatal(err)
	}
	form := regexp.MustCompile(`^(\S+) +(.+?) +(\d+) +(["\x60].*)$`)
	var list []row
	for line := range strings.Lines(string(file)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		m := form.FindStringSubmatch(line)
		if m == nil {
			tb.Fatalf("malformed row: %s", line)
		}
		text, err := strconv.Unquote(m[4])
		if err != nil {
			tb.Fatalf("malformed row: %s: %v", line, err)
		}
		offset, _ := strconv.Atoi(m[3])
		list = append(list, row{m[1], strictjson.Problem(m[2]), offset, text})
	}
	return list
}

func TestTexts(t *testing.T) {
	limits := strictjson.Limits{Members: 8}
	for _, r := range rows(t) {
		t.Run(fmt.Sprintf("%s %s %.40q", r.id, r.problem, r.text), func(t *testing.T) {
			err := strictjson.Check([]byte(r.text), limits)
			_, decodeErr := strictjson.Decode([]byte(r.text), limits)
			if !reflect.DeepEqual(err, decodeErr) {
				t.Errorf("Check says %v, Decode %v", err, decodeErr)
			}
			if r.problem == "ok" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			assertProblem(t, err, r.problem)
			if e, ok := errors.AsType[*strictjson.Error](err); ok && e.Offset != r.offset {
				t.Errorf("offset %d, want %d", e.Offset, r.offset)
			}
		})
	}
}

func assertProblem(t *testing.T, err error, want strictjson.Problem) {
	t.Helper()
	e, ok := errors.AsType[*strictjson.Error](err)
	if !ok {
		t.Fatalf("got %v, want %q", err, want)
	}
	if e.Problem != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestDecodeIsEncodingJSONs(t *testing.T) {
	for _, r := range rows(t) {
		if r.problem == "ok" {
			assertSameValue(t, []byte(r.text))
		}
	}
}

func assertSameValue(t *testing.T, p []byte) {
	t.Helper()
	got, err := strictjson.Decode(p, strictjson.Limits{})
	if err != nil {
		t.Fatalf("%q: %v", p, err)
	}
	d := json.NewDecoder(bytes.NewReader(p))
	d.UseNumber()
	var want any
	if err := d.Decode(&want); err != nil {
		t.Fatalf("%q: encoding/json: %v", p, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q: got %#v, want %#v", p, got, want)
	}
}

func TestObjectWantsAnObject(t *testing.T) {
	for _, text := range []string{`[]`, `null`, `"a"`, `1`, `true`} {
		_, err := strictjson.Object([]byte(text), strictjson.Limits{})
		assertProblem(t, err, strictjson.NotObject)
	}
	m, err := strictjson.Object([]byte(`{"a":[1]}`), strictjson.Limits{})
	if err != nil || !reflect.DeepEqual(m, map[string]any{"a": []any{json.Number("1")}}) {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestLimitsNeverTurnOff(t *testing.T) {
	deep := []byte(strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001))
	assertProblem(t, strictjson.Check(deep, strictjson.Limits{Depth: 1 << 30}), strictjson.TooDeep)
	if err := strictjson.Check(deep[1:len(deep)-1], strictjson.Limits{Depth: 1 << 30}); err != nil {
		t.Errorf("depth 10,000: %v", err)
	}
	assertProblem(t, strictjson.Check([]byte(`{}`), strictjson.Limits{Depth: -1}), strictjson.TooDeep)
	assertProblem(t, strictjson.Check([]byte(`{"a":1}`), strictjson.Limits{Members: -1}), strictjson.TooMany)
	assertProblem(t, strictjson.Check([]byte(`[[]]`), strictjson.Limits{Depth: 1}), strictjson.TooDeep)
}

// object writes n members with names of their own, then tail.
func object(n int, tail string) []byte {
	b := []byte{'{'}
	for i := range n {
		b = fmt.Appendf(b, `"%x":0,`, i)
	}
	return append(append(b, tail...), '}')
}

func TestDuplicateIsFoundInAnObjectOfAnySize(t *testing.T) {
	for n := 1; n < 40; n++ {
		for i := range n {
			dup := fmt.Sprintf(`"%x":1`, i)
			assertProblem(t, strictjson.Check(object(n, dup), strictjson.Limits{}), strictjson.Duplicate)
		}
		if err := strictjson.Check(object(n, `"x":{"0":1,"1":1},"y":1`), strictjson.Limits{}); err != nil {
			t.Errorf("%d members: %v", n, err)
		}
	}
}

// Names compared pair by pair would take 4,096 times as long for 64 times as many.
func TestNamesCostLinearTime(t *testing.T) {
	took := func(p []byte) time.Duration {
		began := time.Now()
		if err := strictjson.Check(p, strictjson.Limits{}); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	few, many := object(500, `"x":0`), object(32_000, `"x":0`)
	small, large := time.Hour, time.Hour
	for range 10 {
		small = min(small, took(few))
	}
	// On a busy machine some are late; what compares pairs is late each time.
	for deadline := time.Now().Add(time.Minute); large > 64*8*small && time.Now().Before(deadline); {
		large = min(large, took(many))
	}
	if large > 64*8*small {
		t.Errorf("64 times the members took %d times as long", large/small)
	}
}

func TestCheckOfSmallTextAllocatesNothing(t *testing.T) {
	p := []byte(`{"type":"message","room":7,"text":"hello","tags":["a","b"],"meta":{"a":1,"b":{"c":null}}}`)
	n := testing.AllocsPerRun(100, func() {
		if strictjson.Check(p, strictjson.Limits{}) != nil {
			t.Error("refused")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestErrorTextIsOneShortLine(t *testing.T) {
	name := strings.Repeat(`\u001b`, 200)
	err := strictjson.Check([]byte(`{"`+name+`":1,"`+name+`":2}`), strictjson.Limits{})
	assertProblem(t, err, strictjson.Duplicate)
	if text := err.Error(); len(text) > 120 || strings.ContainsAny(text, "\x1b\n") || !strings.Contains(text, `\x1b`) {
		t.Errorf("%q", text)
	}
	var n struct{ N int }
	err = strictjson.Unmarshal([]byte(`{"N":`+strings.Repeat("9", 300)+`}`), &n, strictjson.Limits{})
	assertProblem(t, err, strictjson.WrongType)
	if text := err.Error(); strings.Contains(text, "99") || !strings.Contains(text, `"N"`) {
		t.Errorf("%q", text)
	}
}

func FuzzCheck(f *testing.F) {
	for _, r := range rows(f) {
		f.Add([]byte(r.text))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		err := strictjson.Check(p, strictjson.Limits{})
		v, decodeErr := strictjson.Decode(p, strictjson.Limits{})
		if !reflect.DeepEqual(err, decodeErr) {
			t.Fatalf("Check says %v, Decode %v", err, decodeErr)
		}
		if err != nil {
			e, ok := errors.AsType[*strictjson.Error](err)
			if !ok || v != nil || e.Offset < 0 || e.Offset > len(p) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Fatalf("%#v, %v", err, v)
			}
			// The other direction: of what encoding/json takes, only these are refused.
			if e.Problem == strictjson.Syntax || e.Problem == strictjson.Truncated || e.Problem == strictjson.Trailing {
				if json.Valid(p) {
					t.Fatalf("%v, but encoding/json takes it", err)
				}
			}
			return
		}
		if !json.Valid(p) {
			t.Fatal("encoding/json refuses it")
		}
		assertSameValue(t, p)
	})
}

func BenchmarkCheck(b *testing.B) {
	for _, row := range []struct {
		name string
		p    []byte
	}{
		{"message 88 B", []byte(`{"type":"message","room":7,"text":"hello","tags":["a","b"],"meta":{"a":1,"b":{"c":null}}}`)},
		{"names 64 KiB", object(7000, `"x":0`)},
		{"text 64 KiB", []byte(`"` + strings.Repeat("abcdefgh", 8<<10) + `"`)},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(row.p)))
			for b.Loop() {
				if err := strictjson.Check(row.p, strictjson.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
