package main

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/wssecure/wssecure"
)

const (
	origin = "https://app.example.com"
	cookie = "__Host-sid" // the prefix keeps sibling domains and plaintext pages from writing it

	// Members of a session.
	memberUser   = "user"
	memberHandle = "handle" // names the session where its token, which is a credential, must not appear
)

type app struct {
	sessions *scs.SessionManager
	isUser   func(user, password string) bool
}

func newApp(isUser func(user, password string) bool) *app {
	s := scs.New()
	s.Lifetime = 12 * time.Hour
	s.HashTokenInStore = true
	s.Cookie.Name = cookie
	s.Cookie.Secure = true // with Path "/" and no Domain what __Host- demands
	s.Cookie.SameSite = http.SameSiteStrictMode
	return &app{sessions: s, isUser: isUser}
}

func (a *app) options() []wssecure.Option {
	return []wssecure.Option{
		// Browsers send the cookie whatever page opens the socket: this line keeps other pages out.
		wssecure.AllowOrigins(origin),
		wssecure.RequireToken(wssecure.VerifierFunc(a.verify), wssecure.FromCookie(cookie)),
	}
}

// verify finds the user of a session token. A store that fails is no verdict on the token: that error is answered with 503.
func (a *app) verify(ctx context.Context, token string) (*wssecure.Identity, error) {
	ctx, err := a.sessions.Load(ctx, token)
	if err != nil {
		return nil, err
	}
	user := a.sessions.GetString(ctx, memberUser)
	if user == "" {
		return nil, wssecure.ReasonTokenInvalid
	}
	return &wssecure.Identity{
		Issuer: origin, Subject: user, TokenID: a.sessions.GetString(ctx, memberHandle),
		Expiry: a.sessions.Deadline(ctx), // the socket does not outlive the session
	}, nil
}

func (a *app) routes(g *wssecure.Guard) http.Handler {
	forms := http.NewServeMux()
	forms.HandleFunc("POST /login", a.login)
	forms.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) { a.logout(g, w, r) })

	mux := http.NewServeMux()
	// Handshakes beside the session middleware, not inside: it would write a cookie into the answer.
	mux.Handle("/ws", g.ConnHandler(greet))
	mux.Handle("/", g.Pages(http.NewCrossOriginProtection().Handler(a.sessions.LoadAndSave(forms))))
	return mux
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !a.isUser(user, r.PostFormValue("password")) {
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	// A token from before the login may be one that somebody else planted.
	if err := a.sessions.RenewToken(r.Context()); err != nil {
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	a.sessions.Put(r.Context(), memberUser, user)
	a.sessions.Put(r.Context(), memberHandle, rand.Text())
	w.WriteHeader(http.StatusNoContent)
}

// logout ends the session first, so that it opens no further socket, then the sockets that it has.
func (a *app) logout(g *wssecure.Guard, w http.ResponseWriter, r *http.Request) {
	handle := a.sessions.GetString(r.Context(), memberHandle)
	if err := a.sessions.Destroy(r.Context()); err != nil {
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	if handle != "" {
		if _, err := g.Revoke(r.Context(), wssecure.TokenID(origin, handle), "logout"); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// greet says hello, then waits for the end.
func greet(ctx context.Context, c *wssecure.Conn) error {
	if err := c.Write(ctx, wssecure.MessageText, []byte("hello "+c.Identity().Subject)); err != nil {
		return err
	}
	for {
		if _, _, err := c.Read(ctx); err != nil {
			return err
		}
	}
}
