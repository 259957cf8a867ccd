package probe

import (
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"strconv"
	"strings"
)

// Bounds of what one answer may take.
const (
	maxHead = 64 << 10
	maxBody = 1 << 20
)

// A Response is one answer as it came.
type Response struct {
	StatusLine string
	Proto      string
	Status     int
	Header     []Field // in the order and spelling of the wire
	Body       []byte
}

// A Field is one header line. A folded line is a Field with an empty Name.
type Field struct{ Name, Value string }

// Get is the value of the first line of that name, in any case.
func (r *Response) Get(name string) string {
	if v := r.Values(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Values is the value of every line of that name, in any case.
func (r *Response) Values(name string) []string {
	var list []string
	for _, f := range r.Header {
		if strings.EqualFold(f.Name, name) {
			list = append(list, f.Value)
		}
	}
	return list
}

// Response reads one answer and no byte further: what follows a 101 is left for ReadFrame, and what follows a body for
// the next Response. A body without a length ends with the connection. Interim answers (1xx) are answers too.
func (c *Conn) Response() (*Response, error) {
	if err := c.startRead(); err != nil {
		return nil, err
	}
	return c.response()
}

// mostInterim is how many interim answers are passed over.
const mostInterim = 10

// Answer is Response for whoever asks what became of a request: interim answers but 101 are passed over. All of it is one
// step.
func (c *Conn) Answer() (*Response, error) {
	if err := c.startRead(); err != nil {
		return nil, err
	}
	for range mostInterim + 1 {
		r, err := c.response()
		if err != nil || r.Status == 101 || r.Status/100 != 1 {
			return r, err
		}
	}
	return nil, errors.New("probe: interim answers without end")
}

func (c *Conn) response() (*Response, error) {
	left := maxHead
	line, err := c.headLine(&left)
	if err != nil {
		return nil, err
	}
	r := &Response{StatusLine: line}
	proto, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	r.Proto = proto
	if r.Status, err = strconv.Atoi(code); err != nil || !strings.HasPrefix(proto, "HTTP/") {
		return nil, fmt.Errorf("probe: no status line: %.64q", line)
	}
	if r.Header, err = c.fields(&left); err != nil {
		return nil, err
	}
	r.Body, err = c.body(r)
	return r, err
}

// fields reads header lines up to the empty one.
func (c *Conn) fields(left *int) ([]Field, error) {
	var list []Field
	for {
		line, err := c.headLine(left)
		if err != nil || line == "" {
			return list, err
		}
		list = append(list, parseField(line))
	}
}

func parseField(line string) Field {
	if line[0] == ' ' || line[0] == '\t' {
		return Field{Value: strings.Trim(line, " \t")}
	}
	name, value, _ := strings.Cut(line, ":")
	return Field{Name: name, Value: strings.Trim(value, " \t")}
}

// headLine reads up to LF and drops the line end.
func (c *Conn) headLine(left *int) (string, error) {
	var line []byte
	for {
		b, err := c.br.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && len(line) > 0:
			return "", io.ErrUnexpectedEOF
		case err != nil:
			return "", err
		case b == '\n':
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		if *left--; *left < 0 {
			return "", errors.New("probe: head of the answer above 64 KiB")
		}
		line = append(line, b)
	}
}

func (c *Conn) body(r *Response) ([]byte, error) {
	if r.Status < 200 || r.Status == 204 || r.Status == 304 {
		return nil, nil
	}
	if strings.EqualFold(r.Get("Transfer-Encoding"), "chunked") {
		body, err := bounded(httputil.NewChunkedReader(c.br))
		if err != nil {
			return body, err
		}
		left := maxHead
		_, err = c.fields(&left) // trailers
		return body, err
	}
	length := r.Get("Content-Length")
	if length == "" {
		return bounded(c.br)
	}
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil || n < 0 || n > maxBody {
		return nil, fmt.Errorf("probe: Content-Length %.32q", length)
	}
	body := make([]byte, n)
	_, err = io.ReadFull(c.br, body)
	return body, err
}

func bounded(from io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(from, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errors.New("probe: body of the answer above 1 MiB")
	}
	return body, err
}
