package store_test

import (
	"testing"

	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/store/storetest"
)

func newNode(tb testing.TB, shared store.Store, opts ...store.NodeOption) *store.Node {
	tb.Helper()
	n, err := store.NewNode(shared, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func TestNodeConforms(t *testing.T) {
	storetest.RunInBubble(t, func(t *testing.T) store.Store { return newNode(t, store.NewMemory()) })
}
