package tlsscan

import (
	"crypto/rand"
	"encoding/binary"
	"net"
	"slices"
)

// Versions on the wire; crypto/tls no longer speaks the first.
const (
	ssl30 = 0x0300
	tls10 = 0x0301
	tls11 = 0x0302
	tls12 = 0x0303
	tls13 = 0x0304
)

// A hello is one ClientHello: what a client of any age would offer, also what no Go client can. For TLS 1.3 it sends no key
// share, so that a server that agrees answers with HelloRetryRequest and its choice of group, and nobody computes anything.
type hello struct {
	version    uint16 // the highest that is offered, and the lowest
	suites     []uint16
	groups     []uint16
	serverName string // empty or an IP address: no SNI
	alpn       []string
	deflate    bool // offers compression (CRIME)
}

// Extension numbers of the IANA registry.
const (
	extServerName      = 0
	extGroups          = 10
	extPointFormats    = 11
	extSignatures      = 13
	extALPN            = 16
	extVersions        = 43
	extKeyShare        = 51
	extRenegotiation   = 0xff01
	suiteRenegotiation = 0x00ff // RFC 5746: asks for extRenegotiation without sending it
)

// signatures are all that any certificate could need, weak ones too: the suite is what is asked about.
var signatures = []uint16{
	0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b,
	0x0401, 0x0501, 0x0601, 0x0402, 0x0502, 0x0602, 0x0301, 0x0303, 0x0203, 0x0201, 0x0202, 0x0101,
}

// bytes is the record as it goes out.
func (h hello) bytes() []byte {
	legacy := min(h.version, tls12)
	body := binary.BigEndian.AppendUint16(nil, legacy)
	var random [32]byte
	rand.Read(random[:])
	body = append(body, random[:]...)
	if h.version == tls13 {
		body = append(append(body, 32), random[:]...) // middlebox compatibility, RFC 8446 D.4
	} else {
		body = append(body, 0)
	}
	suites := h.suites
	if h.version < tls13 {
		suites = append(slices.Clone(suites), suiteRenegotiation)
	}
	body = append(body, vector16(list16(suites))...)
	if h.deflate {
		body = append(body, 2, 1, 0)
	} else {
		body = append(body, 1, 0)
	}
	if h.version > ssl30 {
		body = append(body, vector16(h.extensions())...)
	}
	message := append([]byte{1, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	record := binary.BigEndian.AppendUint16([]byte{recordHandshake}, min(legacy, tls10))
	return append(record, vector16(message)...)
}

func (h hello) extensions() []byte {
	var all []byte
	add := func(id uint16, body []byte) {
		all = append(binary.BigEndian.AppendUint16(all, id), vector16(body)...)
	}
	if h.serverName != "" && net.ParseIP(h.serverName) == nil {
		add(extServerName, vector16(append([]byte{0}, vector16([]byte(h.serverName))...)))
	}
	if len(h.groups) > 0 {
		add(extGroups, vector16(list16(h.groups)))
		add(extPointFormats, []byte{1, 0})
	}
	if h.version >= tls12 {
		add(extSignatures, vector16(list16(signatures)))
	}
	if len(h.alpn) > 0 {
		var names []byte
		for _, name := range h.alpn {
			names = append(append(names, byte(len(name))), name...)
		}
		add(extALPN, vector16(names))
	}
	if h.version == tls13 {
		add(extVersions, []byte{2, tls13 >> 8, tls13 & 0xff})
		add(extKeyShare, []byte{0, 0})
	}
	return all
}

func list16(numbers []uint16) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

func vector16(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}
