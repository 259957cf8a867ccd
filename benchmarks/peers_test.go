package benchmarks

import (
	"bytes"
	"testing"

	"github.com/wssecure/wssecure/internal/memnet"
)

// writes keeps what is written behind the head of the 101.
type writes struct {
	memnet.Conn
	all bytes.Buffer
}

func (w *writes) Write(p []byte) (int, error) { return w.all.Write(p) }

// TestPeersEcho: a library that does no work would win every pair.
func TestPeersEcho(t *testing.T) {
	for _, p := range peers {
		for _, size := range sizes {
			conn := &writes{Conn: memnet.Conn{Feed: memnet.Frames(size.n, 1), Times: 3}}
			s, err := p.accept(memnet.NewWriter(conn), memnet.Request(""))
			if err != nil {
				t.Fatalf("%s: %v", p.name, err)
			}
			conn.all.Reset() // some write the head themselves
			if err := s.echo(); err == nil {
				t.Errorf("%s, %s: echo ended without an error", p.name, size.name)
			}
			_ = s.close()
			if n := conn.all.Len(); n < 3*size.n {
				t.Errorf("%s, %s: %d bytes came back of %d", p.name, size.name, n, 3*size.n)
			}
		}
	}
}
