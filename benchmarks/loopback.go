package benchmarks

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/memnet"
)

// A client is a process of its own, this test binary again: in one process it
// would share the server's memory, its collector and its scheduler.

const roleVariable = "WSS_BENCHMARKS_ROLE"

// roles are what a process that was started by another may be.
var roles = map[string]func(arguments []byte) error{
	"flooded": runFloodServer,
	"flooder": runFlooder,
	"honest":  runHonest,
	"knocker": runKnocker,
	"pump":    runPump,
	"dialler": runDialler,
	"idlers":  runIdlers,
	"storm":   runStorm,
	"stormed": runStormServer,
	"server":  runIdleServer,
}

// playRole runs what the process was started for; false for none.
func playRole() (played bool, err error) {
	name, arguments, _ := strings.Cut(os.Getenv(roleVariable), " ")
	if name == "" {
		return false, nil
	}
	role, ok := roles[name]
	if !ok {
		return true, fmt.Errorf("%s: no role is called %q", roleVariable, name)
	}
	return true, role([]byte(arguments))
}

// A process plays a role. It ends when its standard input does, at the latest
// with the one who started it.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func start(tb testing.TB, role string, arguments any) *process {
	tb.Helper()
	text, err := json.Marshal(arguments)
	if err != nil {
		tb.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+role+" "+string(text))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.stdin, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	p.lines = bufio.NewScanner(out)
	tb.Cleanup(p.stop)
	return p
}

// ask writes a line, where there is one, and reads the answer into v.
func (p *process) ask(tb testing.TB, line string, v any) {
	tb.Helper()
	if line != "" {
		if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
			tb.Fatal(err)
		}
	}
	if !p.lines.Scan() {
		tb.Fatalf("the process ended: %v", p.cmd.Wait())
	}
	if err := json.Unmarshal(p.lines.Bytes(), v); err != nil {
		tb.Fatalf("%q: %v", p.lines.Text(), err)
	}
}

func (p *process) stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func parse(arguments []byte, v any) error { return json.Unmarshal(arguments, v) }

// answer writes a line to the one who started this process.
func answer(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// dial opens a socket over a raw connection, as memnet.Request would.
func dial(from, to, token string, nonce *memnet.Nonces) (net.Conn, error) {
	d := net.Dialer{}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	return c, upgrade(c, token, nonce)
}

// upgrade makes a socket of a connection. It reads not a byte of what is behind
// the head.
func upgrade(c net.Conn, token string, nonce *memnet.Nonces) error {
	r := memnet.Request(token)
	nonce.Set(r)
	if err := r.Write(c); err != nil {
		return err
	}
	var head []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, one[0]) {
		if _, err := c.Read(one); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(string(head), "HTTP/1.1 101 ") {
		return fmt.Errorf("the handshake was answered with %q", head)
	}
	return nil
}

// newCertificate is self-signed, with the kind of key that most servers have.
func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"app.example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
