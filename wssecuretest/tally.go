package wssecuretest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wssecure/wssecure/internal/attack"
)

// A tally adds up how the attacks of one [Attack] ended.
type tally struct {
	skip []string

	mu     sync.Mutex
	counts [4]int
	notes  map[string][]string // what was left or unclear, by why
}

// try runs one attack as a subtest.
func (r *tally) try(t *testing.T, a attack.Attack, target *attack.Target) {
	if slices.Contains(r.skip, a.ID) {
		r.add(a, attack.Verdict{State: attack.Left, Detail: "left out by Skip"})
		return
	}
	if !a.Alone {
		t.Parallel()
	}
	v := a.Try(t.Context(), target)
	r.add(a, v)
	if v.State == attack.Broken {
		t.Error(explain(a, v))
	}
}

// explain says all that is needed to mend a server.
func explain(a attack.Attack, v attack.Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s): %s\n", a.ID, a.Severity, a.Title)
	for _, row := range [][2]string{
		{"sent", v.Sent}, {"got", v.Got}, {"that is", v.Detail}, {"why it matters", a.Why}, {"fix", a.Fix}, {"wssecure", a.Option},
		{"see", strings.Join(a.See(), ", ")},
	} {
		if row[1] != "" {
			fmt.Fprintf(&b, "  %-15s %s\n", row[0]+":", row[1])
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (r *tally) add(a attack.Attack, v attack.Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[v.State]++
	if v.State == attack.Left || v.State == attack.Unclear {
		if r.notes == nil {
			r.notes = map[string][]string{}
		}
		why := v.State.String() + ", " + v.Detail
		r.notes[why] = append(r.notes[why], a.ID)
	}
}

// String is the whole of it in one line.
func (r *tally) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := fmt.Sprintf("attacks: %d held, %d broken, %d left, %d unclear",
		r.counts[attack.Held], r.counts[attack.Broken], r.counts[attack.Left], r.counts[attack.Unclear])
	var notes []string
	for why, ids := range r.notes {
		slices.Sort(ids)
		notes = append(notes, fmt.Sprintf("%s (%s)", strings.Join(ids, " "), why))
	}
	slices.Sort(notes)
	if len(notes) > 0 {
		line += ": " + strings.Join(notes, "; ")
	}
	return line
}
