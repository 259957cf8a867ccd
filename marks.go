package wssecure

import (
	"context"
	"slices"
	"time"

	"github.com/wssecure/wssecure/store"
)

// This file asks the store again whether what open sessions live by is revoked:
// the feed that tells of a revocation may have been cut.

// holding is a credential that a session lives by, or is about to.
type holding struct {
	session *Session
	id      *Identity
}

// markQuestion asks for the marks of one key. Holdings that share a key and were
// issued at one time share the question.
type markQuestion struct {
	key    store.Key
	issued time.Time
}

// questions are those of a handshake, and that of the session itself.
func (h holding) questions() []markQuestion {
	keys, issued := h.id.prepared(), h.id.IssuedAt
	all := []markQuestion{{keys.subject, issued}, {store.Session(h.session.ID()), issued}}
	if keys.token.ID != "" {
		all = append(all, markQuestion{keys.token, issued})
	}
	if keys.oidc.ID != "" {
		all = append(all, markQuestion{keys.oidc, issued})
	}
	if h.session.policy.verifier != nil { // a certificate has no time of issue that such a mark could name
		all = append(all, markQuestion{store.Everyone(), issued}, markQuestion{networkOf(h.session.ClientIP()), issued})
	}
	return all
}

// marksAtOnce is how many marks one batch asks for.
const marksAtOnce = 500

// standing says of each of held whether marks refuse it: store.Revoked, else
// store.Banned. With an error it says what the store did answer.
func (c *core) standing(ctx context.Context, held ...holding) ([]store.Refusal, error) {
	answers, err := c.askMarks(ctx, held)
	said := make([]store.Refusal, len(held))
	for i, h := range held {
		for _, q := range h.questions() {
			if refused := answers[q]; outranks(refused, said[i]) && !c.spares(h.session.ClientIP(), q.key, refused) {
				said[i] = refused
			}
		}
	}
	return said, err
}

// askMarks gives what refuses by question.
func (c *core) askMarks(ctx context.Context, held []holding) (map[markQuestion]store.Refusal, error) {
	answers := map[markQuestion]store.Refusal{}
	var admits []*store.Admit
	for _, h := range held {
		for _, q := range h.questions() {
			if _, asked := answers[q]; !asked {
				answers[q] = store.None
				admits = append(admits, &store.Admit{Key: q.key, IssuedAt: q.issued})
			}
		}
	}
	var failed error
	for batch := range slices.Chunk(admits, marksAtOnce) {
		ops := make([]store.Op, len(batch))
		for i, admit := range batch {
			ops[i] = admit
		}
		if err := c.store.Do(ctx, ops...); err != nil {
			return answers, err // it may still write into this batch
		}
		for _, admit := range batch {
			if admit.Err != nil {
				failed = admit.Err
				continue
			}
			answers[markQuestion{admit.Key, admit.IssuedAt}] = admit.Verdict.Refused
		}
	}
	return answers, failed
}

// endRevoked ends the members whose credential the store's marks have revoked.
func (g *recheckGroup) endRevoked(ctx context.Context) error {
	var held []holding
	for s := range g.sessions() {
		held = append(held, holding{s, s.Identity()})
	}
	said, err := g.core.standing(ctx, held...)
	for i, h := range held {
		if said[i] != store.Revoked {
			continue
		}
		// Whoever has renewed meanwhile was asked about then.
		if now := (holding{h.session, h.session.Identity()}); slices.Equal(now.questions(), h.questions()) {
			h.session.endWith(&Rejection{Reason: ReasonRevoked}, ByGuard, StatusUnauthorized)
		}
	}
	return err
}
