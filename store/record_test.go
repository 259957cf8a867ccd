package store

import (
	"testing"

	"github.com/wssecure/wssecure/internal/limit"
)

// TestRecordsOfOneHash: two keys that fall together are told apart, whichever
// goes first.
func TestRecordsOfOneHash(t *testing.T) {
	keys := []Key{Subject("a", "1"), Subject("a", "2"), Session("3")}
	for _, gone := range keys {
		s := &shard{records: map[limit.Hash]*record{}}
		for _, k := range keys {
			if s.record(7, k) != s.record(7, k) {
				t.Fatalf("%v has two records", k)
			}
		}
		s.drop(s.find(7, gone))
		for _, k := range keys {
			if r := s.find(7, k); (r == nil) != (k == gone) || r != nil && r.key != k {
				t.Errorf("without %v: %v has %v", gone, k, r)
			}
		}
		for _, k := range keys {
			if k != gone {
				s.drop(s.find(7, k))
			}
		}
		if len(s.records) != 0 || len(s.order) != 0 {
			t.Errorf("%d records and %d places are left", len(s.records), len(s.order))
		}
	}
}
