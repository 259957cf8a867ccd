package idp

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/program"
)

func TestMain(m *testing.M) {
	program.Need("The tests with an identity provider", "WSS_REQUIRE_IDP", program.Missing([]string{"node"}, "node_modules/oidc-provider"))
	os.Exit(m.Run())
}

// patience bounds every wait for the provider, on a machine however busy.
const patience = 2 * time.Minute

// provider is the provider's process, and the server of ours that it sends its logout tokens to.
type provider struct {
	Issuer        string
	Version, Node string

	client  *http.Client // trusts the provider; keeps no cookies
	backURL string       // where it sends logout tokens
	logout  atomic.Pointer[http.Handler]
	heard   chan logoutCall
}

// logoutCall is one logout token as it was delivered, with what the guard answered.
type logoutCall struct {
	token  string
	status int
}

// register is what the provider is told of its clients.
type register struct {
	ID            string   `json:"client_id"`
	Secret        string   `json:"client_secret,omitempty"`
	Grants        []string `json:"grant_types"`
	ResponseTypes []string `json:"response_types"`
	RedirectURIs  []string `json:"redirect_uris"`
	LogoutURI     string   `json:"backchannel_logout_uri,omitempty"`
	LogoutSession bool     `json:"backchannel_logout_session_required,omitempty"`
}

// The clients: a service, the API itself that asks about tokens, and two web applications, of which one wants to know which
// login has ended.
const (
	service     = "worker"
	api         = "chat-api"
	web         = "web"
	webSessions = "web-sessions"
	redirectURI = "https://app.example.com/callback"

	// secret is every client's. It has what HTTP Basic wants form-encoded (RFC 6749 section 2.3.1).
	secret = "s3cret with 100%+/&:="
)

func clients(logoutURI string) []register {
	signIn := func(id string, sid bool) register {
		return register{id, secret, []string{"authorization_code"}, []string{"code"}, []string{redirectURI}, logoutURI, sid}
	}
	ownName := func(id string) register {
		return register{ID: id, Secret: secret, Grants: []string{"client_credentials"}, ResponseTypes: []string{}, RedirectURIs: []string{}}
	}
	return []register{ownName(service), ownName(api), signIn(web, false), signIn(webSessions, true)}
}

// startProvider starts the provider; it ends with the test. Provider and back channel share a certificate.
func startProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{heard: make(chan logoutCall, 16)}
	back := httptest.NewTLSServer(http.HandlerFunc(p.takeLogout))
	t.Cleanup(back.Close)
	p.backURL = back.URL
	p.client = &http.Client{Transport: back.Client().Transport, Timeout: patience}
	cert, key := pair(t, back.TLS.Certificates[0])
	config, err := json.Marshal(map[string]any{"cert": cert, "key": key, "clients": clients(back.URL)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile("package-lock.json"); err != nil { // go test then runs again when it changes
		t.Fatal(err)
	}
	script := program.StartScript(t, ".", "node", "provider.mjs")
	if _, err := script.In.Write(append(config, '\n')); err != nil {
		t.Fatalf("the provider does not listen: %v", err)
	}
	script.Line(p)
	return p
}

// pair is the certificate and its key in PEM.
func pair(t *testing.T, c tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// takeLogout lets the guard judge what comes over the back channel, and notes both.
func (p *provider) takeLogout(w http.ResponseWriter, r *http.Request) {
	handler := p.logout.Load()
	if handler == nil {
		http.Error(w, "no guard yet", http.StatusServiceUnavailable)
		return
	}
	var body bytes.Buffer
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r.Body, &body), r.Body}
	answer := &statusWriter{ResponseWriter: w}
	(*handler).ServeHTTP(answer, r)
	form, _ := url.ParseQuery(body.String())
	p.heard <- logoutCall{token: form.Get("logout_token"), status: answer.status}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// delivered is the next logout token that the provider has sent.
func (p *provider) delivered(t *testing.T) logoutCall {
	t.Helper()
	select {
	case call := <-p.heard:
		return call
	case <-time.After(patience):
		t.Fatal("the provider sent no logout token")
		panic("unreachable")
	}
}
