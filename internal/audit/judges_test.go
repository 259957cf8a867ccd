package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each judge's result of the quickstart, and of a server with TLS 1.0, CBC suites, a certificate of its own making and no
// timeouts, as the tools wrote them.
func TestJudges(t *testing.T) {
	for _, row := range []struct {
		file   string
		read   func(result, said []byte) ([]check, error)
		said   string
		failed map[string]string // the checks that fail, with some of what they must have seen
	}{
		{"good-sslscan.xml", readSSLScan, "", nil},
		{"weak-sslscan.xml", readSSLScan, "", map[string]string{
			"TLS 1.2 and 1.3 only": "1.0, 1.1, 1.2",
			"AEAD only, no CBC":    "ECDHE-ECDSA-AES128-SHA",
		}},
		{"good-nmap.xml", readNmap, "", nil},
		{"weak-nmap.xml", readNmap, "", map[string]string{
			"TLS 1.2 and 1.3 only": "1.0, 1.1, 1.2",
			"AEAD only, no CBC":    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
		}},
		{"good-testssl.json", readTestSSL, "", nil},
		{"weak-testssl.json", readTestSSL, "", map[string]string{
			"TLS 1.2 and 1.3 only": "1.0, 1.1, 1.2",
			"above INFO":           "CRITICAL cert_chain_of_trust",
		}},
		{"good-slow.csv", readSlow, "\x1b[0mExit status:\x1b[1;36m No open connections left\n", nil},
		{"good-slow.csv", readSlow, "Exit status:\x1b[1;36m Cancelled by user\n", map[string]string{"slow headers are closed": "some are open"}},
		{"weak-slow.csv", readSlow, "Exit status:\x1b[1;36m Hit test time limit\n", map[string]string{"slow headers are closed": "0 closed"}},
	} {
		t.Run(row.file, func(t *testing.T) {
			result, err := os.ReadFile(filepath.Join("testdata", row.file))
			if err != nil {
				t.Fatal(err)
			}
			checks, err := row.read(result, []byte(row.said))
			if err != nil {
				t.Fatal(err)
			}
			wantFailed(t, checks, row.failed)
		})
	}
}

// Every finding that is accepted is one that testssl.sh has of the quickstart: what is no longer found need not be excused.
func TestAcceptedFindingsAreOfUse(t *testing.T) {
	result, err := os.ReadFile("testdata/good-testssl.json")
	if err != nil {
		t.Fatal(err)
	}
	checks, err := readTestSSL(result, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accepted {
		if a.why == "" || !slices.ContainsFunc(checks, func(c check) bool { return c.accepted && c.name == a.id }) {
			t.Errorf("%s is accepted, and not found: %q", a.id, a.why)
		}
	}
}

func wantFailed(t *testing.T, checks []check, failed map[string]string) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range checks {
		seen[c.name] = true
		if c.accepted {
			continue
		}
		want, fails := failed[c.name]
		if c.good == fails || !strings.Contains(c.seen, want) {
			t.Errorf("%+v; want it to fail: %v, with %q", c, fails, want)
		}
	}
	for name := range failed {
		if !seen[name] {
			t.Errorf("no check %q", name)
		}
	}
}

// What is small enough to be written down: results that say less than they should are no good news.
func TestJudgesThatSaySomethingElse(t *testing.T) {
	const head = "Seconds,Closed,Pending,Connected,Service Available\n"
	const done = "No open connections left"
	for _, row := range []struct {
		name   string
		read   func(result, said []byte) ([]check, error)
		result string
		failed map[string]string
	}{
		{"sslscan without a suite", readSSLScan, `<document><ssltest/></document>`, map[string]string{"TLS 1.2 and 1.3 only": "none", "AEAD only, no CBC": "0 suites"}},
		{"Heartbleed", readSSLScan, `<document><ssltest><protocol type="tls" version="1.2" enabled="1"/><protocol type="tls" version="1.3" enabled="1"/>` +
			`<heartbleed sslversion="TLSv1.2" vulnerable="1"/><compression supported="1"/><cipher sslversion="TLSv1.2" cipher="X-GCM" strength="weak"/></ssltest></document>`,
			map[string]string{"weak suites, compression": "X-GCM is weak; compression; Heartbleed with TLSv1.2"}},
		{"SSL 3", readSSLScan, `<document><ssltest><protocol type="ssl" version="3" enabled="1"/><protocol type="tls" version="1.2" enabled="1"/>` +
			`<protocol type="tls" version="1.3" enabled="1"/><cipher sslversion="TLSv1.2" cipher="X-GCM" strength="strong"/></ssltest></document>`,
			map[string]string{"TLS 1.2 and 1.3 only": "SSL 3"}},
		{"nmap without a table", readNmap, `<nmaprun><host><ports><port><script/></port></ports></host></nmaprun>`,
			map[string]string{"TLS 1.2 and 1.3 only": "none", "AEAD only, no CBC": "0 suites", "least strength A": "not said"}},
		{"testssl that ended early", readTestSSL, `[{"id":"TLS1_2","severity":"OK","finding":"offered"},{"id":"TLS1_3","severity":"OK","finding":"offered"}]`,
			map[string]string{"parts that are missing": "scanTime"}},
		{"another ticket lifetime", readTestSSL, complete(`{"id":"TLS_session_ticket","severity":"LOW","finding":"valid for 2592000 seconds (>daily)"}`),
			map[string]string{"above INFO": "LOW TLS_session_ticket"}},
		{"a chain of several", readTestSSL, complete(`{"id":"cert_notAfter <cert#1>","severity":"HIGH","finding":"tomorrow"}`), nil},
		{"a warning", readTestSSL, complete(`{"id":"heartbleed","severity":"WARN","finding":"test failed"}`), map[string]string{"above INFO": "WARN heartbleed: test failed"}},
		{"a service that is away", readSlow, head + "0,0,1,0,200\n5,0,0,200,0\n12,173,0,27,200\n", map[string]string{"service available": "away in 1 of 3"}},
		{"nobody gets in", readSlow, head + "0,0,1,0,200\n1,200,0,0,200\n", map[string]string{"slow headers get in": "0 at once"}},
		{"closed late", readSlow, head + "0,0,1,0,200\n5,0,0,200,200\n25,173,0,27,200\n", map[string]string{"slow headers are closed": "second 25"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			checks, err := row.read([]byte(row.result), []byte(done))
			if err != nil {
				t.Fatal(err)
			}
			wantFailed(t, checks, row.failed)
		})
	}
}

// complete is a result of testssl.sh with all its parts, and one finding more.
func complete(finding string) string {
	var b strings.Builder
	for _, id := range needed {
		text := "not offered"
		if id == "TLS1_2" || id == "TLS1_3" {
			text = "offered"
		}
		b.WriteString(`{"id":"` + id + `","severity":"OK","finding":"` + text + `"},`)
	}
	return "[" + b.String() + finding + "]"
}

func TestResultsThatCannotBeRead(t *testing.T) {
	for name, read := range map[string]func(result, said []byte) ([]check, error){
		"sslscan": readSSLScan, "nmap": readNmap, "testssl": readTestSSL, "slow": readSlow,
	} {
		for _, text := range []string{"", "<", "[{", "<nmaprun/>", "a,b\n1\n", "Seconds\n", "a,b\n1,2\n", "a,b,c,d,e\n1,2,3,4,x\n"} {
			if checks, err := read([]byte(text), nil); err == nil {
				t.Errorf("%s reads %q as %v", name, text, checks)
			}
		}
	}
}
