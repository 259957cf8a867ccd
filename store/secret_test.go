package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"strings"
	"testing"
	"time"
)

// TestTicketsAreKeptAsHashes: what is in memory redeems nothing, and a guess that
// is right but for its last character is found no nearer than any other.
func TestTicketsAreKeptAsHashes(t *testing.T) {
	m := NewMemory()
	shared := strings.Repeat("A", 42)
	right, near := shared+"A", shared+"Q"
	put := Put{Ticket: right, Data: []byte("sealed"), TTL: time.Minute}
	if err := m.Do(context.Background(), &put); err != nil || put.Err != nil {
		t.Fatal(err, put.Err)
	}
	kept := 0
	for i := range m.shards {
		for key, s := range m.shards[i].secrets {
			kept++
			if want := sum(sha256.Sum256([]byte("t" + right))); key != want || s.sum != want {
				t.Errorf("kept as %x, want the hash %x", key, want)
			}
			if bytes.Contains(s.data, []byte(shared)) {
				t.Errorf("kept with %q", s.data)
			}
			if other := sumOf(ticketSecret, near); bytes.Equal(other[:2], key[:2]) {
				t.Errorf("%x and %x begin alike, as their tickets do", other, key)
			}
		}
	}
	if kept != 1 {
		t.Errorf("%d secrets, want 1", kept)
	}
	if sumOf(logoutSecret, right) == sumOf(ticketSecret, right) {
		t.Error("a logout id is a ticket")
	}
	for text, want := range map[string]bool{near: false, shared: false, right: true} {
		redeem := Redeem{Ticket: text}
		if err := m.Do(context.Background(), &redeem); err != nil || redeem.Err != nil || (redeem.Data != nil) != want {
			t.Errorf("%q: %q, %v, %v", text, redeem.Data, err, redeem.Err)
		}
	}
}
