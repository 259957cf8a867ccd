package main

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
)

// certify reads the client certificate. No text of it says anything of what the key's file holds.
func (q *request) certify(cert, key string) error {
	switch {
	case cert == "" && key == "":
		return nil
	case key == "":
		return errors.New("--cert: goes with --key, the file of its private key")
	case cert == "":
		return errors.New("--key: goes with --cert, the file of its certificate")
	}
	chain, err := os.ReadFile(cert)
	if err != nil {
		return fmt.Errorf("--cert: %w", err)
	}
	private, err := os.ReadFile(key)
	if err != nil {
		return fmt.Errorf("--key: %w", err)
	}
	defer clear(private)
	types := blocks(private)
	switch {
	case !slices.Contains(blocks(chain), "CERTIFICATE"):
		return fmt.Errorf("--cert: %s holds no PEM certificate", cert)
	case slices.Contains(types, "ENCRYPTED PRIVATE KEY") || bytes.Contains(private, []byte("Proc-Type: 4,ENCRYPTED")):
		return fmt.Errorf("--key: %s is encrypted; write one that is not with openssl pkey -in %[1]s", key)
	case !slices.ContainsFunc(types, func(t string) bool { return t == "PRIVATE KEY" || t == "RSA PRIVATE KEY" || t == "EC PRIVATE KEY" }):
		return fmt.Errorf("--key: %s holds no PEM private key", key)
	}
	pair, err := tls.X509KeyPair(chain, private)
	if err != nil {
		return fmt.Errorf("--cert and --key: %s is not the key of %s, or one of them cannot be read: %w", key, cert, err)
	}
	q.options.Cert = &pair
	// Windows has no such bits.
	if info, err := os.Stat(key); err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		q.warning = fmt.Sprintf("--key: others may read %s (%s); chmod 600 it", key, info.Mode().Perm())
	}
	return nil
}

// blocks are the types of what a PEM file holds.
func blocks(text []byte) []string {
	var types []string
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		types = append(types, b.Type)
	}
	return types
}
