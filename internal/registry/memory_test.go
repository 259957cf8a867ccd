package registry_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"unsafe"

	"github.com/wssecure/wssecure/internal/registry"
)

// ownBytes of what a session costs are in the session itself.
const ownBytes = int64(unsafe.Sizeof(registry.Entry[*session]{}))

// TestSessionCostsLittle: what the table keeps of a session beside its names' own
// text, which its identity holds anyway.
func TestSessionCostsLittle(t *testing.T) {
	const sessions, subjects = 50_000, 1_000
	for _, row := range []struct {
		name  string
		most  int64
		names func(i int) registry.Names
	}{
		{"without a name", 140, func(int) registry.Names { return registry.Names{} }},
		{"with all its names", 320, func(i int) registry.Names {
			return registry.Names{Subject: fmt.Sprintf("https://id.example.com subject-%d", i%subjects), Token: fmt.Sprint("token-", i), OIDCSession: fmt.Sprint("login-", i)}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			live := make([]session, sessions)
			for i := range live {
				var addr [4]byte
				binary.BigEndian.PutUint32(addr[:], 0x0A000000+uint32(i))
				live[i].keys = keys{ID: fmt.Sprint("session-", i), Addr: netip.AddrFrom4(addr), Names: row.names(i)}
			}
			before := heap()
			table := newTable()
			for i := range live {
				table.Add(&live[i], live[i].keys)
			}
			each := (heap()-before)/sessions + ownBytes
			t.Logf("%d bytes", each)
			if each > row.most {
				t.Errorf("a session costs %d bytes, want at most %d", each, row.most)
			}
			if each < 100 {
				t.Errorf("a session costs %d bytes: the table was not measured", each)
			}
			if name := live[7].keys.Subject; name != "" && len(table.BySubject(name)) != sessions/subjects {
				t.Errorf("a subject has %d sessions, want %d", len(table.BySubject(name)), sessions/subjects)
			}
			for i := range live {
				table.Remove(&live[i])
			}
			if left := heap() - before; left > 64<<10 {
				t.Errorf("an empty table holds %d bytes", left)
			}
			runtime.KeepAlive(live)
			runtime.KeepAlive(table)
		})
	}
}
