package wssecure

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// This file reads the bodies of POSTs to the guard's own endpoints.

// mostFields bounds a form of readFields: a path or a session's id fits.
const mostFields = 4 << 10

// readFields reads a form of these fields, each at most once and no other. It
// comes after the checks: a stranger's body is not waited for.
func (a *attempt) readFields(fields ...string) (url.Values, error) {
	form, err := a.readForm(mostFields)
	if err != nil {
		return nil, err
	}
	for name, values := range form {
		if !slices.Contains(fields, name) || len(values) > 1 {
			return nil, a.refuse(ReasonBody, "a field that is unknown or there twice", "a form of "+strings.Join(fields, ", "))
		}
	}
	return form, nil
}

// readForm reads the body as application/x-www-form-urlencoded, at most most
// bytes of it; what is longer is refused with 413. No body is an empty form.
func (a *attempt) readForm(most int64) (url.Values, error) {
	wrong := func(seen string) error { return a.refuse(ReasonBody, seen, "application/x-www-form-urlencoded") }
	tooLong := func() error {
		a.status = http.StatusRequestEntityTooLarge
		return a.refuse(ReasonBody, "a longer body", fmt.Sprintf("at most %d bytes", most))
	}
	if a.r.ContentLength > most {
		return nil, tooLong()
	}
	if a.r.Body == nil || a.r.ContentLength == 0 {
		return nil, nil
	}
	control := http.NewResponseController(a.w)
	// Errors mean a writer without deadlines: net/http's own timeouts hold then.
	_ = control.SetReadDeadline(time.Now().Add(a.policy.handshakeTime))
	body, err := io.ReadAll(http.MaxBytesReader(a.w, a.r.Body, most))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return nil, tooLong()
	}
	if err != nil {
		return nil, wrong("a body that does not end")
	}
	_ = control.SetReadDeadline(time.Time{}) // not before: net/http reads on after a refusal
	if len(body) == 0 {
		return nil, nil
	}
	if media, _, err := mime.ParseMediaType(a.r.Header.Get(headerContentType)); err != nil || media != "application/x-www-form-urlencoded" {
		return nil, wrong("a body of another type")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, wrong("a body that is no form")
	}
	return form, nil
}
