package wssecure

import (
	"context"
	"slices"

	"github.com/wssecure/wssecure/store"
)

// CheckNames are the built-in checks in their order.
func CheckNames() []string {
	var names []string
	for _, c := range order {
		names = append(names, c.name)
	}
	return names
}

// Without is g with one check taken out: a test must notice.
func Without(g *Guard, check string) *Guard {
	p := *g.policy
	p.checks = slices.DeleteFunc(slices.Clone(p.checks), func(c namedCheck) bool { return c.name == check })
	return &Guard{core: g.core, policy: &p}
}

// WrapStore puts a store before g's own. Nothing may be open yet.
func WrapStore(g *Guard, wrap func(store.Store) store.Store) {
	g.core.store = wrap(g.core.store)
}

// HolesOf counts the protections that g's options have removed.
func HolesOf(g *Guard) int { return len(g.policy.holes) }

// Turn is what Reads and Writes wait for.
type Turn = turn

// TakeTurn waits for it until ctx ends, and EndTurn gives it back.
func TakeTurn(t *Turn, ctx context.Context) bool { return t.take(ctx, nil) }
func EndTurn(t *Turn)                            { t.end() }
