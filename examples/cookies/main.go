// Command cookies is a server whose users log in with a form and get a session cookie of alexedwards/scs; the same cookie
// admits their WebSocket.
//
//	DEMO_PASSWORD=... go run . cert.pem key.pem
//
// serves https://app.example.com on port 443. POST /login opens a session, POST /logout ends it and every socket it opened.
package main

import (
	"context"
	"crypto/subtle"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/wssecure/wssecure"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: cookies cert.pem key.pem")
	}
	secret := os.Getenv("DEMO_PASSWORD")
	if secret == "" {
		log.Fatal("set DEMO_PASSWORD: every user of this demonstration has it")
	}
	a := newApp(func(user, password string) bool {
		return user != "" && subtle.ConstantTimeCompare([]byte(password), []byte(secret)) == 1
	})
	guard, err := wssecure.New(append(a.options(), wssecure.SetCertificate(os.Args[1], os.Args[2]))...)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := guard.Serve(ctx, &http.Server{Addr: ":443", Handler: a.routes(guard)}); err != nil {
		log.Fatal(err)
	}
}
