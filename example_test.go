package wssecure_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/filter"
)

func chat(ctx context.Context, c *wssecure.Conn) error {
	buf := make([]byte, 0, 4096)
	for {
		typ, p, err := c.ReadInto(ctx, buf)
		if err != nil {
			return err
		}
		if err := c.Write(ctx, typ, p); err != nil {
			return err
		}
		buf = p
	}
}

const (
	exampleKeys   = "https://id.example.com/jwks.json"
	exampleIssuer = "https://id.example.com"
)

// TLS ends here.
func Example() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
	)
	if err != nil {
		log.Fatal(err) // every configuration mistake at once
	}
	http.Handle("/ws", guard.ConnHandler(chat))
	srv := guard.Harden(&http.Server{Addr: ":443"})
	log.Fatal(srv.ListenAndServeTLS("cert.pem", "key.pem"))
}

// A proxy ends TLS.
func ExampleTrustProxies() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
		wssecure.TrustProxies("X-Forwarded-For", "private"),
	)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
	log.Fatal(guard.Harden(&http.Server{Addr: ":8080"}).ListenAndServe())
}

func ExampleAllowLocalhost() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.AllowLocalhost(), // http://localhost:5173 too, from this machine alone
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
	)
	fmt.Println(guard != nil, err)
	// Output: true <nil>
}

func ExampleNew_mistakes() {
	_, err := wssecure.New(
		wssecure.AllowOrigins("app.example.com"),
		wssecure.LimitConns(wssecure.ByIP(), 0),
	)
	fmt.Println(err)
	// Output:
	// AllowOrigins: "app.example.com" has no scheme; write "https://app.example.com"
	// LimitConns: 0 admits nobody; use 1 or more
	// New: no rule says who may connect; add RequireToken, RequireClientCert or InsecureAllowAnonymous
}

// Any WebSocket library, or a reverse proxy, behind the guard.
func ExampleGuard_Handler() {
	guard, err := wssecure.New(wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")))
	if err != nil {
		log.Fatal(err)
	}
	legacy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := wssecure.IdentityFrom(r.Context())
		log.Print("upgrade of ", id.Subject) // gorilla's Upgrade, gws, gobwas, httputil.ReverseProxy ...
	})
	http.Handle("/ws", guard.Handler(legacy))
}

// A backend in any language behind the guard: it is told who connects in a header that
// no client can write.
func ExampleGuard_Handler_reverseProxy() {
	guard, err := wssecure.New(wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")))
	if err != nil {
		log.Fatal(err)
	}
	backend := &url.URL{Scheme: "http", Host: "127.0.0.1:9000"}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(backend)
		r.SetXForwarded()
		r.Out.Header.Del("X-User") // also of ordinary requests, which have no identity
		if id, ok := wssecure.IdentityFrom(r.In.Context()); ok {
			r.Out.Header.Set("X-User", id.Subject)
		}
	}}
	http.Handle("/backend/", guard.Handler(proxy))
}

// One server, two policies: sessions, limits and bans are shared.
func ExampleGuard_With() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
	)
	if err != nil {
		log.Fatal(err)
	}
	admin, err := guard.With(wssecure.RequireScopes("admin"), wssecure.RequireClaim("/realm_access/roles", "operator"))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
	http.Handle("/admin", admin.ConnHandler(chat))
}

func ExampleGuard_Pages() {
	guard, err := wssecure.New(wssecure.InsecureAllowAnonymous("public ticker"))
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir("public")))
	mux.Handle("/ws", guard.ConnHandler(chat))
	log.Fatal(guard.Serve(context.Background(), &http.Server{Addr: ":8443", Handler: guard.Pages(mux)}))
}

func ExampleAllowOriginSet() {
	origins, err := wssecure.NewOriginSet("https://app.example.com")
	if err != nil {
		log.Fatal(err)
	}
	guard, err := wssecure.New(wssecure.AllowOriginSet(origins), wssecure.InsecureAllowAnonymous("an example"))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", guard.ConnHandler(chat))
	fmt.Println(origins.Replace("https://app.example.com", "https://*.customers.example.com"))
	fmt.Println(origins.Replace("*"))
	// Output:
	// <nil>
	// Replace: "*" matches every site; list the origins, or use InsecureAllowAnyOrigin
}

// Session ids of your own, in a cookie.
func ExampleVerifierFunc() {
	sessions := map[string]string{"8f14e45f": "alice"}
	lookUp := wssecure.VerifierFunc(func(ctx context.Context, id string) (*wssecure.Identity, error) {
		name, ok := sessions[id]
		if !ok {
			return nil, wssecure.ReasonTokenInvalid
		}
		return &wssecure.Identity{Issuer: "our own", Subject: name}, nil
	})
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(lookUp, wssecure.FromCookie("__Host-sid")),
	)
	fmt.Println(guard != nil, err)
	// Output: true <nil>
}

// A page swaps its token for a ticket with fetch, then connects with
// new WebSocket("wss://ws.example.com/ws?ticket=" + ticket).
func ExampleGuard_TicketHandler() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat"), wssecure.FromBearer(), wssecure.FromTicket()),
	)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", guard.ConnHandler(chat))
	mux.Handle("/ticket", guard.TicketHandler())
}

// A backend that knows its user puts a ticket into the page that it serves.
func ExampleGuard_IssueTicket() {
	guard, err := wssecure.New(
		wssecure.AllowOrigins("https://app.example.com"),
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat"), wssecure.FromBearer(), wssecure.FromTicket()),
	)
	if err != nil {
		log.Fatal(err)
	}
	user := &wssecure.Identity{Issuer: exampleIssuer, Subject: "alice", IssuedAt: time.Now()}
	ticket, err := guard.IssueTicket(context.Background(), user, wssecure.TicketFor{Origin: "https://app.example.com", Path: "/ws"})
	fmt.Println(len(ticket), err)
	// Output: 43 <nil>
}

func ExampleRequireCheck() {
	_, err := wssecure.New(
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
		wssecure.RequireCheck("tenant", func(ctx context.Context, h *wssecure.Handshake) error {
			if h.Identity.Claims["tenant"] != h.Request.PathValue("tenant") {
				return wssecure.ReasonForbidden
			}
			return nil
		}),
	)
	fmt.Println(err)
	// Output: <nil>
}

func ExampleRequireClientCert() {
	pem, err := os.ReadFile("clients-ca.pem")
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	guard, err := wssecure.New(wssecure.RequireClientCert(pool), wssecure.SetCertificate("cert.pem", "key.pem"))
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Addr: ":443", Handler: guard.ConnHandler(chat)}
	log.Fatal(guard.Serve(context.Background(), srv))
}

func ExampleLimitHandshakes() {
	_, err := wssecure.New(
		wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")),
		wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.PerMinute(120)),
		wssecure.LimitHandshakes(wssecure.BySubject(), wssecure.PerMinute(30)),
		wssecure.LimitFailures(wssecure.ByIP(), wssecure.PerMinute(10), 5*time.Minute),
		wssecure.LimitConns(wssecure.BySubject(), 8),
		wssecure.LimitSession(wssecure.Limits{MessageSize: 16 << 10, Messages: wssecure.PerSecond(20)}),
	)
	fmt.Println(err)
	// Output: <nil>
}

func ExampleSetCSP() {
	_, err := wssecure.New(
		wssecure.InsecureAllowAnonymous("an example"),
		wssecure.SetPublicURL("https://ws.example.com"),
		wssecure.SetHSTS("max-age=63072000; includeSubDomains"),
		wssecure.SetCSP("default-src 'self'; connect-src 'self' wss://ws.example.com; frame-ancestors 'none'"),
		wssecure.SetHeader("Permissions-Policy", "camera=(), microphone=()"),
	)
	fmt.Println(err)
	// Output: <nil>
}

func ExampleOnMessage() {
	_, err := wssecure.New(
		wssecure.InsecureAllowAnonymous("an example"),
		wssecure.AllowMessageTypes(wssecure.MessageText),
		wssecure.OnMessage(filter.JSON(16, 64)),
		wssecure.OnSend(filter.EscapeHTML()),
	)
	fmt.Println(err)
	// Output: <nil>
}

func ExampleOnEvent() {
	_, err := wssecure.New(
		wssecure.InsecureAllowAnonymous("an example"),
		wssecure.SetLogger(slog.New(slog.DiscardHandler)),
		wssecure.OnEvent(func(e wssecure.Event) {
			if e.Kind == wssecure.EventRefused && e.Reason == wssecure.ReasonOrigin {
				log.Print("refused a page of ", e.Origin)
			}
		}),
	)
	fmt.Println(err)
	// Output: <nil>
}

func ExampleReadJSON() {
	type order struct {
		Item  string `json:"item"`
		Count int    `json:"count"`
	}
	orders := func(ctx context.Context, c *wssecure.Conn) error {
		for {
			o, err := wssecure.ReadJSON[order](ctx, c)
			if err != nil {
				return err // the session has ended with 1008 when the order was not strict JSON
			}
			if err := wssecure.WriteJSON(ctx, c, map[string]any{"ordered": o.Count}); err != nil {
				return err
			}
		}
	}
	guard, err := wssecure.New(wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "orders")))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/orders", guard.ConnHandler(orders))
}

func ExampleGuard_Revoke() {
	guard, err := wssecure.New(wssecure.RequireToken(wssecure.JWKS(exampleKeys, exampleIssuer, "chat")))
	if err != nil {
		log.Fatal(err)
	}
	closed, err := guard.Revoke(context.Background(), wssecure.Subject(exampleIssuer, "alice"), "left the company")
	fmt.Println(closed, err)
	// Output: 0 <nil>
}

func ExampleReason() {
	err := fmt.Errorf("orders: %w", &wssecure.Rejection{Reason: wssecure.ReasonScope, Err: errors.New("needs orders:write")})
	fmt.Println(errors.Is(err, wssecure.ReasonScope), wssecure.ReasonScope.Status(), wssecure.ReasonScope.CloseCode())
	// Output: true 403 StatusCode(3003)
}

func ExampleCookie() {
	fmt.Println(wssecure.Cookie("sid", "8f14e45f", time.Hour))
	// Output: __Host-sid=8f14e45f; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Strict
}
