// Package interop has no code of its own. Its tests put gorilla/websocket, gws,
// gobwas/ws, coder/websocket and httputil.ReverseProxy behind the guard, and
// net/http's mux, chi, gin and echo round it: what users have, in the versions
// that go.mod names. npm's ws is there on both sides, as a backend behind the
// proxy and as a hostile client (nodews).
package interop
