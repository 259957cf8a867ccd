package registry_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
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

func TestMemory(t *testing.T) {
	populations := []struct {
		name string
		keys func(n int) keys
	}{
		{"a subject, token and address each", keysOf},
		{"every key shared by two", func(n int) keys {
			k := keysOf(n / 2)
			k.ID = "id" + strconv.Itoa(n)
			return k
		}},
		{"one address and one subject for all", func(n int) keys {
			k := keysOf(n)
			k.Addr, k.Subject = netip.MustParseAddr("192.0.2.1"), "everyone"
			return k
		}},
	}
	const size = 17_500 // just after the shards have grown, when most of their room is unused
	for _, p := range populations {
		t.Run(p.name, func(t *testing.T) {
			sessions := make([]session, size)
			for n := range sessions {
				sessions[n].keys = p.keys(n)
			}
			before := heap()
			table := newTable()
			for n := range sessions {
				table.Add(&sessions[n], sessions[n].keys)
			}
			full := heap()
			for n := range sessions {
				table.Remove(&sessions[n])
			}
			empty := heap()
			runtime.KeepAlive(table)
			runtime.KeepAlive(sessions)
			each := (full-before)/int64(size) + ownBytes
			t.Logf("%d bytes a session, %d KiB when all have ended", each, (empty-before)/1024)
			if each > 335 {
				t.Errorf("%d bytes a session, want at most 335", each)
			}
			// What 64 empty shards for each of five lookups weigh.
			if left := empty - before; left > 32<<10 {
				t.Errorf("%d bytes are left behind by %d ended sessions", left, size)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
