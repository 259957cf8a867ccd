package tlsscan_test

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/tlsscan"
	"github.com/wssecure/wssecure/internal/attack"
)

// A real TLS stack must read each hello as it is meant.
func TestHelloIsReadAsItIsMeant(t *testing.T) {
	for _, row := range []struct {
		version uint16
		suites  []uint16
		groups  []uint16
		name    string
		alpn    []string
	}{
		{tls.VersionTLS10, []uint16{0x002f, 0x000a}, []uint16{23}, "ws.example.com", nil},
		{tls.VersionTLS11, []uint16{0xc013}, []uint16{29, 23}, "ws.example.com", nil},
		{tls.VersionTLS12, []uint16{0xc02b, 0x009e}, []uint16{29}, "ws.example.com", []string{"http/1.1", "h2"}},
		{tls.VersionTLS13, []uint16{0x1301, 0x1303}, []uint16{4588, 29}, "ws.example.com", nil},
		{tls.VersionTLS12, []uint16{0xc02b}, []uint16{29}, "192.0.2.1", nil},
	} {
		near, far := net.Pipe()
		var seen *tls.ClientHelloInfo
		stop := errors.New("seen")
		server := tls.Server(far, &tls.Config{MinVersion: tls.VersionTLS10, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			seen = h
			return nil, stop
		}})
		go func() {
			near.Write(tlsscan.Hello(row.version, row.suites, row.groups, row.name, row.alpn...))
			io.Copy(io.Discard, near)
		}()
		if err := server.Handshake(); !errors.Is(err, stop) {
			t.Errorf("%s: %v", tls.VersionName(row.version), err)
			continue
		}
		near.Close()
		want := row.suites
		if row.version < tls.VersionTLS13 {
			want = append(slices.Clone(want), 0x00ff)
		}
		name := row.name
		if net.ParseIP(name) != nil {
			name = ""
		}
		var groups []uint16
		for _, g := range seen.SupportedCurves {
			groups = append(groups, uint16(g))
		}
		if !slices.Equal(seen.CipherSuites, want) || seen.ServerName != name || !slices.Equal(seen.SupportedProtos, row.alpn) || !slices.Equal(groups, row.groups) ||
			slices.Max(seen.SupportedVersions) != row.version {
			t.Errorf("%s: %+v", tls.VersionName(row.version), seen)
		}
	}
}

// answered is what a server with that configuration says to a hello.
func answered(t *testing.T, config *tls.Config, hello []byte) (tlsscan.Answer, error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		defer far.Close()
		tls.Server(far, config).Handshake()
	}()
	if _, err := near.Write(hello); err != nil {
		t.Fatal(err)
	}
	return tlsscan.ReadAnswer(near, false)
}

func TestAnswersOfARealServer(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{testbed.NewAuthority(t).Issue(nil)}}
	for _, row := range []struct {
		name  string
		hello []byte
		want  tlsscan.Answer
		err   string
	}{
		{"TLS 1.3 chooses a group without a key share", tlsscan.Hello(tls.VersionTLS13, []uint16{0x1301}, []uint16{4588}, ""), tlsscan.Answer{Version: tls.VersionTLS13, Suite: 0x1301, Group: 4588}, ""},
		{"TLS 1.2", tlsscan.Hello(tls.VersionTLS12, []uint16{0xc02b}, []uint16{29}, ""), tlsscan.Answer{Version: tls.VersionTLS12, Suite: 0xc02b, Renegotiation: true}, ""},
		{"too old", tlsscan.Hello(tls.VersionTLS11, []uint16{0xc009}, []uint16{29}, ""), tlsscan.Answer{}, "alert protocol_version"},
		{"no suite in common", tlsscan.Hello(tls.VersionTLS12, []uint16{0x0005}, []uint16{29}, ""), tlsscan.Answer{}, "alert handshake_failure"},
		{"SSL 3.0", tlsscan.Hello(0x0300, []uint16{0x0005}, nil, ""), tlsscan.Answer{}, "alert protocol_version"},
	} {
		got, err := answered(t, config, row.hello)
		if got != row.want || row.err == "" && err != nil || row.err != "" && (err == nil || err.Error() != row.err) {
			t.Errorf("%s: %+v, %v", row.name, got, err)
		}
	}
}

// hello12 is a ServerHello of TLS 1.2 without extensions: version, random, no session, suite, compression.
func hello12(suite string, compression string) string {
	return "02000026" + "0303" + strings.Repeat("ab", 32) + "00" + suite + compression
}

// record wraps handshake messages.
func record(messages string) string {
	n := len(messages) / 2
	return "160303" + hex.EncodeToString([]byte{byte(n >> 8), byte(n)}) + messages
}

// keyExchange begins with a prime of that many bytes, of which the first is as given.
func keyExchange(bytes int, first string) string {
	prime := first + strings.Repeat("ff", bytes-1)
	n := bytes + 2
	return "0c" + hex.EncodeToString([]byte{0, byte(n >> 8), byte(n), byte(bytes >> 8), byte(bytes)}) + prime
}

func TestAnswersThatNoGoServerGives(t *testing.T) {
	for _, row := range []struct {
		name, wire string
		want       tlsscan.Answer
		err        string // a refusal must not be taken for nonsense, nor the other way round
	}{
		{"compression", record(hello12("0033", "01")), tlsscan.Answer{Version: tls.VersionTLS12, Suite: 0x33, Compression: 1}, "connection closed"},
		{"a prime of 1,024 bits", record(hello12("0033", "00")) + record("0b000000"+keyExchange(128, "ff")), tlsscan.Answer{Version: tls.VersionTLS12, Suite: 0x33, PrimeBits: 1024}, ""},
		{"a prime of 2,047 bits", record(hello12("0033", "00") + keyExchange(256, "7f")), tlsscan.Answer{Version: tls.VersionTLS12, Suite: 0x33, PrimeBits: 2047}, ""},
		{"leading zeros", record(hello12("0033", "00") + keyExchange(257, "00")), tlsscan.Answer{Version: tls.VersionTLS12, Suite: 0x33, PrimeBits: 2048}, ""},
		{"a flight without a key", record(hello12("0033", "00") + "0e000000"), tlsscan.Answer{Version: tls.VersionTLS12, Suite: 0x33}, ""},
		{"a message over two records", record(hello12("0033", "00")[:20]) + record(hello12("0033", "00")[20:]+"0e000000"), tlsscan.Answer{Version: tls.VersionTLS12, Suite: 0x33}, ""},
		{"cut inside a record", record(hello12("0033", "00"))[:30], tlsscan.Answer{}, "ends too early"},
		{"cut inside ServerHello", record("02000004" + "0303abab"), tlsscan.Answer{Version: tls.VersionTLS12}, "ends too early"},
		{"extensions longer than they are", record("02000028" + hello12("0033", "00")[8:] + "ffff"), tlsscan.Answer{Version: tls.VersionTLS12, Suite: 0x33}, "ends too early"},
		{"a message of 16 MiB", record("02ffffff"), tlsscan.Answer{}, "16777215 bytes"},
		{"alert", "15030300020228", tlsscan.Answer{}, "alert handshake_failure"},
		{"application data", "1703030001ff", tlsscan.Answer{}, "type 23"},
		{"no TLS", hex.EncodeToString([]byte("SSH-2.0-x\r\n")), tlsscan.Answer{}, "no TLS"},
		{"an empty record", "1603030000", tlsscan.Answer{}, "no TLS"},
		{"nothing", "", tlsscan.Answer{}, "connection closed"},
	} {
		wire, err := hex.DecodeString(row.wire)
		if err != nil {
			t.Fatal(row.name, err)
		}
		got, err := tlsscan.ReadAnswer(bytes.NewReader(wire), true)
		if got != row.want || row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
			t.Errorf("%s: %+v, %v", row.name, got, err)
		}
	}
}

func FuzzReadAnswer(f *testing.F) {
	for _, seed := range []string{
		record(hello12("0033", "01")), record(hello12("0033", "00") + keyExchange(256, "7f")), "15030300020228", record("02ffffff"),
		record("02000028" + hello12("0033", "00")[8:] + "ffff"),
	} {
		wire, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		a, err := tlsscan.ReadAnswer(bytes.NewReader(wire), true)
		if err == nil && a.PrimeBits > 8*len(wire) {
			t.Errorf("a prime of %d bits in %d bytes", a.PrimeBits, len(wire))
		}
	})
}

// Each rule must be of use to whoever reads it in a report.
func TestChecksAreWhole(t *testing.T) {
	for _, c := range tlsscan.Checks() {
		if c.ID == "" || c.Title == "" || c.Why == "" || c.Fix == "" || c.Option == "" || c.Group == "" || len(c.Refs) == 0 || c.Run == nil {
			t.Errorf("%+v", c.Rule)
		}
	}
}

// Silence is no refusal: a scan that took it for one would call a slow server sound.
func TestSilenceDecidesNothing(t *testing.T) {
	addr := testbed.Listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	u, err := endpoint.Parse("wss://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint.Endpoint{URL: u, TLS: &tls.ConnectionState{}, Timeout: 20 * time.Millisecond, Pace: endpoint.NewPace(1, 1000, 100)}
	for _, c := range tlsscan.Checks() {
		if c.Group != "tls" || c.ID == "tls-1-3-missing" { // known from the first handshake
			continue
		}
		if v := c.Run(t.Context(), e); v.State != attack.Unclear {
			t.Errorf("%s: %v, %s", c.ID, v.State, v.Got)
		}
	}
}

// A finding names all that was taken: whoever mends the first only would be back tomorrow.
func TestEverySuiteOfAClassIsNamed(t *testing.T) {
	addr := testbed.Serve(t, &http.Server{TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{testbed.NewAuthority(t).Issue(nil)}, MaxVersion: tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256},
	}})
	u, err := endpoint.Parse("wss://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint.Endpoint{URL: u, TLS: &tls.ConnectionState{Version: tls.VersionTLS12}, Timeout: time.Minute, Pace: endpoint.NewPace(1, 1000, 100)}
	for _, c := range tlsscan.Checks() {
		v := attack.Verdict{}
		switch c.ID {
		case "tls-cbc":
			v = c.Run(t.Context(), e)
			if v.State != attack.Broken || strings.Count(v.Got, "CBC") != 3 || strings.Count(v.Got, ",") != 2 {
				t.Errorf("%s: %v, %s", c.ID, v.State, v.Got)
			}
		case "tls-rc4", "tls-null", "tls-anonymous", "tls-export", "tls-3des", "tls-rsa-kex", "tls-dhe-short", "tls-ssl3", "tls-1-0", "tls-1-1", "tls-group-weak", "tls-compression", "tls-renegotiation":
			if v = c.Run(t.Context(), e); v.State != attack.Held {
				t.Errorf("%s: %v, %s%s", c.ID, v.State, v.Got, v.Detail)
			}
		case "tls-1-3-missing", "tls-hybrid-missing":
			if v = c.Run(t.Context(), e); v.State != attack.Broken {
				t.Errorf("%s: %v, %s", c.ID, v.State, v.Got)
			}
		}
	}
}
