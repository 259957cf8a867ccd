// Package nginx has no code of its own. Its tests put a real nginx before the
// guard: TLS to the client, plaintext behind, and forwarding headers that only
// nginx may be believed for.
package nginx
