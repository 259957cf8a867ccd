package token

// A Fault is the kind of a refusal: it decides what the peer is told and whether the refusal counts towards a ban.
type Fault uint8

const (
	// Invalid: the token breaks a rule that needs no signature work to see.
	Invalid Fault = iota
	// Forged: everything about the token is in order but its signature.
	Forged
	// Expired: the token's time is over.
	Expired
	// Unavailable: there are no keys to judge by. Our fault or the issuer's, never the caller's.
	Unavailable
)

// String returns the fault in one word, for messages.
func (f Fault) String() string {
	switch f {
	case Invalid:
		return "invalid"
	case Forged:
		return "forged"
	case Expired:
		return "expired"
	case Unavailable:
		return "unavailable"
	}
	return "unknown"
}

// An Error is what Verify returns for a token it does not accept.
type Error struct {
	Fault Fault
	// Again is set when this very token was refused as Forged, and counted, within the last minute.
	Again bool
	// Err says why, for the operator alone. It holds no token text, only header and claim values, cut and quoted.
	Err error
}

func (e *Error) Error() string { return "token " + e.Fault.String() + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// A ConfigError is one mistake in a verifier's configuration. Constructors return all of them, joined.
type ConfigError struct {
	Option string // the option to mend, such as "StaticKeys" or "ClockSkew"
	Text   string // the value, what is wrong with it, and the fix
}

func (e *ConfigError) Error() string { return e.Option + ": " + e.Text }
