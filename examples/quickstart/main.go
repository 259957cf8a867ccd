// Command quickstart is a chat behind a wssecure guard, with everything it needs in one process: certificate authority,
// token issuer, page, live security events, and buttons that attack it.
//
//	go run ./examples/quickstart
//
// opens https://localhost:8443. No network, no file, no set-up; Ctrl-C leaves nothing behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wssecure/wssecure"
)

// newGuard is the part to copy: who may connect, from where, and how much each may send.
func newGuard(d *demo) (*wssecure.Guard, error) {
	return wssecure.New(
		wssecure.AllowOrigins(d.origins()...),
		wssecure.AllowSubprotocols("chat"),
		wssecure.AllowMessageTypes(wssecure.MessageText),
		wssecure.RequireToken(wssecure.StaticKeys(d.issuer.jwks(), d.issuer.url, audience)),
		// Small limits, so that the attacks need not be big. CloseOnRate makes a flood visible: without it the guard only
		// slows the sender down.
		wssecure.LimitSession(wssecure.Limits{
			MessageSize: 4 << 10,
			Messages:    wssecure.Rate{N: 5, Per: time.Second, Burst: 10},
			CloseOnRate: true,
		}),
		// These are the defaults. Naming the rule makes it hold for loopback addresses too, which are otherwise never banned.
		wssecure.LimitFailures(wssecure.ByIP(), wssecure.PerMinute(20), time.Minute),
		wssecure.OnMessage(tidy),
		wssecure.OnEvent(d.feed.publish),
		wssecure.SetLogger(errorsOnly()), // the page shows the rest
	)
}

// handler puts the routes behind the guard: two kinds of socket, and the pages around them.
func (d *demo) handler() (http.Handler, error) {
	events, err := d.guard.With(wssecure.RequireScopes(scopeEvents))
	if err != nil {
		return nil, err
	}
	mux, err := d.pages()
	if err != nil {
		return nil, err
	}
	mux.Handle("/ws", d.guard.ConnHandler(d.room.serve))
	mux.Handle("/events", events.ConnHandler(d.feed.serve))
	return d.guard.Pages(http.NewCrossOriginProtection().Handler(mux)), nil
}

// serve runs the demo on addr until ctx ends; ready is called once it accepts connections.
func serve(ctx context.Context, addr string, ready func(*demo)) error {
	d, err := newDemo(addr)
	if err != nil {
		return err
	}
	srv, err := d.server()
	if err != nil {
		return err
	}
	srv.BaseContext = d.whenListening(ready)
	return explainPortTaken(d.guard.Serve(ctx, srv), addr)
}

func main() {
	addr := flag.String("addr", "localhost:8443", "loopback `address` to listen on; port 0 picks a free one")
	connect := flag.String("connect", "", "be a chat client instead: the wss:// `URL` to talk to")
	token := flag.String("token", "", "with -connect: the access `token` to show")
	pin := flag.String("pin", "", "with -connect: SHA-256 `fingerprint` of the server's certificate authority")
	flag.Parse()
	log.SetFlags(0)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *connect != "" {
		exitOn(talk(ctx, *connect, *token, *pin, os.Stdin, os.Stdout))
		return
	}
	context.AfterFunc(ctx, func() {
		stop() // from here on Ctrl-C has its usual meaning
		fmt.Println("\nDraining: after 3 s for load balancers to notice, open sockets are told 1012 one by one, over 16 s. Ctrl-C again stops at once.")
	})
	exitOn(serve(ctx, *addr, func(d *demo) { d.greet(os.Stdout) }))
}

func errorsOnly() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

func exitOn(err error) {
	if err != nil {
		log.Fatal("quickstart: ", err)
	}
}
