package wssecuretest

import (
	"bytes"
	"io"
	"net/http"
)

// Fault is one way in which an issuer's server fails.
type Fault int

// Faults of an Issuer's Handler.
const (
	NoFault  Fault = iota
	Down           // 500 with a text
	Hang           // no answer until the client gives up or the test ends
	HTML           // 200 with an error page
	Huge           // 200 with 4 MiB of well-formed keys
	Redirect       // 302 to /moved, which has the right keys
	EmptySet       // 200 with no key
)

// KeysPath is where Handler serves the JWKS.
const KeysPath = "/jwks.json"

// Handler serves the JWKS at /jwks.json and the OpenID Connect metadata at /.well-known/openid-configuration, with an
// issuer and a jwks_uri that are right when URL is where the handler is served, and introspection at /introspect. Faults
// concern all three.
func (i *Issuer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+KeysPath, i.faulty(i.serveKeys))
	mux.Handle("GET /.well-known/openid-configuration", i.faulty(i.serveMetadata))
	mux.Handle("POST "+IntrospectionPath, i.faulty(i.serveIntrospection))
	mux.HandleFunc("GET /moved", i.serveKeys)
	return mux
}

// SetFault makes the handler fail from now on; NoFault mends it.
func (i *Issuer) SetFault(f Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fault = f
}

// Fetches counts the requests for the JWKS so far, failed ones too.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

func (i *Issuer) faulty(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		switch r.URL.Path {
		case KeysPath:
			i.fetches++
		case IntrospectionPath:
			i.asked++
		}
		fault := i.fault
		i.mu.Unlock()
		switch fault {
		case Down:
			http.Error(w, "maintenance", http.StatusInternalServerError)
		case Hang:
			select {
			case <-r.Context().Done():
			case <-i.done:
			}
		case HTML:
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<!doctype html><title>Sign in</title>")
		case Huge:
			i.serveHuge(w)
		case Redirect:
			http.Redirect(w, r, "/moved", http.StatusFound)
		case EmptySet:
			serveJSON(w, []byte(`{"keys":[]}`))
		default:
			next(w, r)
		}
	})
}

func (i *Issuer) serveKeys(w http.ResponseWriter, _ *http.Request) { serveJSON(w, i.JWKS()) }

func (i *Issuer) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	serveJSON(w, encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + KeysPath}))
}

// serveHuge hides the good keys behind blanks: a reader without a bound would take them.
func (i *Issuer) serveHuge(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	blanks := bytes.Repeat([]byte{' '}, 64<<10)
	for range 64 {
		if _, err := w.Write(blanks); err != nil {
			return
		}
	}
	w.Write(i.JWKS())
}

func serveJSON(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}
