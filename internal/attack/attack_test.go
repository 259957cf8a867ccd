package attack_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wssecure/wssecure/internal/attack"
)

// What a report prints of an attack is there, and what others refer to it by is unique.
func TestTheCatalogueIsWhole(t *testing.T) {
	all := attack.All()
	if len(all) < 80 {
		t.Errorf("%d attacks", len(all))
	}
	id := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`)
	seen, last := map[string]bool{}, 0
	for _, a := range all {
		if !id.MatchString(a.ID) && a.ID != "pipelined" || seen[a.ID] {
			t.Errorf("ID %q: of no good form, or twice", a.ID)
		}
		seen[a.ID] = true
		group := slices.Index(attack.Groups, a.Group)
		if group < last {
			t.Errorf("%s: group %q is unknown or out of order", a.ID, a.Group)
		}
		last = group
		for name, text := range map[string]string{"Title": a.Title, "Why": a.Why, "Fix": a.Fix, "Option": a.Option} {
			if text == "" || strings.ContainsAny(text, "\n\t") || strings.TrimSpace(text) != text {
				t.Errorf("%s: %s is %q", a.ID, name, text)
			}
		}
		if len(a.Refs) == 0 || a.Run == nil {
			t.Errorf("%s has no reference or does nothing", a.ID)
		}
		if len(a.See()) == 0 {
			t.Errorf("%s: no reference that anybody can look up: %q", a.ID, a.Refs)
		}
		if slices.ContainsFunc(a.See(), func(ref string) bool { return strings.HasPrefix(ref, "ATTACKS") }) {
			t.Errorf("%s: See: %q", a.ID, a.See())
		}
		if found, ok := attack.Find(a.ID); !ok || found.Title != a.Title {
			t.Errorf("Find(%q) finds %q", a.ID, found.ID)
		}
	}
	if _, ok := attack.Find("none"); ok {
		t.Error("Find finds what is not there")
	}
}
