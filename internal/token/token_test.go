package token_test

import (
	_ "embed"
	"testing"
	"testing/synctest"
)

//go:embed testdata/tokens.txt
var tokensFile string

func TestTokens(t *testing.T) {
	fixtureSet() // keys are made outside fake time
	for _, r := range readRows(t, tokensFile) {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := fixture(t, rulesNamed(t, r.rules))
				text := r.token()
				got, err := v.Verify(t.Context(), text)
				if answer(err) != r.answer {
					t.Fatalf("got %s (%v), want %s", answer(err), err, r.answer)
				}
				if (err == nil) != (got != nil) || v.Known(text) != (err == nil) {
					t.Errorf("claims %v, known %v, error %v", got, v.Known(text), err)
				}
				if again := judge(v, text); again != r.answer {
					t.Errorf("the second time: got %s, want %s", again, r.answer)
				}
			})
		})
	}
}
