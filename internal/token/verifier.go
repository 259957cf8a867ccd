package token

import (
	"context"
	"errors"
	"net/http"
)

// A Verifier judges tokens of one issuer. It is safe for concurrent use.
type Verifier[T any] struct {
	rules Rules
}

// NewStatic returns a verifier that judges by the public keys of a JWK set.
func NewStatic[T any](jwks []byte, r Rules, wrap func(*Claims) T) (*Verifier[T], error) {
	return &Verifier[T]{rules: r}, nil
}

// NewSecrets returns a verifier for HMAC signatures under any of up to four secrets, newest first.
func NewSecrets[T any](secrets [][]byte, r Rules, wrap func(*Claims) T) (*Verifier[T], error) {
	return &Verifier[T]{rules: r}, nil
}

// NewRemote returns a verifier that judges by the JWK set at url and keeps it fresh from its first use until Close.
func NewRemote[T any](url string, client *http.Client, r Rules, wrap func(*Claims) T, notify func(Notice)) (*Verifier[T], error) {
	return &Verifier[T]{rules: r}, nil
}

// Verify returns what wrap made of the token's claims. Its error is always an *Error.
func (v *Verifier[T]) Verify(ctx context.Context, text string) (T, error) {
	var zero T
	return zero, &Error{Fault: Unavailable, Err: errors.New("no keys")}
}

// Known reports whether text was verified before and is still good, by look-up alone.
func (v *Verifier[T]) Known(text string) bool { return false }

// Ready returns nil while there are keys to judge by.
func (v *Verifier[T]) Ready() error { return nil }

// Close ends background work. It may be called more than once.
func (v *Verifier[T]) Close() {}

// Issuer returns the issuer whose tokens v judges, as configured.
func (v *Verifier[T]) Issuer() string { return v.rules.Issuer }
