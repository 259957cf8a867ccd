package registry_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/wssecure/wssecure/internal/registry"
)

// TestSessionCostsLittle: what the table keeps of a session beside its keys' own
// text, which the session holds anyway.
func TestSessionCostsLittle(t *testing.T) {
	const sessions, subjects, most = 50_000, 1_000, 400
	live := make([]int, sessions)
	keys := make([]registry.Keys, sessions)
	for i := range keys {
		subject := fmt.Sprintf("https://id.example.com subject-%d", i%subjects)
		if i >= subjects {
			subject = keys[i%subjects].Subject
		}
		var addr [4]byte
		binary.BigEndian.PutUint32(addr[:], 0x0A000000+uint32(i))
		keys[i] = registry.Keys{
			ID: fmt.Sprint("session-", i), Subject: subject, Token: fmt.Sprint("token-", i),
			OIDCSession: fmt.Sprint("login-", i), Addr: netip.AddrFrom4(addr),
		}
	}
	held := func() int {
		var s runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&s)
		return int(s.HeapAlloc)
	}
	before := held()
	table := registry.New[*int]()
	for i := range live {
		table.Add(&live[i], keys[i])
	}
	each := (held() - before) / sessions
	t.Logf("%d bytes for a session with all its keys", each)
	if each > most {
		t.Errorf("a session costs %d bytes, want at most %d", each, most)
	}
	if each < 100 {
		t.Errorf("a session costs %d bytes: the table was not measured", each)
	}
	if n := len(table.BySubject(keys[7].Subject)); n != sessions/subjects {
		t.Errorf("a subject has %d sessions, want %d", n, sessions/subjects)
	}
	for i := range live {
		table.Remove(&live[i])
	}
	if left := held() - before; left > 64<<10 {
		t.Errorf("an empty table holds %d bytes", left)
	}
	runtime.KeepAlive(keys)
	runtime.KeepAlive(table)
}
