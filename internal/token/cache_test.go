package token_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/token"
)

// counting returns a verifier that counts how many tokens were judged in full and accepted.
func counting(t testing.TB, r token.Rules) (*token.Verifier[*token.Claims], *int) {
	t.Helper()
	n := 0
	v, err := token.NewStatic(jwks(fixtureSet()["es"].jwk(), fixtureSet()["ed"].jwk()), r, func(c *token.Claims) *token.Claims { n++; return c })
	if err != nil {
		t.Fatal(err)
	}
	return v, &n
}

func TestSeenTokens(t *testing.T) {
	es := fixtureSet()["es"]
	t.Run("J-42 again", func(t *testing.T) {
		v, judged := counting(t, rules())
		text := es.token(nil)
		if v.Known(text) {
			t.Error("known before it was verified")
		}
		first := must(v.Verify(t.Context(), text))
		if !v.Known(text) || v.Known(text+"A") || v.Known(strings.Repeat("A", 9000)) {
			t.Error("Known is wrong")
		}
		for range 10 {
			if again := must(v.Verify(t.Context(), strings.Clone(text))); again != first {
				t.Error("another value for the same token")
			}
		}
		if *judged != 1 {
			t.Errorf("judged %d times", *judged)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = v.Verify(t.Context(), text) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
	t.Run("J-42 exp reached", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v, _ := counting(t, rules())
			text := es.token(map[string]any{"exp": time.Now().Unix() + 100})
			if got := judge(v, text); got != "ok" {
				t.Fatal(got)
			}
			time.Sleep(130*time.Second - time.Nanosecond)
			if got := judge(v, text); got != "ok" || !v.Known(text) {
				t.Errorf("just before the end: got %s, known %v", got, v.Known(text))
			}
			time.Sleep(time.Nanosecond)
			if got := judge(v, text); got != "expired" || v.Known(text) {
				t.Errorf("at the end: got %s, known %v", got, v.Known(text))
			}
		})
	})
	t.Run("J-42 greatest age reached", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := rules()
			r.MaxAge = time.Minute
			v, _ := counting(t, r)
			text := es.token(map[string]any{"iat": time.Now().Unix()})
			if got := judge(v, text); got != "ok" {
				t.Fatal(got)
			}
			time.Sleep(90 * time.Second)
			if got := judge(v, text); got != "ok" {
				t.Errorf("at age and skew: got %s", got)
			}
			time.Sleep(time.Nanosecond)
			if got := judge(v, text); got != "expired" || v.Known(text) {
				t.Errorf("beyond: got %s", got)
			}
		})
	})
	t.Run("J-42 one byte changed", func(t *testing.T) {
		v, _ := counting(t, rules())
		text := es.token(nil)
		if got := judge(v, text); got != "ok" {
			t.Fatal(got)
		}
		for i := range text {
			for _, c := range []string{"A", "b", ".", "=", "_"} {
				changed := text[:i] + c + text[i+1:]
				if changed != text && (judge(v, changed) == "ok" || v.Known(changed)) {
					t.Fatalf("byte %d changed to %s: accepted", i, c)
				}
			}
		}
	})
	t.Run("bounded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hs := pair{"", "HS256", make([]byte, 32)}
			r := rules()
			r.MaxSize = 32 << 10
			v := must(token.NewSecrets([][]byte{hs.private.([]byte)}, r, same))
			const many = 18_000
			var texts []string
			for i := range many {
				texts = append(texts, hs.token(map[string]any{"n": i}))
				if got := judge(v, texts[i]); got != "ok" {
					t.Fatal(got)
				}
			}
			if n := countKnown(v, texts); n > 16384 || n < 15000 {
				t.Errorf("%d of %d small tokens kept", n, many)
			}
			// What is dead makes room first.
			time.Sleep(time.Hour)
			texts = texts[:0]
			for i := range 1500 {
				texts = append(texts, hs.token(map[string]any{"n": i, "pad": strings.Repeat("x", 20_000)}))
				if got := judge(v, texts[i]); got != "ok" {
					t.Fatal(got)
				}
			}
			// 64 MiB at four times 27 KB each.
			if n := countKnown(v, texts); n > 640 || n < 400 {
				t.Errorf("%d large tokens kept", n)
			}
		})
	})
	t.Run("headers are kept of verified tokens only", func(t *testing.T) {
		v, _ := counting(t, rules())
		judge(v, fixtureSet()["stranger"].token(nil))
		judge(v, es.token(map[string]any{"aud": "x"}))
		if n := token.HeadersHeld(v); n != 0 {
			t.Errorf("%d of refused ones", n)
		}
		for n := range 3 {
			if c := must(v.Verify(t.Context(), es.token(map[string]any{"n": n}))); c.Subject != "alice" {
				t.Errorf("got %+v", c)
			}
		}
		if n := token.HeadersHeld(v); n != 1 {
			t.Errorf("%d of one", n)
		}
	})
	t.Run("forged ones stay bounded", func(t *testing.T) {
		v := must(token.NewSecrets([][]byte{make([]byte, 32)}, rules(), same))
		bad := pair{"", "HS256", []byte("another secret of thirty-two byte")}
		for i := range 10_000 {
			if got := judge(v, bad.token(map[string]any{"n": i})); got != "forged" {
				t.Fatal(got)
			}
		}
		if n := token.ForgedHeld(v); n != 4096 {
			t.Errorf("%d kept", n)
		}
	})
}

func countKnown(v *verifier, texts []string) (n int) {
	for _, text := range texts {
		if v.Known(text) {
			n++
		}
	}
	return n
}
