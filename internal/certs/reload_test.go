package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/certs"
)

const day = 24 * time.Hour

// watched is a Source over a folder, in a bubble of fake time, with what it told.
type watched struct {
	*certs.Source
	t   *testing.T
	dir string
	ca  authority

	mu   sync.Mutex
	told []certs.Notice
}

func watch(t *testing.T, life time.Duration) *watched {
	t.Helper()
	w := &watched{t: t, dir: t.TempDir(), ca: newAuthority(t)}
	w.ca.pair(t, 1, life).write(t, w.dir)
	w.load()
	return w
}

func (w *watched) load() {
	w.t.Helper()
	s, err := certs.Load(filepath.Join(w.dir, "cert.pem"), filepath.Join(w.dir, "key.pem"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.Source = s
	s.Notify(func(n certs.Notice) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, n)
	})
}

// after lets time pass, makes a handshake that may start a look, and gives the serial number of the one after it.
func (w *watched) after(d time.Duration) int64 {
	w.t.Helper()
	time.Sleep(d)
	w.serial()
	synctest.Wait()
	return w.serial()
}

func (w *watched) serial() int64 {
	w.t.Helper()
	c, err := w.Certificate(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Leaf.SerialNumber.Int64()
}

// wants compares what was told since the last call, each as "kind", "kind: error" or "kind: n days".
func (w *watched) wants(want ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var got []string
	for _, n := range w.told {
		switch n.Kind {
		case certs.Reloaded:
			got = append(got, "reloaded")
		case certs.ReloadFailed:
			got = append(got, "failed: "+strings.ReplaceAll(n.Err.Error(), w.dir+string(os.PathSeparator), ""))
		case certs.Expiring:
			got = append(got, fmt.Sprintf("expiring: %d days", n.Days))
		}
		if n.CertFile != filepath.Join(w.dir, "cert.pem") || n.NotAfter.IsZero() {
			w.t.Errorf("a notice about %q, ending %v", n.CertFile, n.NotAfter)
		}
	}
	w.told = nil
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("told %q, want %q", got, want)
	}
}

const mismatch = `failed: "cert.pem" and "key.pem" do not belong together; give the key of that certificate`

func TestReload(t *testing.T) {
	bubble := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	bubble("T-13 files replaced", func(t *testing.T) {
		w := watch(t, 365*day)
		w.ca.pair(t, 2, 365*day).write(t, w.dir)
		if got := w.after(59 * time.Second); got != 1 {
			t.Errorf("leaf %d before the minute is over", got)
		}
		if got := w.after(time.Second); got != 2 {
			t.Errorf("leaf %d after a minute, want 2", got)
		}
		w.wants("reloaded")
		w.after(time.Hour)
		w.wants()
	})
	bubble("T-13 the handshake that finds the time come goes on with the old pair", func(t *testing.T) {
		w := watch(t, 365*day)
		w.ca.pair(t, 2, 365*day).write(t, w.dir)
		hold := make(chan struct{})
		w.Notify(func(certs.Notice) { <-hold })
		time.Sleep(time.Minute)
		for range 100 {
			w.serial() // none waits, though the look's notice is stuck
		}
		synctest.Wait()
		if got := w.serial(); got != 2 {
			t.Errorf("leaf %d, want 2", got)
		}
		close(hold)
	})
	bubble("T-13 a thousand handshakes at once start one look", func(t *testing.T) {
		w := watch(t, 365*day)
		time.Sleep(time.Minute)
		before := runtime.NumGoroutine()
		for range 1000 {
			w.serial()
			if n := runtime.NumGoroutine() - before; n > 1 {
				t.Fatalf("%d goroutines look at the files", n)
			}
		}
	})
	bubble("T-13 broken files: the old pair serves on, told once", func(t *testing.T) {
		w := watch(t, 365*day)
		write(t, filepath.Join(w.dir, "cert.pem"), []byte("junk"))
		for range 10 {
			if got := w.after(time.Minute); got != 1 {
				t.Errorf("leaf %d, want 1", got)
			}
		}
		w.wants(`failed: "cert.pem" has no PEM block CERTIFICATE; give the certificate chain in PEM form`)
		write(t, filepath.Join(w.dir, "cert.pem"), []byte("other junk"))
		w.after(time.Minute)
		w.wants(`failed: "cert.pem" has no PEM block CERTIFICATE; give the certificate chain in PEM form`)
		if err := os.Remove(filepath.Join(w.dir, "cert.pem")); err != nil {
			t.Fatal(err)
		}
		w.after(time.Minute)
		w.after(time.Minute)
		w.wants(`failed: "cert.pem" is missing; give the path of your certificate chain`)
		w.ca.pair(t, 2, 365*day).write(t, w.dir)
		if got := w.after(time.Minute); got != 2 {
			t.Errorf("leaf %d after the repair, want 2", got)
		}
		w.wants("reloaded")
	})
	bubble("T-13 the old files put back after a failure: healed without a word, a new failure is told again", func(t *testing.T) {
		w := watch(t, 365*day)
		name := filepath.Join(w.dir, "cert.pem")
		good, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			write(t, name, []byte("junk"))
			w.after(time.Minute)
			w.wants(`failed: "cert.pem" has no PEM block CERTIFICATE; give the certificate chain in PEM form`)
			write(t, name, good)
			w.after(time.Minute)
			w.wants()
		}
	})
	bubble("T-13 two failures by turns are told once each", func(t *testing.T) {
		w := watch(t, 365*day)
		for i := range 10 {
			write(t, filepath.Join(w.dir, "cert.pem"), fmt.Append(nil, "junk ", i%2))
			w.after(time.Minute)
		}
		const junk = `failed: "cert.pem" has no PEM block CERTIFICATE; give the certificate chain in PEM form`
		w.wants(junk, junk)
	})
	bubble("T-13 half-written: certificate new, key old; heals a second after the key has come", func(t *testing.T) {
		w := watch(t, 365*day)
		next := w.ca.pair(t, 2, 365*day)
		write(t, filepath.Join(w.dir, "cert.pem"), next.cert)
		if got := w.after(time.Minute); got != 1 {
			t.Errorf("leaf %d, want 1", got)
		}
		w.wants(mismatch)
		write(t, filepath.Join(w.dir, "key.pem"), next.key)
		if got := w.after(999 * time.Millisecond); got != 1 {
			t.Errorf("leaf %d within the second, want 1", got)
		}
		if got := w.after(time.Millisecond); got != 2 {
			t.Errorf("leaf %d a second later, want 2", got)
		}
		w.wants("reloaded")
	})
	bubble("T-13 looks after a failure come after 1, 2, 4 … 60 seconds", func(t *testing.T) {
		w := watch(t, 365*day)
		next := w.ca.pair(t, 2, 365*day)
		write(t, filepath.Join(w.dir, "cert.pem"), next.cert)
		w.after(time.Minute)
		for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			w.after(pause * time.Second)
		}
		write(t, filepath.Join(w.dir, "key.pem"), next.key)
		if got := w.after(60*time.Second - 1); got != 1 {
			t.Errorf("looked before the minute was over")
		}
		if got := w.after(1); got != 2 {
			t.Errorf("leaf %d after the minute, want 2", got)
		}
		w.wants(mismatch, "reloaded")
	})
	bubble("T-13 a chain caught between two certificates is whole a second later", func(t *testing.T) {
		w := watch(t, 365*day)
		next := w.ca.pair(t, 2, 365*day)
		leaf := strings.SplitAfter(string(next.cert), "-----END CERTIFICATE-----\n")[0]
		files{[]byte(leaf), next.key}.write(t, w.dir)
		w.after(time.Minute)
		next.write(t, w.dir)
		w.after(time.Second)
		if c, _ := w.Certificate(nil); len(c.Certificate) != 2 {
			t.Errorf("serves %d certificates, want 2", len(c.Certificate))
		}
	})
	bubble("T-13 expired, weak and premature pairs keep the old one", func(t *testing.T) {
		w := watch(t, 365*day)
		weak := newRSA(t, 1024)
		files{w.ca.issue(t, 2, weak, time.Now().Add(-time.Hour), time.Now().Add(365*day)), keyPEM(t, weak)}.write(t, w.dir)
		w.after(time.Minute)
		w.wants(`failed: "key.pem" is RSA 1024; use RSA 2048 or P-256`)
		key := newP256(t)
		files{w.ca.issue(t, 3, key, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)), keyPEM(t, key)}.write(t, w.dir)
		w.after(time.Minute)
		w.wants(`failed: "cert.pem" expired at 1999-12-31T23:01:00Z; renew it`)
		files{w.ca.issue(t, 4, key, time.Now().Add(day), time.Now().Add(2*day)), keyPEM(t, key)}.write(t, w.dir)
		w.after(time.Minute)
		w.wants(`failed: "cert.pem" is not valid before 2000-01-02T00:02:00Z; set the clock, or wait with its use`)
		if got := w.serial(); got != 1 {
			t.Errorf("leaf %d, want 1", got)
		}
		if got := w.after(day); got != 4 {
			t.Errorf("leaf %d once its time has come, want 4", got)
		}
	})
	bubble("Kubernetes: a link two folders up is swapped, sizes and dates the same", func(t *testing.T) {
		w := &watched{t: t, dir: t.TempDir(), ca: newAuthority(t)}
		at := func(name string) string { return filepath.Join(w.dir, name) }
		link := func(to, name string) {
			if err := os.Symlink(to, at(name)); err != nil {
				t.Fatal(err)
			}
		}
		stamp := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		for serial, folder := range []string{"..v0", "..v1"} {
			if err := os.Mkdir(at(folder), 0o700); err != nil {
				t.Fatal(err)
			}
			pair := w.ca.pair(t, int64(serial), 365*day)
			pair.cert = append(pair.cert, strings.Repeat("\n", 4096-len(pair.cert))...)
			pair.write(t, at(folder))
			for _, name := range []string{"cert.pem", "key.pem"} {
				if err := os.Chtimes(filepath.Join(at(folder), name), stamp, stamp); err != nil {
					t.Fatal(err)
				}
			}
		}
		link("..v0", "..data")
		link("..data/cert.pem", "cert.pem")
		link("..data/key.pem", "key.pem")
		w.load()
		link("..v1", "..data_tmp")
		if err := os.Rename(at("..data_tmp"), at("..data")); err != nil {
			t.Fatal(err)
		}
		if got := w.after(time.Minute); got != 1 {
			t.Errorf("leaf %d, want 1", got)
		}
		w.wants("reloaded")
	})
	bubble("an expired pair waits for the look", func(t *testing.T) {
		w := watch(t, 2*day)
		w.ca.pair(t, 2, 365*day).write(t, w.dir)
		time.Sleep(2*day + time.Second)
		if got := w.serial(); got != 2 {
			t.Errorf("the first client after a long silence got leaf %d, want 2", got)
		}
	})
	bubble("Check looks at once", func(t *testing.T) {
		w := watch(t, 365*day)
		w.ca.pair(t, 2, 365*day).write(t, w.dir)
		w.Check(time.Now())
		if got := w.serial(); got != 2 {
			t.Errorf("leaf %d, want 2", got)
		}
		w.wants("reloaded")
	})
}

func TestExpiring(t *testing.T) {
	bubble := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	bubble("T-13 30, 14 and 3 days: one each", func(t *testing.T) {
		w := watch(t, 60*day)
		w.after(30*day - time.Second)
		w.wants()
		w.after(2 * time.Minute)
		w.wants("expiring: 30 days")
		for range 15 {
			w.after(day)
		}
		w.wants()
		w.after(day)
		w.wants("expiring: 14 days")
		for range 11 {
			w.after(day)
		}
		w.wants("expiring: 3 days")
		w.after(4 * day)
		w.wants(`failed: "cert.pem" expired at 2000-03-01T00:00:00Z; renew it`)
	})
	bubble("told at once of a leaf that ends soon already, and once only", func(t *testing.T) {
		w := watch(t, 10*day)
		w.wants("expiring: 10 days")
		w.Notify(func(n certs.Notice) { t.Errorf("told again: %+v", n) })
		w.after(time.Hour)
	})
	bubble("a renewed leaf begins anew", func(t *testing.T) {
		w := watch(t, 2*day)
		w.wants("expiring: 2 days")
		w.ca.pair(t, 2, 31*day).write(t, w.dir)
		w.after(time.Minute)
		w.wants("reloaded")
		w.after(day)
		w.wants("expiring: 30 days")
	})
}

// TestHandshakesDuringReplacement has 100 clients dial all the time while the files are replaced, one after the other and
// never atomically. Each must get a pair whose parts belong together.
func TestHandshakesDuringReplacement(t *testing.T) {
	dir, ca := t.TempDir(), newAuthority(t)
	ca.pair(t, 1, day).write(t, dir)
	source, err := certs.Load(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{GetCertificate: source.Certificate}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				tls.Server(c, server).Handshake()
			}()
		}
	}()

	dial := func() (serial int64, err error) {
		c, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "localhost"})
		if err != nil {
			return 0, err
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
	}
	var dials sync.WaitGroup
	answered, done := make(chan struct{}), make(chan struct{})
	for range 100 {
		dials.Go(func() {
			for {
				if _, err := dial(); err != nil {
					t.Errorf("a handshake failed: %v", err)
				}
				select {
				case answered <- struct{}{}:
				case <-done:
					return
				}
			}
		})
	}
	for serial := int64(2); serial < 22; serial++ {
		next := ca.pair(t, serial, day)
		write(t, filepath.Join(dir, "cert.pem"), next.cert)
		source.Check(time.Now()) // certificate new, key old
		for range 20 {
			<-answered
		}
		write(t, filepath.Join(dir, "key.pem"), next.key)
		source.Check(time.Now())
		if got, err := dial(); err != nil || got != serial {
			t.Errorf("leaf %d is in service, want %d; error %v", got, serial, err)
		}
	}
	close(done)
	dials.Wait()
}
