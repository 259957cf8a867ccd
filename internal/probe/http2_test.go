package probe_test

import (
	"bytes"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// Every way in which RFC 7541 lets a server write its status.
func TestStatusOfHTTP2(t *testing.T) {
	for _, row := range []struct {
		block string
		want  int
	}{
		{"\x88", 200}, {"\x8d", 404}, {"\x8e", 500},
		{"\x08\x03501", 501}, {"\x18\x03431", 431}, {"\x48\x03302", 302},
		{"\x48\x82\x6c\x01", 501}, {"\x48\x82\x64\x02", 302}, {"\x4e\x82\x10\x01", 200}, // appendix C.6.1 has the second
		{"\x3f\xe1\x1f\x88", 200}, {"\x20\x88", 200}, // the table's size comes first
		{"", 0}, {"\x20", 0}, {"\x3f\xff", 0}, {"\x87", 0}, {"\x48", 0}, {"\x48\x03", 0}, {"\x48\x0250", 0}, {"\x48\x045010", 0},
		{"\x48\x03abc", 0}, {"\x48\x82\xff\xff", 0}, {"\x48\x81\x6c", 0}, {"\x48\xff\x6c\x01", 0}, {"\x0f\x03501", 0},
	} {
		if got := (probe.H2Frame{Payload: []byte(row.block)}).Status(); got != row.want {
			t.Errorf("%x: %d, want %d", row.block, got, row.want)
		}
	}
}

func TestFieldsOfHTTP2(t *testing.T) {
	for n, length := range map[int]string{0: "\x00", 126: "\x7e", 127: "\x7f\x00", 1337: "\x7f\xba\x09"} { // the last by appendix C.1.2, in seven bits
		value := strings.Repeat("v", n)
		if got, want := string(probe.AppendH2Field(nil, "x", value)), "\x00\x01x"+length+value; got != want {
			t.Errorf("%d bytes: %.20x, want %.20x", n, got, want)
		}
	}
}

func TestReadHTTP2(t *testing.T) {
	sent := []probe.H2Frame{
		{Type: probe.H2Settings, Payload: []byte{0, 3, 0, 0, 0, 100, 0, 8, 0, 0, 0, 1, 9}},
		{Type: probe.H2Ping, Flags: probe.H2Ack, Payload: []byte("8 octets")},
		{Type: probe.H2Headers, Stream: 1<<31 - 1, Payload: make([]byte, 16<<10)},
	}
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		defer far.Close()
		for _, f := range sent {
			far.Write(probe.AppendH2(nil, f))
		}
		far.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	}()
	c := probe.New(near)
	soon := time.Now().Add(time.Minute)
	for i, want := range sent {
		f, err := c.ReadH2(soon)
		if err != nil || f.Type != want.Type || f.Flags != want.Flags || f.Stream != want.Stream || !bytes.Equal(f.Payload, want.Payload) {
			t.Fatalf("frame %d: %+v, %v", i, f, err)
		}
		if i == 0 {
			most, _ := f.Setting(probe.H2MaxStreams)
			extended, _ := f.Setting(probe.H2ExtendedConnect)
			if _, given := f.Setting(4); most != 100 || extended != 1 || given {
				t.Errorf("settings %d and %d, another %t", most, extended, given)
			}
		}
	}
	if f, err := c.ReadH2(soon); err == nil || !strings.Contains(err.Error(), strconv.Itoa(0x485454)) {
		t.Errorf("an answer of HTTP/1.1 is %+v, %v", f, err)
	}
}
