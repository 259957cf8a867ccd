package wssecuretest

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// IntrospectionPath is where Handler answers questions about opaque tokens (RFC 7662).
const IntrospectionPath = "/introspect"

// ClientID and ClientSecret are what the introspection endpoint asks its caller for. Both have characters that HTTP Basic
// wants form-encoded (RFC 6749 2.3.1).
const (
	ClientID     = "chat:server"
	ClientSecret = "canary-secret %+/\u00e9"
)

// Serve serves Handler over TLS on loopback until the test ends, and makes that server's address the issuer's URL. The
// client it returns trusts the server; give it to wssecure.HTTPClient.
func (i *Issuer) Serve(tb testing.TB) *http.Client {
	tb.Helper()
	s := httptest.NewUnstartedServer(i.Handler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{processAuthority().leaf}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	i.URL = s.URL
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: processAuthority().pool}}}
	tb.Cleanup(func() {
		client.CloseIdleConnections()
		s.CloseClientConnections()
		s.Close()
	})
	return client
}

// Opaque is a token without a readable word that introspection calls active, with the claims of a good token for sub. Each
// map of more replaces or adds claims; Absent removes one.
func (i *Issuer) Opaque(sub string, more ...map[string]any) string {
	token := rand.Text() + rand.Text()
	i.SetActive(token, i.Claims(sub, more...))
	return token
}

// SetActive makes introspection call token active, with these claims beside; nil makes it inactive, as every token is that
// it was not told of.
func (i *Issuer) SetActive(token string, claims map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.active == nil {
		i.active = map[string]map[string]any{}
	}
	i.active[token] = maps.Clone(claims)
}

// SetAnswer makes introspection answer body about every token; nil ends that.
func (i *Issuer) SetAnswer(body []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = bytes.Clone(body)
}

// Introspections counts the requests for introspection so far, failed ones too.
func (i *Issuer) Introspections() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

func (i *Issuer) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	if !isClient(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="introspection"`)
		http.Error(w, "who asks?", http.StatusUnauthorized)
		return
	}
	token := r.PostFormValue("token")
	i.mu.Lock()
	answer, claims := i.answer, maps.Clone(i.active[token])
	i.mu.Unlock()
	switch {
	case answer != nil:
	case claims == nil:
		answer = []byte(`{"active":false}`)
	default:
		if _, is := claims["active"]; !is {
			claims["active"] = true
		}
		answer = encode(claims)
	}
	serveJSON(w, answer)
}

func isClient(r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	id, err := url.QueryUnescape(user)
	secret, err2 := url.QueryUnescape(password)
	return err == nil && err2 == nil && id == ClientID && secret == ClientSecret
}
