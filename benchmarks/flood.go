package benchmarks

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
)

// This file is the parties of a flood, each a process of its own: who floods, the
// honest ones, and the server between them.

// listenTLS serves what a guard protects, behind its Listener or not. The guard
// is all default, but for the options.
func listenTLS(behindListener bool, more ...wssecure.Option) (*wssecure.Guard, *http.Server, string, error) {
	cert, err := newCertificate()
	if err != nil {
		return nil, nil, "", err
	}
	g, err := wssecure.New(append(more,
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowAnonymous("a benchmark of addresses"),
		wssecure.SetLogger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		return nil, nil, "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, "", err
	}
	to := l.Addr().String()
	if behindListener {
		l = g.Listener(l)
	}
	srv := g.Harden(&http.Server{
		Handler:   g.ConnHandler(func(context.Context, *wssecure.Conn) error { return nil }),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	})
	go srv.ServeTLS(l, "", "")
	return g, srv, to, nil
}

// runFloodServer says where it listens, and ends with its standard input.
func runFloodServer(arguments []byte) error {
	var behindListener bool
	if err := parse(arguments, &behindListener); err != nil {
		return err
	}
	_, _, to, err := listenTLS(behindListener)
	if err != nil {
		return err
	}
	if err := answer(to); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// outcomes are how connections ended: before TLS, in its handshake, with an HTTP
// answer that is no 101, or with one.
type outcomes struct{ Reset, TLS, Refused, Admitted int }

// runKnocker makes as many connections over TLS as it is asked to, four at a
// time, and says how they ended.
func runKnocker(arguments []byte) error {
	var to string
	if err := parse(arguments, &to); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		var seen [4]outcomes
		var all sync.WaitGroup
		for i := range seen {
			all.Go(func() {
				keys := &memnet.Nonces{Last: uint64(i) << 32}
				for range (n + i) / len(seen) {
					knock("127.0.0.1", to, keys, &seen[i])
				}
			})
		}
		all.Wait()
		if err := answer(sum(seen[:])); err != nil {
			return err
		}
	}
	return nil
}

func sum(all []outcomes) (o outcomes) {
	for _, x := range all {
		o.Reset, o.TLS, o.Refused, o.Admitted = o.Reset+x.Reset, o.TLS+x.TLS, o.Refused+x.Refused, o.Admitted+x.Admitted
	}
	return o
}

func knock(from, to string, keys *memnet.Nonces, seen *outcomes) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	raw, err := d.Dial("tcp", to)
	if err != nil {
		seen.Reset++ // quick kernels tell while they connect
		return
	}
	defer raw.Close()
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err := c.Handshake(); err != nil {
		var alert *net.OpError
		if errors.As(err, &alert) && alert.Op == "remote error" {
			seen.TLS++
		} else {
			seen.Reset++
		}
		return
	}
	if err := upgrade(c, "", keys); err != nil {
		seen.Refused++
		return
	}
	seen.Admitted++
}

// floodArguments are what a flooding process is told. One that spins does as
// much work and bothers nobody.
type floodArguments struct {
	To   string
	Spin bool
}

// runFlooder floods from 127.0.0.1 for as long as it is told to, and says how
// many connections that were. It has one thread, sends one ClientHello that it
// once made, and leaves when the server has answered: it pays for no cryptography.
func runFlooder(arguments []byte) error {
	var a floodArguments
	if err := parse(arguments, &a); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	hello, err := clientHello()
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		d, err := time.ParseDuration(lines.Text())
		if err != nil {
			return err
		}
		var n atomic.Int64
		end := time.Now().Add(d)
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for time.Now().Before(end) {
					if !a.Spin && greet(a.To, hello) == nil {
						n.Add(1)
					}
				}
			})
		}
		all.Wait()
		if err := answer(n.Load()); err != nil {
			return err
		}
	}
	return nil
}

func greet(to string, hello []byte) error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}
	c, err := d.Dial("tcp", to)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetLinger(0) // else the flooder runs out of ports
	_, _ = c.Write(hello)
	_, _ = c.Read(make([]byte, 1))
	return nil
}

// clientHello is the first flight of a client.
func clientHello() ([]byte, error) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, &tls.Config{InsecureSkipVerify: true}).Handshake()
	}()
	buf := make([]byte, 4096)
	n, err := ours.Read(buf)
	return buf[:n], err
}

// honest is what the honest ones have seen.
type honest struct {
	Rate float64 // admissions a second
	P99  float64 // ms
	Bad  int     // not admitted
}

// runHonest opens sockets from 127.0.0.2 to .251 in turn, each with a full
// handshake and not before the one before has ended, four at a time.
func runHonest(arguments []byte) error {
	var to string
	if err := parse(arguments, &to); err != nil {
		return err
	}
	var turn atomic.Int64
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		d, err := time.ParseDuration(lines.Text())
		if err != nil {
			return err
		}
		const loops = 4
		seen, took := make([]outcomes, loops), make([][]float64, loops)
		start := time.Now()
		var all sync.WaitGroup
		for i := range loops {
			all.Go(func() {
				keys := &memnet.Nonces{Last: uint64(time.Now().UnixNano())<<8 | uint64(i)}
				for time.Since(start) < d {
					began := time.Now()
					knock(fmt.Sprintf("127.0.0.%d", 2+turn.Add(1)%250), to, keys, &seen[i])
					took[i] = append(took[i], time.Since(began).Seconds()*1000)
				}
			})
		}
		all.Wait()
		s := sum(seen)
		if err := answer(honest{float64(s.Admitted) / time.Since(start).Seconds(), quantile(slices.Concat(took...), 0.99), s.Reset + s.TLS + s.Refused}); err != nil {
			return err
		}
	}
	return nil
}
