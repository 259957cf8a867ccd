package wire_test

import (
	"math"
	"net"
	"testing"
	"unsafe"

	"github.com/wssecure/wssecure/internal/wire"
)

// endless is a connection that gives the same frames for ever and swallows
// what is written.
type endless struct {
	script
	frames []byte
	off    int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.off == len(e.frames) {
		e.off = 0
	}
	n := copy(p, e.frames[e.off:])
	e.off += n
	return n, nil
}

func (e *endless) Write(p []byte) (int, error) { return len(p), nil }

func benchmark(b *testing.B, c net.Conn, in, out []byte, parts int) {
	p := make([]byte, max(len(in), 512))
	b.ReportAllocs()
	for b.Loop() {
		for got := 0; in != nil && got < len(in); {
			n, err := c.Read(p[:len(in)-got])
			if err != nil {
				b.Fatal(err)
			}
			got += n
		}
		for i := 0; out != nil && i < parts; i++ {
			if _, err := c.Write(out[i*len(out)/parts : (i+1)*len(out)/parts]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkConn(b *testing.B) {
	in64, out64 := masked(fin|opBinary, make([]byte, 64)), plain(fin|opBinary, make([]byte, 64))
	in64k, out64k := masked(fin|opBinary, make([]byte, 64<<10)), plain(fin|opBinary, make([]byte, 64<<10))
	for _, row := range []struct {
		name    string
		in, out []byte
		parts   int
	}{
		{"read64", in64, nil, 1},
		{"write64", nil, out64, 1},
		{"write64/in2parts", nil, out64, 2},
		{"echo64", in64, out64, 1},
		{"echo64KiB", in64k, out64k, 1},
	} {
		b.Run(row.name+"/bare", func(b *testing.B) {
			benchmark(b, &endless{frames: row.in}, row.in, row.out, row.parts)
		})
		b.Run(row.name+"/metered", func(b *testing.B) {
			raw := &endless{frames: row.in}
			l := open()
			l.Bytes = wire.Rate{N: math.MaxInt, Per: 1, Burst: math.MaxInt}
			s := newSession(raw, nil, l, nil)
			s.conn.Start()
			defer s.conn.Cut()
			benchmark(b, s.conn, row.in, row.out, row.parts)
		})
	}
}

// W-34: what a frame costs in memory is nothing, and a session little.
func TestW34(t *testing.T) {
	in := join(masked(opText, make([]byte, 64)), masked(fin|opPing, []byte("ping")), masked(fin, make([]byte, 64)))
	out := plain(fin|opBinary, make([]byte, 64))
	l := open()
	raw := &endless{frames: in}
	s := newSession(raw, nil, l, nil)
	s.conn.Start()
	defer s.conn.Cut()
	for _, n := range []int{1, 7, 100, 512} {
		p := make([]byte, n)
		if a := testing.AllocsPerRun(1000, func() {
			if _, err := s.conn.Read(p); err != nil {
				t.Fatal(err)
			}
			s.conn.Write(out[:2])
			s.conn.Write(out[2:])
			if _, err := s.conn.Write(out); err != nil {
				t.Fatal(err)
			}
		}); a != 0 {
			t.Errorf("reads of %d: %v allocations", n, a)
		}
	}
	if n := unsafe.Sizeof(wire.Conn{}); n > 1024 {
		t.Errorf("a Conn has %d bytes", n)
	} else {
		t.Logf("a Conn has %d bytes", n)
	}
}
