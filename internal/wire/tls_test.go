package wire_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

// TestTLS: crypto/tls waits five seconds to say good-bye to a peer that does
// not read. A session does not.
func TestTLS(t *testing.T) {
	certificate := selfSigned(t)
	for _, row := range []struct {
		id  string
		end func(c *wire.Conn)
		max time.Duration
	}{
		{"W-32 finish", func(c *wire.Conn) { c.Finish(1001, "") }, 1250 * time.Millisecond},
		{"W-32 finish without a close frame", func(c *wire.Conn) { c.Finish(0, "") }, 250 * time.Millisecond},
		{"W-32 cut", (*wire.Conn).Cut, 0},
	} {
		t.Run(row.id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				below, peer := net.Pipe()
				defer peer.Close()
				server := tls.Server(below, &tls.Config{Certificates: []tls.Certificate{certificate}, SessionTicketsDisabled: true})
				go tls.Client(peer, &tls.Config{InsecureSkipVerify: true}).Handshake()
				if err := server.Handshake(); err != nil {
					t.Fatal(err)
				}
				s := newSession(server, nil, open(), nil)
				s.conn.Start()
				start := time.Now()
				row.end(s.conn)
				<-s.done
				if took := time.Since(start); took > row.max {
					t.Errorf("closed after %v, want at most %v", took, row.max)
				}
			})
		})
	}
	t.Run("W-32 a peer that answers gets the close frame and a close_notify", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			below, far := net.Pipe()
			server := tls.Server(below, &tls.Config{Certificates: []tls.Certificate{certificate}})
			peer := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
			got := make(chan error, 1)
			go func() {
				first, _ := readFrame(t, peer)
				if first != fin|opClose {
					t.Errorf("frame %x", first)
				}
				peer.Write(masked(fin|opClose, nil))
				_, err := peer.Read(make([]byte, 1))
				got <- err
			}()
			if err := server.Handshake(); err != nil {
				t.Fatal(err)
			}
			s := newSession(server, nil, open(), nil)
			end := library(s)
			synctest.Wait()
			s.conn.Finish(1001, "")
			finishedAfter(t, s, 0)
			wantEnd(t, <-end, wire.AppClosed)
			if err := <-got; err != io.EOF {
				t.Errorf("the peer's stream ended with %v", err)
			}
		})
	})
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
