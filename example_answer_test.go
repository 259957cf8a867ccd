package wssecure_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
)

// This file is what the Examples share: a browser that knocks, and an issuer of tokens.

// visit sends the handshake of a page of https://app.example.com to wss://ws.example.com/ws, and gives the answer. Lines are
// further header fields; one without a value takes the field away.
func visit(guard *wssecure.Guard, lines ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, "https://ws.example.com/ws", nil)
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	r.Header = memnet.Request("").Header
	exampleNonces.Set(r)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if r.Header.Del(name); value != "" {
			r.Header.Set(name, value)
		}
	}
	return present(guard, r)
}

var exampleNonces memnet.Nonces

// present is visit for a request of one's own.
func present(guard *wssecure.Guard, r *http.Request) *http.Response {
	conn := &recordingConn{}
	w := &recordingWriter{Writer: memnet.NewWriter(conn)}
	guard.ConnHandler(chat).ServeHTTP(w, r)
	if w.Status != 0 {
		return &http.Response{StatusCode: w.Status, Header: w.Header(), Body: io.NopCloser(&w.body)}
	}
	resp, err := http.ReadResponse(bufio.NewReader(&conn.head), r)
	if err != nil {
		return &http.Response{Body: http.NoBody}
	}
	return resp
}

// verdict is the status of an answer, and the reason of a refusal.
func verdict(resp *http.Response) string {
	body, _ := io.ReadAll(resp.Body)
	var problem struct{ Type string }
	if json.Unmarshal(body, &problem) != nil {
		return fmt.Sprint(resp.StatusCode)
	}
	_, reason, _ := strings.Cut(problem.Type, "#")
	return fmt.Sprint(resp.StatusCode, " ", reason)
}

type recordingWriter struct {
	*memnet.Writer
	body bytes.Buffer
}

func (w *recordingWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

// recordingConn keeps what is written before the handshake is answered whole.
type recordingConn struct {
	memnet.Conn
	head bytes.Buffer
}

func (c *recordingConn) Write(p []byte) (int, error) {
	if !bytes.Contains(c.head.Bytes(), []byte("\r\n\r\n")) {
		c.head.Write(p)
	}
	return len(p), nil
}

// exampleProvider signs tokens with EdDSA.
type exampleProvider struct {
	private ed25519.PrivateKey
	keys    []byte // as a JWK Set
}

func newExampleProvider() *exampleProvider {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	keys := fmt.Appendf(nil, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"%s"}]}`, base64.RawURLEncoding.EncodeToString(public))
	return &exampleProvider{private, keys}
}

// token is one of alice's for the audience chat that is good for an hour, with claims changed or added.
func (p *exampleProvider) token(changes map[string]any) string {
	return jws(map[string]any{"alg": "EdDSA", "kid": "1"}, changes, func(text string) []byte { return ed25519.Sign(p.private, []byte(text)) })
}

func bearer256(secret []byte) string {
	return "Authorization: Bearer " + jws(map[string]any{"alg": "HS256"}, nil, func(text string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	})
}

func jws(header, changes map[string]any, sign func(text string) []byte) string {
	now := time.Now().Unix()
	claims := map[string]any{"iss": exampleIssuer, "aud": "chat", "sub": "alice", "iat": now, "exp": now + 3600}
	maps.Copy(claims, changes)
	text := segment(header) + "." + segment(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign(text))
}

func segment(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}
