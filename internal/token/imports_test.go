package token_test

import (
	"go/build"
	"os"
	"slices"
	"strings"
	"testing"
)

// jwx has parts that judge by more forms and switches than we want to depend on (jwt, jwe, jwk.Cache's httprc).
func TestImportsOfJWX(t *testing.T) {
	const jwx = "github.com/lestrrat-go/jwx/"
	p, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	var used []string
	for _, path := range p.Imports {
		if strings.HasPrefix(path, jwx) {
			used = append(used, path)
		}
	}
	if want := []string{jwx + "v2/jwa", jwx + "v2/jwk", jwx + "v2/jws"}; !slices.Equal(used, want) {
		t.Errorf("imports %q, want %q", used, want)
	}
	// Of jwk and jws, only these names: the generic entry points of the library choose keys and algorithms by themselves.
	allowed := []string{"jwk.Parse(", "jwk.WithIgnoreParseError(", "jwk.RSAPublicKey)", "jws.NewVerifier(", "jws.Verifier", "jwa.SignatureAlgorithm("}
	for _, name := range p.GoFiles {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, pkg := range []string{"jwa.", "jwk.", "jws."} {
			for rest := string(source); ; {
				i := strings.Index(rest, pkg)
				if i < 0 {
					break
				}
				use := rest[i:]
				rest = rest[i+len(pkg):]
				if !slices.ContainsFunc(allowed, func(a string) bool { return strings.HasPrefix(use, a) }) {
					t.Errorf("%s uses %.30q", name, use)
				}
			}
		}
	}
}
