package benchmarks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"syscall"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/wssecuretest"
)

const testIssuer = "https://id.example.com"

// idleModes are ways to hold a socket that says nothing. They are given the keys
// of the issuer of tokens.
var idleModes = map[string]func(jwks []byte, conns int) (http.Handler, error){
	"coder in the handler":   inHandler(acceptCoder),
	"coder on its own":       onItsOwn(acceptCoder),
	"gorilla in the handler": inHandler(acceptGorilla),
	"gws on its own":         onItsOwn(acceptGws),
	"gobwas on its own":      onItsOwn(acceptGobwas),
	"guard, anonymous": func(_ []byte, conns int) (http.Handler, error) {
		return idleGuard(conns, wssecure.InsecureAllowAnonymous("measured without identities"))
	},
	"guard, a token each": func(jwks []byte, conns int) (http.Handler, error) {
		return idleGuard(conns, wssecure.RequireToken(wssecure.StaticKeys(jwks, testIssuer, wssecuretest.Audience)))
	},
}

type accepter func(w http.ResponseWriter, r *http.Request) (socket, error)

func inHandler(accept accepter) func([]byte, int) (http.Handler, error) {
	return func([]byte, int) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, err := accept(w, r); err == nil {
				_ = s.idle()
				_ = s.close()
			}
		}), nil
	}
}

func onItsOwn(accept accepter) func([]byte, int) (http.Handler, error) {
	return func([]byte, int) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, err := accept(w, r); err == nil {
				go func() {
					_ = s.idle()
					_ = s.close()
				}()
			}
		}), nil
	}
}

// idleGuard is all default, but for what would refuse so many of one address.
func idleGuard(conns int, who wssecure.Option) (http.Handler, error) {
	g, err := wssecure.New(who,
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.InsecureAllowPlaintext("measured on loopback"),
		wssecure.LimitHandshakes(wssecure.ByIP(), lots),
		wssecure.LimitConns(wssecure.ByIP(), conns),
		wssecure.SetLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	return g.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
		_, _, err := c.Read(ctx)
		return err
	}), nil
}

type idleServerArguments struct {
	Mode  string
	Conns int
	JWKS  []byte
}

// memory is what a process holds, in bytes.
type memory struct {
	RSS, Heap, Stack, Goroutines int
}

// runIdleServer says where it listens, then, when asked to, what it holds.
func runIdleServer(arguments []byte) error {
	var a idleServerArguments
	if err := parse(arguments, &a); err != nil {
		return err
	}
	if err := wantDescriptors(a.Conns); err != nil {
		return err
	}
	mode, ok := idleModes[a.Mode]
	if !ok {
		return fmt.Errorf("no mode is called %q", a.Mode)
	}
	handler, err := mode(a.JWKS, a.Conns)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go http.Serve(l, handler)
	if err := answer(l.Addr().String()); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		m, err := held()
		if err != nil {
			return err
		}
		if err := answer(m); err != nil {
			return err
		}
	}
	return nil
}

// heapVariable names a file for the server's heap profile. It is worth the more
// with GODEBUG=memprofilerate=1.
const heapVariable = "WSS_BENCHMARKS_HEAP"

func held() (memory, error) {
	// Twice: what finalizers and pools let go of is freed by the second.
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	if name := os.Getenv(heapVariable); name != "" {
		p, err := os.Create(name)
		if err != nil {
			return memory{}, err
		}
		defer p.Close()
		if err := pprof.WriteHeapProfile(p); err != nil {
			return memory{}, err
		}
	}
	var pages, resident int
	f, err := os.Open("/proc/self/statm")
	if err != nil {
		return memory{}, err
	}
	defer f.Close()
	if _, err := fmt.Fscan(f, &pages, &resident); err != nil {
		return memory{}, err
	}
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return memory{RSS: resident * os.Getpagesize(), Heap: int(s.HeapAlloc), Stack: int(s.StackInuse), Goroutines: runtime.NumGoroutine()}, nil
}

// wantDescriptors fails when the process may not have that many connections. Go
// itself has raised the soft limit.
func wantDescriptors(conns int) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if need := uint64(conns + 100); l.Cur < need {
		return fmt.Errorf("%d connections need %d descriptors and %d are allowed: raise the limit (ulimit -n)", conns, need, l.Cur)
	}
	return nil
}

type idlersArguments struct {
	To    string
	Conns int
}

// runIdlers reads a list of tokens, opens sockets with them in turn, says how
// many it has opened, and holds them.
func runIdlers(arguments []byte) error {
	var a idlersArguments
	if err := parse(arguments, &a); err != nil {
		return err
	}
	if err := wantDescriptors(a.Conns); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	tokens := []string{""}
	if err := parse(line, &tokens); err != nil {
		return err
	}
	const diallers = 16
	failed := make([]error, diallers)
	open := make([][]net.Conn, diallers)
	var all sync.WaitGroup
	for d := range diallers {
		all.Go(func() {
			keys := memnet.Nonces{Last: uint64(d) << 32}
			for i := d; i < a.Conns && failed[d] == nil; i += diallers {
				var c net.Conn
				c, failed[d] = dial("", a.To, tokens[i%len(tokens)], &keys)
				open[d] = append(open[d], c)
			}
		})
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if err := answer(a.Conns); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, in)
	runtime.KeepAlive(open)
	return nil
}
