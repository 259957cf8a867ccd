package main

import (
	"bytes"
	"crypto/tls"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"time"

	"github.com/wssecure/wssecure"
)

//go:embed page
var page embed.FS

const sessionTTL = 10 * time.Minute

// pages is everything that is no socket. The guard's Pages puts the strict headers on it, CrossOriginProtection lets only
// the page itself post to it.
func (d *demo) pages() (*http.ServeMux, error) {
	index, err := d.index()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store") // the next run has another certificate, port, policy
		w.Write(index)
	})
	for _, name := range []string{"app.css", "app.js", "reconnect.js", "icon.svg"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			http.ServeFileFS(w, r, page, "page/"+name)
		})
	}
	mux.HandleFunc("GET /session", d.session)
	mux.HandleFunc("GET /ca.pem", d.caFile)
	mux.HandleFunc("POST /attack", d.attack)
	mux.HandleFunc("POST /unban", d.unban)
	return mux, nil
}

// index is rendered once: nothing in it depends on the request.
func (d *demo) index() ([]byte, error) {
	t, err := template.ParseFS(page, "page/index.html")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Origins":     d.origins(),
		"Attacks":     attacks,
		"AttackFrom":  attackAddr,
		"Fingerprint": d.authority.fingerprint(),
		"LongestText": longestSaying,
	})
	return b.Bytes(), err
}

// session hands the page a name and a short-lived token. A demo may: there is no account to protect. Your own server asks
// for a login here, or takes the token from your identity provider.
func (d *demo) session(w http.ResponseWriter, r *http.Request) {
	name := guestName()
	writeJSON(w, http.StatusOK, map[string]any{
		"name":       name,
		"token":      d.issuer.token(name, scopeEvents, sessionTTL),
		"expires_in": int(sessionTTL.Seconds()),
		"transport":  transportName(r.TLS),
	})
}

func transportName(cs *tls.ConnectionState) string {
	if cs == nil {
		return "plaintext"
	}
	return tls.VersionName(cs.Version) + ", " + cs.CurveID.String() + ", " + tls.CipherSuiteName(cs.CipherSuite)
}

func (d *demo) caFile(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/x-pem-file")
	w.Header().Set("Content-Disposition", `attachment; filename="wssecure-quickstart-ca.pem"`)
	w.Write(d.authority.pem())
}

// attack runs one attack and answers what was sent and what came back.
func (d *demo) attack(w http.ResponseWriter, r *http.Request) {
	a, ok := attackNamed(r.URL.Query().Get("name"))
	if !ok {
		writeProblem(w, http.StatusNotFound, "there is no attack of that name")
		return
	}
	outcome, err := d.attacks.run(r.Context(), a)
	switch {
	case err == errBusy:
		writeProblem(w, http.StatusConflict, "another attack is running; try again in a moment")
	case err != nil:
		writeProblem(w, http.StatusInternalServerError, err.Error())
	default:
		writeJSON(w, http.StatusOK, outcome)
	}
}

// unban lifts the ban that the forged tokens earned the attacker.
func (d *demo) unban(w http.ResponseWriter, r *http.Request) {
	if err := d.guard.Unban(r.Context(), wssecure.Network(attackNetwork)); err != nil {
		writeProblem(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func writeProblem(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"error": text})
}
