package token

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// NewOIDC is NewRemote with the place of the keys taken from the issuer's metadata (OpenID Connect Discovery 1.0). With
// Rules.Tenants there are one discovery and one key set for each tenant, who are different issuers on one host: a key of
// one must not sign for another.
func NewOIDC[T any](client *http.Client, r Rules, wrap func(*Claims) T, notify func(Notice)) (*Verifier[T], error) {
	var wrong []error
	if err := checkIssuer(r); err != nil {
		wrong = append(wrong, err)
	}
	f, err := newFetcher(client)
	if err != nil {
		wrong = append(wrong, err)
	}
	j, err := newJudge(r, remoteKeys)
	if err != nil {
		wrong = append(wrong, err)
	}
	if wrong != nil {
		return nil, errors.Join(wrong...)
	}
	if r.Tenants == nil {
		return newDiscovered(j, r.Issuer, f, wrap, notify), nil
	}
	v := newVerifier(j, nil, wrap)
	v.tenants = make(map[string]*Verifier[T], len(r.Tenants))
	for i, issuer := range r.Issuers() {
		own := *j
		own.tenants = map[string]string{issuer: r.Tenants[i]}
		tenant := newDiscovered(&own, issuer, f, wrap, notify)
		tenant.seen = v.seen // one bound on memory for all
		v.tenants[issuer] = tenant
	}
	return v, nil
}

func newDiscovered[T any](j *judge, issuer string, f *fetcher, wrap func(*Claims) T, notify func(Notice)) *Verifier[T] {
	return newVerifier(j, newRemote(&discovery{issuer: issuer, fetch: f}, f, j.remoteKeys, notify), wrap)
}

// checkIssuer judges the issuer's URL, a template too: its tenants add nothing that could change the verdict.
func checkIssuer(r Rules) error {
	if r.Issuer == "" {
		return nil // newJudge says so
	}
	if issuer, found := strings.CutSuffix(r.Issuer, metadataPath); found {
		return &ConfigError{r.Option, strconv.Quote(r.Issuer) + " is where its metadata is; write the iss your tokens carry, as " + strconv.Quote(issuer)}
	}
	const tenant = "tenantid"
	err := CheckURL(r.Option, strings.ReplaceAll(r.Issuer, tenantMark, tenant))
	if err == nil {
		return nil
	}
	if strings.Contains(r.Issuer, tenantMark) {
		err.Text = strings.ReplaceAll(err.Text, tenant, tenantMark)
	}
	return err
}

// tenant chooses the verifier by the issuer that text names, before any key is touched.
func (v *Verifier[T]) tenant(text string) (*Verifier[T], *Error) {
	issuer, ok := PeekIssuer(text, v.judge.rules.MaxSize)
	if !ok {
		return nil, errNoIssuer
	}
	tenant := v.tenants[issuer]
	if tenant == nil {
		return nil, show(Invalid, "claim iss is of no tenant served: ", issuer)
	}
	return tenant, nil
}

var errNoIssuer = &Error{Fault: Invalid, Err: errors.New("no token with a claim iss")}
