// Package e2e holds the tests that only a real browser can give: what a page of an origin sees, what the guard says of it,
// and that the quickstart does in a browser what its README promises.
package e2e
