package wssecure

import (
	"context"

	"github.com/wssecure/wssecure/store"
)

// This file asks the store again whether what open sessions have shown is revoked.

// endRevoked ends the members whose credential the store's marks have revoked:
// the feed that tells of a revocation may have been cut.
func (g *recheckGroup) endRevoked(ctx context.Context) error {
	revoked := map[*Identity]bool{}
	for _, s := range g.sessions() {
		id := s.Identity()
		is, asked := revoked[id]
		if !asked {
			var err error
			if is, err = g.core.isRevoked(ctx, id); err != nil {
				return err
			}
			revoked[id] = is
		}
		if is {
			s.endWith(&Rejection{Reason: ReasonRevoked}, ByGuard, StatusUnauthorized)
		}
	}
	return nil
}

// isRevoked asks the store's marks about a credential.
func (c *core) isRevoked(ctx context.Context, id *Identity) (bool, error) {
	keys := id.prepared()
	admits := []*store.Admit{}
	ops := []store.Op{}
	for _, key := range []store.Key{keys.subject, keys.token, keys.oidc, store.Everyone()} {
		if key == (store.Key{}) {
			continue
		}
		admit := &store.Admit{Key: key, IssuedAt: id.IssuedAt}
		admits, ops = append(admits, admit), append(ops, admit)
	}
	if err := c.store.Do(ctx, ops...); err != nil {
		return false, err
	}
	for _, admit := range admits {
		if admit.Err != nil {
			return false, admit.Err
		}
		if admit.Verdict.Refused == store.Revoked {
			return true, nil
		}
	}
	return false, nil
}
