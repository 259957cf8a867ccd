package token

import "time"

// Claims are what an accepted token says. They are shared by all who present it: read, never write.
type Claims struct {
	Issuer, Subject, TokenID, OIDCSession string    // iss, sub, jti, sid
	Scopes                                []string  // scope and scp, joined, each once, in order
	IssuedAt, AuthTime, Expiry            time.Time // iat, auth_time, exp; zero when absent
	ACR                                   string
	AMR                                   []string
	Thumbprint                            string // cnf x5t#S256: the client certificate the token is bound to
	// Content is one for all signatures of one content: SHA-256 of decoded header and payload, each after its length.
	Content [32]byte
	All     map[string]any // every claim, numbers as json.Number
}
