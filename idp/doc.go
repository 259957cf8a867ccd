// Package idp holds the tests with an identity provider that others wrote: oidc-provider, certified by the OpenID
// Foundation, as a process of its own. What the guard makes of discovery, tokens, introspection and logout is tested with
// wssecuretest.Issuer elsewhere; here is shown that both did not misread the standards in the same way.
package idp
