package store

import (
	"strings"
	"testing"
)

// TestRecordsOfOneHash: two keys that fall together are told apart, whichever
// goes first.
func TestRecordsOfOneHash(t *testing.T) {
	keys := []Key{Subject("a", "1"), Subject("a", "2"), Session("3")}
	for _, gone := range keys {
		s := new(shard)
		for _, k := range keys {
			if first := s.record(7, &k); s.record(7, &k) != first {
				t.Fatalf("%v has two records", k)
			}
		}
		s.drop(s.find(7, &gone))
		for _, k := range keys {
			if r := s.find(7, &k); (r == nil) != (k == gone) || r != nil && r.key != k {
				t.Errorf("without %v: %v has %v", gone, k, r)
			}
		}
		for _, k := range keys {
			if k != gone {
				s.drop(s.find(7, &k))
			}
		}
		if *s.chain(7) != nil || len(s.order) != 0 {
			t.Errorf("%v and %d places are left", *s.chain(7), len(s.order))
		}
	}
}

// TestLongCustomValues: what a client puts into a rule's own key is not kept for
// as long as a ban lasts, and still tells its keys apart.
func TestLongCustomValues(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	a, b := Custom("tenant", long+"a"), Custom("tenant", long+"b")
	if len(a.ID) > 256 {
		t.Errorf("a key of %d bytes", len(a.ID))
	}
	if a == b || a != Custom("tenant", long+"a") || a == Custom("room", long+"a") {
		t.Error("two long values are one key, or one is two")
	}
	if short := strings.Repeat("x", 64); Custom("tenant", short).ID != join("tenant", short) {
		t.Error("a short value is not kept as it is")
	}
}
