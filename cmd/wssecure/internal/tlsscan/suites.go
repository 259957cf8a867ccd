package tlsscan

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// Suites of TLS 1.2 and before, by what is wrong with them (IANA's registry). None is in two lists.
var (
	nullSuites   = []uint16{0x0001, 0x0002, 0x003b, 0x002c, 0x002d, 0x002e, 0xc001, 0xc006, 0xc00b, 0xc010}
	anonSuites   = []uint16{0x0018, 0x001a, 0x001b, 0x0034, 0x003a, 0x0046, 0x0089, 0x006c, 0x006d, 0x00a6, 0x00a7, 0xc015, 0xc016, 0xc017, 0xc018, 0xc019}
	exportSuites = []uint16{0x0003, 0x0006, 0x0008, 0x000b, 0x000e, 0x0011, 0x0014, 0x0017, 0x0019, 0x0062, 0x0063, 0x0064, 0x0065}
	rc4Suites    = []uint16{0x0004, 0x0005, 0x0066, 0xc002, 0xc007, 0xc00c, 0xc011}
	smallBlock   = []uint16{0x0007, 0x0009, 0x000a, 0x000c, 0x000d, 0x000f, 0x0010, 0x0012, 0x0013, 0x0015, 0x0016, 0xc003, 0xc008, 0xc00d, 0xc012}
	rsaSuites    = []uint16{0x002f, 0x0035, 0x003c, 0x003d, 0x009c, 0x009d, 0x0041, 0x0084, 0x0096, 0xc09c, 0xc09d, 0xc0a0, 0xc0a1}
	cbcSuites    = []uint16{0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028, 0x0032, 0x0033, 0x0038, 0x0039, 0x0040, 0x0045, 0x0067, 0x006a, 0x006b, 0x0088, 0xc072, 0xc073, 0xc076, 0xc077}
	dheSuites    = []uint16{0x009e, 0x009f, 0xccaa, 0x0033, 0x0039, 0x0067, 0x006b, 0x0016, 0xc09e, 0xc09f}
	aeadSuites   = []uint16{0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca8, 0xcca9, 0xc0ac, 0xc0ad}
	tls13Suites  = []uint16{0x1301, 0x1302, 0x1303, 0x1304, 0x1305}
)

// oldSuites are what a client of TLS 1.1 and before offers.
var oldSuites = join(cbcSuites, rsaSuites, smallBlock, rc4Suites)

// Groups by number.
var (
	commonGroups = []uint16{29, 23, 24, 25, 30}
	weakGroups   = []uint16{1, 2, 3, 4, 5, 6, 7, 15, 16, 17, 18, 19, 20, 21} // below 256 bits
	hybridGroups = []uint16{4588, 4587, 4589}                                // X25519MLKEM768 and the two of the NIST curves
)

func join(lists ...[]uint16) []uint16 {
	var all []uint16
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func suiteNames(ids []uint16) string {
	var names []string
	for _, id := range ids {
		names = append(names, suiteName(id))
	}
	return strings.Join(names, ", ")
}

// namesBeyondGo are IANA's, of the suites that servers still have and Go never had.
var namesBeyondGo = map[uint16]string{
	0x0001: "TLS_RSA_WITH_NULL_MD5",
	0x0002: "TLS_RSA_WITH_NULL_SHA",
	0x003b: "TLS_RSA_WITH_NULL_SHA256",
	0xc006: "TLS_ECDHE_ECDSA_WITH_NULL_SHA",
	0xc010: "TLS_ECDHE_RSA_WITH_NULL_SHA",
	0x0018: "TLS_DH_anon_WITH_RC4_128_MD5",
	0x001b: "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA",
	0x0034: "TLS_DH_anon_WITH_AES_128_CBC_SHA",
	0x003a: "TLS_DH_anon_WITH_AES_256_CBC_SHA",
	0x006c: "TLS_DH_anon_WITH_AES_128_CBC_SHA256",
	0x006d: "TLS_DH_anon_WITH_AES_256_CBC_SHA256",
	0x00a6: "TLS_DH_anon_WITH_AES_128_GCM_SHA256",
	0x00a7: "TLS_DH_anon_WITH_AES_256_GCM_SHA384",
	0xc015: "TLS_ECDH_anon_WITH_NULL_SHA",
	0xc016: "TLS_ECDH_anon_WITH_RC4_128_SHA",
	0xc017: "TLS_ECDH_anon_WITH_3DES_EDE_CBC_SHA",
	0xc018: "TLS_ECDH_anon_WITH_AES_128_CBC_SHA",
	0xc019: "TLS_ECDH_anon_WITH_AES_256_CBC_SHA",
	0x0003: "TLS_RSA_EXPORT_WITH_RC4_40_MD5",
	0x0008: "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA",
	0x0014: "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA",
	0x0004: "TLS_RSA_WITH_RC4_128_MD5",
	0x0009: "TLS_RSA_WITH_DES_CBC_SHA",
	0x0016: "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA",
	0xc008: "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA",
	0x0033: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
	0x0039: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
	0x0067: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
	0x006b: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
	0x009e: "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
	0x009f: "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
	0x003d: "TLS_RSA_WITH_AES_256_CBC_SHA256",
	0x0041: "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA",
	0x0084: "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA",
	0x0045: "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA",
	0x0088: "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA",
	0xc024: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
	0xc028: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
}

// suiteName is IANA's where it is known here, and the number otherwise.
func suiteName(id uint16) string {
	if name := tls.CipherSuiteName(id); !strings.HasPrefix(name, "0x") {
		return name
	}
	if name, ok := namesBeyondGo[id]; ok {
		return name
	}
	return fmt.Sprintf("suite 0x%04x", id)
}
