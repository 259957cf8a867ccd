package tlsscan

import "io"

// Hello is a ClientHello for tests that play the server.
func Hello(version uint16, suites, groups []uint16, name string, alpn ...string) []byte {
	return hello{version: version, suites: suites, groups: groups, serverName: name, alpn: alpn}.bytes()
}

// An Answer is what readAnswer makes of a server's bytes.
type Answer struct {
	Version, Suite, Group uint16
	Compression           byte
	Renegotiation         bool
	PrimeBits             int
}

func ReadAnswer(r io.Reader, wantKey bool) (Answer, error) {
	a, err := readAnswer(r, wantKey)
	return Answer{a.version, a.suite, a.group, a.compression, a.renegotiation, a.primeBits}, err
}
