package wssecure_test

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
)

// What a session counts by is often what its client has sent, up to a whole header. It is kept for a day.
func TestSessionsKeepNoLongKeys(t *testing.T) {
	const sessions, size = 64, 1 << 20
	n := 0
	g := newGate(t, stay, wssecure.LimitFailures(wssecure.ByFunc("key", func(*wssecure.Handshake) string {
		n++
		return strings.Repeat("x", size) + strconv.Itoa(n)
	}), wssecure.PerMinute(5), time.Minute))
	before := heap()
	for range sessions {
		wantAnswer(t, g.knock(attacker), 101, "")
	}
	if grown := heap() - before; grown > sessions*size/4 {
		t.Errorf("%d sessions keep %d KiB each", sessions, grown/sessions>>10)
	}
	runtime.KeepAlive(g)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // sync.Pools are emptied by the second
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
