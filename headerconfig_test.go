package wssecure_test

import (
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

func TestHeaderConfiguration(t *testing.T) {
	rest := opts(wssecure.InsecureAllowAnonymous(why), wssecure.AllowOrigins(wssecuretest.Origin))
	set := wssecure.SetHeader
	for _, tc := range []struct {
		name string
		opts []wssecure.Option
		want string
	}{
		{"D-03 no max-age", opts(wssecure.SetHSTS("includeSubDomains")), `SetHSTS: "includeSubDomains" has no max-age in seconds; use "max-age=31536000"`},
		{"D-03 empty", opts(wssecure.SetHSTS("")), `SetHSTS: the value is empty`},
		{"D-03 negative", opts(wssecure.SetHSTS("max-age=-1")), `SetHSTS: "max-age=-1" has no max-age`},
		{"D-03 a sign", opts(wssecure.SetHSTS("max-age=+1")), `SetHSTS: "max-age=+1" has no max-age`},
		{"D-03 half a quotation", opts(wssecure.SetHSTS(`max-age="1`)), `SetHSTS: "max-age=\"1" has no max-age`},
		{"D-03 overflow", opts(wssecure.SetHSTS("max-age=99999999999999999999")), `SetHSTS: "max-age=99999999999999999999" has no max-age`},
		{"D-03 zero", opts(wssecure.SetHSTS("max-age=0")), `SetHSTS: "max-age=0" switches HSTS off; use InsecureHSTSOff`},
		{"D-03 preload", opts(wssecure.SetHSTS("max-age=3600; preload")), `SetHSTS: "max-age=3600; preload" is not fit for preload; use max-age=31536000 or more and includeSubDomains`},
		{"D-03 unknown", opts(wssecure.SetHSTS("max-age=3600; report")), `SetHSTS: "max-age=3600; report" has an unknown directive`},
		{"D-03 a value of its own", opts(wssecure.SetHSTS("max-age=3600; preload=1")), `SetHSTS: "max-age=3600; preload=1" has an unknown directive`},
		{"D-03 twice", opts(wssecure.SetHSTS("max-age=3600; max-age=0")), `SetHSTS: "max-age=3600; max-age=0" has max-age twice; keep one`},
		{"I2 a line end", opts(wssecure.SetHSTS("max-age=3600\r\n")), `SetHSTS: "max-age=3600\r\n" contains a control character; write one line`},
		{"I2 a second line", opts(wssecure.SetHSTS("max-age=3600;\r\nincludeSubDomains")), `SetHSTS: "max-age=3600;\r\nincludeSubDomains" contains a control character; write one line`},
		{"G-78", opts(wssecure.SetHSTS("max-age=3600"), wssecure.InsecureHSTSOff(why)), `InsecureHSTSOff: SetHSTS asks for the opposite; remove one`},
		{"G-10 no reason", opts(wssecure.InsecureHSTSOff(" ")), `InsecureHSTSOff: the reason is empty; say why in a few words`},
		{"D-08 empty", opts(wssecure.SetCSP(" ")), `SetCSP: the policy is empty`},
		{"G-57", opts(wssecure.SetCSP("default-src\n")), `SetCSP: "default-src\n" contains a control character; write one line`},
		{"I2 CR LF", opts(wssecure.SetCSP("default-src 'self'\r\nSet-Cookie: a=b")), `SetCSP: "default-src 'self'\r\nSet-Cookie: a=b" contains a control character; write one line`},
		{"G-56", opts(wssecure.SetCSP("connect-src wss:")), `SetCSP: connect-src "wss:" allows every host; write "wss://ws.example.com"`},
		{"D-07 ws:", opts(wssecure.SetCSP("default-src 'self'; Connect-Src 'self' WS:")), `SetCSP: connect-src "WS:" allows every host; write "wss://ws.example.com"`},
		{"D-07 a star", opts(wssecure.SetCSP("connect-src *")), `SetCSP: connect-src "*" allows every host; write "wss://ws.example.com"`},
		{"D-07 a star for the host", opts(wssecure.SetCSP("connect-src wss://*")), `SetCSP: connect-src "wss://*" allows every host; write "wss://ws.example.com"`},
		{"D-10 two policies", opts(wssecure.SetCSP("frame-ancestors 'self', connect-src *")), `SetCSP: "frame-ancestors 'self', connect-src *" holds a comma`},
		{"G-58", opts(wssecure.SetCSP("default-src 'self'"), wssecure.SetCSP("default-src 'none'")), `SetCSP: is given twice; keep one`},
		{"G-59", opts(set("Set-Cookie", "a=b")), `SetHeader: "Set-Cookie" is not the guard's; set it in your handler`},
		{"G-60", opts(set("X-Frame-Options", "ALLOW-FROM https://a.example")), `SetHeader: X-Frame-Options "ALLOW-FROM https://a.example" is ignored by browsers; use frame-ancestors in SetCSP`},
		{"D-10 against the guard's policy", opts(set("x-frame-options", "SAMEORIGIN")), `SetHeader: X-Frame-Options "SAMEORIGIN" contradicts the frame-ancestors that are sent; use frame-ancestors in SetCSP`},
		{"D-10 against SetCSP", opts(set("X-Frame-Options", "DENY"), wssecure.SetCSP("frame-ancestors https://a.example")), `SetHeader: X-Frame-Options "DENY" contradicts`},
		{"I2 a name", opts(set("X-A: b\r\nX-B", "c")), `SetHeader: "X-A: b\r\nX-B" is no header name`},
		{"I2 an empty name", opts(set("", "c")), `SetHeader: "" is no header name`},
		{"I2 a value", opts(set("X-A", "b\r\nX-B: c")), `SetHeader: X-A "b\r\nX-B: c" contains a control character; write one line`},
		{"I2 a NUL", opts(set("X-A", "b\x00")), `SetHeader: X-A "b\x00" contains a control character; write one line`},
		{"empty value", opts(set("X-A", " ")), `SetHeader: X-A has an empty value`},
		{"HSTS", opts(set("strict-transport-security", "max-age=1")), `SetHeader: "strict-transport-security" has an option of its own; use SetHSTS`},
		{"CSP", opts(set("content-security-policy", "default-src 'self'")), `SetHeader: "content-security-policy" has an option of its own; use SetCSP`},
		{"CORS", opts(set("access-control-allow-origin", "*")), `SetHeader: "access-control-allow-origin" is not the guard's`},
		{"Content-Encoding", opts(set("Content-Encoding", "br")), `SetHeader: "Content-Encoding" is not the guard's`},
		{"Connection", opts(set("Connection", "keep-alive")), `SetHeader: "Connection" is not the guard's`},
		{"twice", opts(set("X-A", "b"), set("x-a", "c")), `SetHeader of X-A: is given twice; keep one`},
	} {
		t.Run(tc.name, func(t *testing.T) { wantConfigError(t, append(tc.opts, rest...), []string{tc.want}) })
	}
	for name, o := range map[string]wssecure.Option{
		"D-24": wssecure.SetHSTS("max-age=63072000; includeSubDomains; preload"),
		"D-10": wssecure.Options(set("X-Frame-Options", "SAMEORIGIN"), wssecure.SetCSP("frame-ancestors 'self'")),
		"D-11": set("Permissions-Policy", "geolocation=(), camera=()"),
	} {
		if _, err := wssecure.New(append(opts(o), rest...)...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
