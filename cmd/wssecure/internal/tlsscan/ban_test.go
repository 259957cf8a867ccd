package tlsscan_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/tlsscan"
	"github.com/wssecure/wssecure/internal/attack"
)

// A server that hangs up on everybody after a while has refused no old client; one that hangs up on old clients only has.
func TestHangingUpIsARefusalOfWhatWasOffered(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{testbed.NewAuthority(t).Issue(nil)}}
	for _, row := range []struct {
		name   string
		banned func(n int32, hello []byte) bool
		says   string // before it hangs up
		want   attack.State
	}{
		{"on everybody, after the first", func(n int32, _ []byte) bool { return n > 1 }, "", attack.Unclear},
		{"on everybody, with an alert: access_denied", func(n int32, _ []byte) bool { return n > 1 }, "\x15\x03\x03\x00\x02\x02\x31", attack.Unclear},
		{"on old clients", func(_ int32, hello []byte) bool {
			return !strings.Contains(string(hello), "\x00\x2b\x00\x03\x02\x03\x04")
		}, "", attack.Held},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int32
			addr := testbed.Listen(t, func(c net.Conn) {
				hello := make([]byte, 4096)
				read, err := c.Read(hello)
				if err != nil {
					return
				}
				if n := n.Add(1); n > 1 && row.banned(n, hello[:read]) {
					io.WriteString(c, row.says)
					return
				}
				tls.Server(&replayed{c, hello[:read]}, config).Handshake()
			})
			u, err := endpoint.Parse("wss://" + addr + "/")
			if err != nil {
				t.Fatal(err)
			}
			e := &endpoint.Endpoint{URL: u, Timeout: time.Minute, Pace: endpoint.NewPace(8, 1000, 1000)}
			if err := e.Reach(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, c := range tlsscan.Checks() {
				switch c.ID {
				case "tls-ssl3", "tls-1-0", "tls-null", "tls-rc4", "tls-cbc", "tls-dhe-short", "tls-compression":
					if v := c.Run(t.Context(), e); v.State != row.want {
						t.Errorf("%s: %+v", c.ID, v)
					}
				case "tls-alpn-ignored":
					if v := c.Run(t.Context(), e); row.want == attack.Unclear && v.State != row.want {
						t.Errorf("%s: %+v", c.ID, v)
					}
				}
			}
		})
	}
}

// replayed gives back what was read ahead.
type replayed struct {
	net.Conn
	ahead []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.ahead) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.ahead)
	r.ahead = r.ahead[n:]
	return n, nil
}
