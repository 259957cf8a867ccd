package store_test

import (
	"testing"

	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/store/storetest"
)

func TestMemoryConforms(t *testing.T) {
	storetest.RunInBubble(t, func(*testing.T) store.Store { return store.NewMemory() })
}
