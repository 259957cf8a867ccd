package attack_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/wssecure/wssecure/internal/attack"
)

// A weak server that has had enough of this address refuses all that comes: no verdict says that it checks anything.
func TestABanIsNoCheck(t *testing.T) {
	for name, refuse := range map[string]http.HandlerFunc{
		"403":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) },
		"502":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) },
		"closed":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"taken back": upgrading(closing(1008, "enough")),
	} {
		t.Run(name, inFakeTime(func(t *testing.T) {
			var asked atomic.Int32
			target := prepared(t, served(t, func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) > 10 {
					r.Header.Set("Origin", "banned")
					refuse(w, r)
					return
				}
				admit(w, r)
			}))
			held, unclear := []string(nil), 0
			attack.Run(t.Context(), target, attack.All(), func(r attack.Result) {
				switch {
				case r.Attack.Group != "origin":
				case r.Verdict.State == attack.Held:
					held = append(held, r.Attack.ID)
				case r.Verdict.State == attack.Unclear:
					unclear++
				}
			})
			if len(held) > 0 || unclear < 10 {
				t.Errorf("%d unclear, held: %q", unclear, held)
			}
		}))
	}
}
