package strictjson_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/strictjson"
)

type inner struct {
	Level int    `json:"level"`
	Note  string `json:"note,omitempty"`
}

// Shared is embedded twice at one depth: its member means nothing.
type Shared struct{ Twin int }

type left struct{ Shared }
type right struct{ Shared }

type Base struct {
	ID   string `json:"id"`
	Deep int    `json:"deep"`
	Same string
}

type Other struct{ Same string }

type message struct {
	Base
	*Other
	left
	right
	Named inner  `json:"named"`
	Deep  string `json:"deep"` // wins over Base's
	Plain int    // no tag: the Go name
	//lint:ignore SA5008 what encoding/json makes of a malformed tag is what is tested
	Bad int `json:"a\"b"`
	//lint:ignore SA5008 the one way to name a member "-"
	Dash    int               `json:"-,"`
	Hidden  int               `json:"-"`
	Ptr     **inner           `json:"ptr"`
	List    []inner           `json:"list"`
	Array   [2]inner          `json:"array"`
	Map     map[string]*inner `json:"map"`
	ByID    map[int]string    `json:"byID"`
	Any     any               `json:"any"`
	Raw     json.RawMessage   `json:"raw"`
	Bytes   []byte            `json:"bytes"`
	When    time.Time         `json:"when"`
	Addr    netip.Addr        `json:"addr"`
	Self    *message          `json:"self"`
	Float   float64           `json:"float"`
	Quoted  int               `json:"quoted,string"`
	Own     folding           `json:"own"`
	private int
}

// folding decodes itself, in any case.
type folding struct{ Level int }

func (f *folding) UnmarshalJSON(p []byte) error {
	type plain folding
	return json.Unmarshal(p, (*plain)(f))
}

func TestUnmarshalTakesExactNamesOnly(t *testing.T) {
	const unknown, ok = strictjson.UnknownField, strictjson.Problem("")
	for _, row := range []struct {
		name, text string
		want       strictjson.Problem
	}{
		{"C-08 exact", `{"id":"a","Plain":1,"Bad":2,"-":3,"deep":"x"}`, ok},
		{"C-08 unknown field", `{"id":"a","role":"admin"}`, unknown},
		{"C-08 name in another case", `{"ID":"a"}`, unknown},
		{"C-08 name in another case, untagged", `{"plain":1}`, unknown},
		{"C-08 Kelvin sign folds to k", "{\"lin\u212a\":1}", unknown},
		{"C-08 long s folds to s", "{\"li\u017ft\":[]}", unknown},
		{"C-08 escaped name", `{"\u0069d":"a"}`, ok},
		{"C-08 duplicate by escape", `{"id":"a","\u0069d":"b"}`, strictjson.Duplicate},
		{"C-08 duplicate, nested", `{"named":{"level":1,"level":2}}`, strictjson.Duplicate},
		{"C-08 trailing", `{"id":"a"}{}`, strictjson.Trailing},
		{"C-08 byte order mark", "\ufeff{}", strictjson.ByteOrder},
		{"C-08 empty", ``, strictjson.Empty},
		{"C-08 NaN", `{"float":NaN}`, strictjson.Syntax},
		{"C-08 1e400", `{"float":1e400}`, strictjson.WrongType},
		{"C-08 1e400 in any", `{"any":1e400}`, strictjson.WrongType},
		{"integer overflow", `{"Plain":9223372036854775808}`, strictjson.WrongType},
		{"fraction for an integer", `{"Plain":1.5}`, strictjson.WrongType},
		{"tag and Go name", `{"Named":{}}`, unknown},
		{"tag that is not usable", `{"a\"b":1}`, unknown},
		{"hidden", `{"Hidden":1}`, unknown},
		{"unexported", `{"private":1}`, unknown},
		{"embedded type's name", `{"Base":{}}`, unknown},
		{"ambiguous embedded", `{"Same":"x"}`, unknown},
		{"embedded twice", `{"Twin":1}`, unknown},
		{"pointer", `{"ptr":{"level":1}}`, ok},
		{"pointer, other case", `{"ptr":{"Level":1}}`, unknown},
		{"slice, other case", `{"list":[{"level":1},{"LEVEL":1}]}`, unknown},
		{"array, other case", `{"array":[{"level":1},{"leveL":1}]}`, unknown},
		{"map value", `{"map":{"Level":{"level":1}}}`, ok},
		{"map value, other case", `{"map":{"x":{"Note":""}}}`, unknown},
		{"type that contains itself", `{"self":{"self":{"Id":"x"}}}`, unknown},
		{"map by integer", `{"byID":{"1":"a","-2":"b","10":"c"}}`, ok},
		{"map by integer, second spelling", `{"byID":{"1":"a","01":"b"}}`, strictjson.KeySpelling},
		{"map by integer, plus", `{"byID":{"+1":"a"}}`, strictjson.KeySpelling},
		{"any is not judged", `{"any":{"Whatever":{"X":1}}}`, ok},
		{"raw is not judged", `{"raw":{"Whatever":1}}`, ok},
		{"raw, duplicate", `{"raw":{"a":1,"a":1}}`, strictjson.Duplicate},
		{"own UnmarshalJSON", `{"own":{"lEvEl":1}}`, ok},
		{"own text", `{"when":"2026-01-02T03:04:05Z","addr":"::1"}`, ok},
		{"own text refuses", `{"addr":"\u001b[2Jx"}`, strictjson.Refused},
		{"base64", `{"bytes":"AQI="}`, ok},
		{"not base64", `{"bytes":"*"}`, strictjson.Refused},
		{"string tag", `{"quoted":"7"}`, ok},
		{"null", `{"named":null,"ptr":null,"list":null}`, ok},
		{"another kind", `{"named":[{"Level":1}]}`, strictjson.WrongType},
		{"array for the whole", `[{"Id":1}]`, strictjson.WrongType},
	} {
		t.Run(row.name, func(t *testing.T) {
			var m message
			err := strictjson.Unmarshal([]byte(row.text), &m, strictjson.Limits{})
			if row.want != ok {
				assertProblem(t, err, row.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want message
			if err := json.Unmarshal([]byte(row.text), &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(m, want) {
				t.Errorf("got %+v, want %+v", m, want)
			}
		})
	}
}

// Every name that encoding/json writes must be one that Unmarshal takes.
func TestUnmarshalReadsWhatMarshalWrites(t *testing.T) {
	p := &inner{Level: 1, Note: "n"}
	in := message{
		Base: Base{ID: "i"}, Named: *p, Deep: "d", Plain: 1, Bad: 2, Dash: 3, Ptr: &p, List: []inner{*p}, Array: [2]inner{*p, *p},
		Map: map[string]*inner{"Level": p}, ByID: map[int]string{-7: "x"}, Any: "any", Raw: json.RawMessage(`[1]`), Bytes: []byte{1},
		When: time.Unix(0, 0).UTC(), Addr: netip.IPv6Loopback(), Self: &message{Raw: json.RawMessage(`1`)}, Float: 0.5, Quoted: 9,
		Own: folding{Level: 4}, private: 1,
	}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out message
	if err := strictjson.Unmarshal(text, &out, strictjson.Limits{}); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	again, err := json.Marshal(out)
	if err != nil || string(again) != string(text) {
		t.Errorf("got %s, want %s", again, text)
	}
}

func TestUnmarshalFollowsItsDestination(t *testing.T) {
	other := []byte(`{"Level":1}`)
	var byInterface any = &inner{}
	var nilPointer *inner
	for _, dst := range []any{&inner{}, &byInterface, &nilPointer, &[]inner{}, &map[string]inner{}} {
		text := other
		switch reflect.TypeOf(dst).Elem().Kind() {
		case reflect.Slice:
			text = fmt.Appendf(nil, `[%s]`, other)
		case reflect.Map:
			text = fmt.Appendf(nil, `{"Any Key":%s}`, other)
		}
		assertProblem(t, strictjson.Unmarshal(text, dst, strictjson.Limits{}), strictjson.UnknownField)
	}
	var free any
	if err := strictjson.Unmarshal(other, &free, strictjson.Limits{}); err != nil {
		t.Errorf("any: %v", err)
	}
	for _, dst := range []any{nil, inner{}, (*inner)(nil)} {
		assertProblem(t, strictjson.Unmarshal(other, dst, strictjson.Limits{}), strictjson.Destination)
	}
}

// What Unmarshal takes, encoding/json takes with the same result.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{`{"id":"a"}`, `{"ID":"a"}`, `{"self":{"list":[{"level":1}]}}`, `{"byID":{"01":""}}`, `{"own":{"LEVEL":1}}`} {
		f.Add([]byte(seed))
	}
	for _, r := range rows(f) {
		f.Add([]byte(r.text))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var got, want message
		if strictjson.Unmarshal(p, &got, strictjson.Limits{}) != nil {
			return
		}
		if err := json.Unmarshal(p, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("encoding/json: %+v, %v, got %+v", want, err, got)
		}
	})
}
