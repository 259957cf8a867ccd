package wire_test

import (
	"testing"

	"github.com/wssecure/wssecure/internal/wire"
)

// T4: whoever wakes from a pause hands on nothing that came meanwhile.
func TestCutOff(t *testing.T) {
	over := false
	l := open()
	l.CutOff = rule{&over}
	s := newSession(&script{packets: [][]byte{masked(fin|opText, []byte("before")), masked(fin|opText, []byte("after"))}}, nil, l, nil)
	buf := make([]byte, 100)
	if n, err := s.conn.Read(buf); n == 0 || err != nil {
		t.Errorf("Read = %d, %v", n, err)
	}
	over = true
	if n, err := s.conn.Read(buf); n != 0 || err == nil {
		t.Errorf("Read = %d, %v when it is over", n, err)
	}
	<-s.done
	if v := s.violation(); v != wire.CutOff {
		t.Errorf("violation %d, want %d", v, wire.CutOff)
	}
}

type rule struct{ over *bool }

func (r rule) Over(wire.Owner) bool { return *r.over }
