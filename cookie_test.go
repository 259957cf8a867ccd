package wssecure_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
)

func TestCookie(t *testing.T) {
	const tail = "; HttpOnly; Secure; SameSite=Strict"
	room := 4096 - len("__Host-sid")
	for _, tc := range []struct {
		name, cookie, value string
		age                 time.Duration
		want                string
	}{
		{"D-20", "sid", "abc", time.Hour, "__Host-sid=abc; Path=/; Max-Age=3600" + tail},
		{"D-21 with the prefix", "__Host-sid", "abc", time.Hour, "__Host-sid=abc; Path=/; Max-Age=3600" + tail},
		{"D-21 500 days", "sid", "abc", 500 * 24 * time.Hour, "__Host-sid=abc; Path=/; Max-Age=34560000" + tail},
		{"D-21 400 days", "sid", "abc", 400 * 24 * time.Hour, "__Host-sid=abc; Path=/; Max-Age=34560000" + tail},
		{"D-21 zero deletes", "sid", "abc", 0, "__Host-sid=abc; Path=/; Max-Age=0" + tail},
		{"D-21 negative deletes", "sid", "", -time.Hour, "__Host-sid=; Path=/; Max-Age=0" + tail},
		{"D-21 half a second is not zero", "sid", "abc", time.Second / 2, "__Host-sid=abc; Path=/; Max-Age=1" + tail},
		{"D-20 every byte that may", "sid!#$%&'*+-.^_`|~", "!#$%&'()*+-./:<=>?@[]^_`{|}~", time.Hour, "__Host-sid!#$%&'*+-.^_`|~=!#$%&'()*+-./:<=>?@[]^_`{|}~; Path=/; Max-Age=3600" + tail},
		{"D-22 4,096 bytes", "sid", strings.Repeat("a", room), time.Hour, "__Host-sid=" + strings.Repeat("a", room) + "; Path=/; Max-Age=3600" + tail},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := wssecure.Cookie(tc.cookie, tc.value, tc.age)
			if c == nil {
				t.Fatal("nil")
			}
			if got := c.String(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if err := c.Valid(); err != nil {
				t.Error(err)
			}
		})
	}
	if c := wssecure.Cookie("sid", strings.Repeat("a", room+1), time.Hour); c != nil {
		t.Error("D-22 4,097 bytes: not nil")
	}
	for _, name := range []string{"", "__Host-"} {
		if c := wssecure.Cookie(name, "abc", time.Hour); c != nil {
			t.Errorf("D-22 the name %q: %v", name, c)
		}
	}
}

// TestCookieBytes tries every byte in both places: what does not come out as it
// went in must not come out at all.
func TestCookieBytes(t *testing.T) {
	for b := range 256 {
		text := "a" + string([]byte{byte(b)}) + "b"
		for _, c := range []*http.Cookie{wssecure.Cookie(text, "abc", time.Hour), wssecure.Cookie("sid", text, time.Hour)} {
			if c == nil {
				continue
			}
			if strings.ContainsAny(text, " \",;\\") || b < 0x20 || b >= 0x7f {
				t.Errorf("D-22 byte %#02x: %s", b, c)
			}
			if !strings.Contains(c.String(), text) {
				t.Errorf("D-22 byte %#02x is altered: %s", b, c)
			}
		}
	}
	w := &memoryWriter{header: http.Header{}}
	http.SetCookie(w, wssecure.Cookie("sid", "a b", time.Hour))
	if len(w.header) > 0 {
		t.Errorf("D-22 http.SetCookie takes it: %v", w.header)
	}
}
