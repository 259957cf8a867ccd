package wssecure_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
)

// A key that OnError decides nothing for is told of: it may be misspelt, and its rule is then left to the default.
func TestKeysOfNoRuleAreToldOf(t *testing.T) {
	inFleet(t, 0, func(s *fleet) {
		tenant := wssecure.ByFunc("tenant", constant)
		x := s.add([]store.NodeOption{store.OnError(store.RuleCap, store.Deny, "ip", "subject", "tenant", "region"), store.OnError(store.RuleBan, store.Deny, "shop")},
			wssecure.LimitConns(tenant, 5), wssecure.LimitFailures(wssecure.ByFunc("shop", constant), wssecure.PerMinute(5), time.Minute))
		told := slices.DeleteFunc(x.book.Lines(), func(line string) bool { return !strings.Contains(line, "OnError") })
		if len(told) != 1 || !strings.Contains(told[0], "region") {
			t.Errorf("told %q, want a line about the region alone", told)
		}
	})
}
