package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// accepted are findings of testssl.sh that are right as they are here: which, the text that they must have, and why.
var accepted = []struct{ id, text, why string }{
	{"engine_problem", "", "about the OpenSSL of this machine, not the server"},
	{"cert_expirationStatus", "", "good for one day, as the authority is"},
	{"cert_notAfter", "", "good for one day, as the authority is"},
	{"cert_revocation", "Neither CRL nor OCSP", "a private authority has neither, and is gone in a day"},
	{"DNS_CAArecord", "", "localhost is in no DNS"},
	{"HSTS", "not offered", "not for localhost: it would break everybody else's port there"},
	// crypto/tls says seven days and cannot be told otherwise; it changes its ticket key each day, and a resumption with
	// TLS 1.3 has a key exchange of its own. RFC 9325, section 3.4, asks for a change each week.
	{"TLS_session_ticket", "valid for 604800 seconds", "a hint of crypto/tls, whose key changes each day"},
}

// needed are the findings of a run that has come to its end, a few of each part.
var needed = []string{"SSLv2", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3", "cipherlist_NULL", "cipher_order", "cert_keySize", "cert_trust", "HSTS", "heartbleed", "ROBOT", "RC4", "scanTime"}

type testSSLFinding struct{ ID, Severity, Finding string }

// readTestSSL reads the flat JSON of testssl.sh.
func readTestSSL(result, _ []byte) ([]check, error) {
	var findings []testSSLFinding
	if err := json.Unmarshal(result, &findings); err != nil {
		return nil, err
	}
	said := map[string]string{}
	var complaints []string
	var excused []check
	for _, f := range findings {
		said[f.ID] = f.Finding
		if f.Severity == "OK" || f.Severity == "INFO" {
			continue
		}
		if why := f.accepted(); why != "" {
			excused = append(excused, check{name: f.ID, seen: fmt.Sprintf("%s, %s: %s", f.Severity, f.Finding, why), accepted: true})
			continue
		}
		complaints = append(complaints, fmt.Sprintf("%s %s: %s", f.Severity, f.ID, f.Finding))
	}
	var missing, offered []string
	for _, id := range needed {
		if _, there := said[id]; !there {
			missing = append(missing, id)
		}
	}
	for id, name := range map[string]string{"SSLv2": "SSL 2", "SSLv3": "SSL 3", "TLS1": "1.0", "TLS1_1": "1.1", "TLS1_2": "1.2", "TLS1_3": "1.3"} {
		if strings.HasPrefix(said[id], "offered") {
			offered = append(offered, name)
		}
	}
	return append([]check{none("parts that are missing", missing), versions(offered), none("above INFO", complaints)}, excused...), nil
}

// accepted is why the finding is right as it is here; empty if it is not.
func (f testSSLFinding) accepted() string {
	for _, a := range accepted {
		// With several chains an ID is followed by its number, as in "cert_notAfter <cert#1>".
		id, _, _ := strings.Cut(f.ID, " ")
		if a.id == id && strings.Contains(f.Finding, a.text) {
			return a.why
		}
	}
	return ""
}
