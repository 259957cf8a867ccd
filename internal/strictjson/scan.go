package strictjson

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// maxDepth is where encoding/json gives up.
const maxDepth = 10_000

// A scanner walks one text once. With build it also returns the value; then the maps it builds tell duplicates. Without,
// the names of the open objects are handed down as a parameter, so that a small text needs no memory at all.
type scanner struct {
	p       []byte
	i       int
	depth   int // levels left
	members int // members left; -1 for no bound
	build   bool
	whole   string // with build, p once more: all strings of the value are parts of it
}

func (s *scanner) run(l Limits, sh *shape, names [][]byte) (any, error) {
	s.limit(l)
	if bytes.HasPrefix(s.p, []byte("\xEF\xBB\xBF")) {
		return nil, &Error{Problem: ByteOrder}
	}
	// Once for the whole text, so that the walk below need only know ASCII.
	if !utf8.Valid(s.p) {
		return nil, &Error{Problem: Encoding, Offset: firstInvalid(s.p)}
	}
	s.space()
	if s.i == len(s.p) {
		return nil, s.fail(Empty)
	}
	if s.build {
		s.whole = string(s.p)
	}
	v, err := s.value(sh, names)
	if err != nil {
		return nil, err
	}
	s.space()
	if s.i < len(s.p) {
		return nil, s.fail(Trailing)
	}
	return v, nil
}

func (s *scanner) limit(l Limits) {
	s.depth = min(max(l.Depth, 0), maxDepth)
	if l.Depth == 0 {
		s.depth = DefaultDepth
	}
	s.members = max(l.Members, 0)
	if l.Members == 0 {
		s.members = -1
	}
}

func (s *scanner) value(sh *shape, names [][]byte) (any, error) {
	if s.i == len(s.p) {
		return nil, s.fail(Truncated)
	}
	switch c := s.p[s.i]; {
	case c == '{':
		return s.object(sh, names)
	case c == '[':
		return s.array(sh, names)
	case c == '"':
		at := s.i + 1
		raw, err := s.text()
		if err != nil || !s.build {
			return nil, err
		}
		return s.part(unescape(raw), at), nil
	case c == '-' || isDigit(c):
		return s.number()
	case c == 't':
		return true, s.word("true")
	case c == 'f':
		return false, s.word("false")
	case c == 'n':
		return nil, s.word("null")
	}
	return nil, s.fail(Syntax)
}

func (s *scanner) object(sh *shape, names [][]byte) (any, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	var m map[string]any
	if s.build {
		m = make(map[string]any)
	}
	seen := seenNames{base: len(names)}
	for first := true; ; first = false {
		if done, err := s.next('}', first); done || err != nil {
			if !s.build {
				return nil, err
			}
			return m, err
		}
		at := s.i
		name, err := s.memberName()
		if err != nil {
			return nil, err
		}
		if s.members == 0 {
			return nil, &Error{Problem: TooMany, Offset: at}
		}
		s.members--
		_, dup := m[string(name)]
		if !s.build {
			names, dup = seen.add(names, name)
		}
		if dup {
			return nil, &Error{Problem: Duplicate, Offset: at, Name: string(name)}
		}
		inner, problem := sh.member(name)
		if problem != "" {
			return nil, &Error{Problem: problem, Offset: at, Name: string(name)}
		}
		v, err := s.value(inner, names)
		if err != nil {
			return nil, err
		}
		if s.build {
			m[s.part(name, at+1)] = v
		}
	}
}

func (s *scanner) array(sh *shape, names [][]byte) (any, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	list := []any{}
	for first := true; ; first = false {
		if done, err := s.next(']', first); done || err != nil {
			if !s.build {
				return nil, err
			}
			return list, err
		}
		v, err := s.value(sh.element(), names)
		if err != nil {
			return nil, err
		}
		if s.build {
			list = append(list, v)
		}
	}
}

// enter steps over an opening bracket; next gives the level back at the closing one.
func (s *scanner) enter() error {
	if s.depth == 0 {
		return s.fail(TooDeep)
	}
	s.depth--
	s.i++
	return nil
}

// next stops before the next entry or behind the closing bracket.
func (s *scanner) next(closing byte, first bool) (done bool, err error) {
	s.space()
	if s.i == len(s.p) {
		return false, s.fail(Truncated)
	}
	if s.p[s.i] == closing {
		s.i++
		s.depth++
		return true, nil
	}
	if first {
		return false, nil
	}
	if s.p[s.i] != ',' {
		return false, s.fail(Syntax)
	}
	s.i++
	s.space()
	return false, nil
}

// memberName reads a name and its colon, and stops before the value.
func (s *scanner) memberName() ([]byte, error) {
	if s.i == len(s.p) {
		return nil, s.fail(Truncated)
	}
	if s.p[s.i] != '"' {
		return nil, s.fail(Syntax)
	}
	raw, err := s.text()
	if err != nil {
		return nil, err
	}
	s.space()
	if s.i == len(s.p) {
		return nil, s.fail(Truncated)
	}
	if s.p[s.i] != ':' {
		return nil, s.fail(Syntax)
	}
	s.i++
	s.space()
	return unescape(raw), nil
}

func (s *scanner) number() (any, error) {
	start := s.i
	if s.p[s.i] == '-' {
		s.i++
	}
	if s.i < len(s.p) && s.p[s.i] == '0' {
		s.i++
	} else if err := s.digits(); err != nil {
		return nil, err
	}
	if s.i < len(s.p) && s.p[s.i] == '.' {
		s.i++
		if err := s.digits(); err != nil {
			return nil, err
		}
	}
	if s.i < len(s.p) && s.p[s.i]|0x20 == 'e' {
		s.i++
		if s.i < len(s.p) && (s.p[s.i] == '+' || s.p[s.i] == '-') {
			s.i++
		}
		if err := s.digits(); err != nil {
			return nil, err
		}
	}
	if !s.build {
		return nil, nil
	}
	return json.Number(s.whole[start:s.i]), nil
}

// part is p as a string: what stands at at in the whole, unless an escape makes
// it differ.
func (s *scanner) part(p []byte, at int) string {
	if same := s.whole[at : at+min(len(p), len(s.whole)-at)]; same == string(p) {
		return same
	}
	return string(p)
}

// digits wants at least one.
func (s *scanner) digits() error {
	if s.i == len(s.p) {
		return s.fail(Truncated)
	}
	if !isDigit(s.p[s.i]) {
		return s.fail(Syntax)
	}
	for s.i < len(s.p) && isDigit(s.p[s.i]) {
		s.i++
	}
	return nil
}

func (s *scanner) word(w string) error {
	rest := s.p[s.i:]
	if len(rest) < len(w) && strings.HasPrefix(w, string(rest)) {
		s.i = len(s.p)
		return s.fail(Truncated)
	}
	if !bytes.HasPrefix(rest, []byte(w)) {
		return s.fail(Syntax)
	}
	s.i += len(w)
	return nil
}

func (s *scanner) space() {
	for s.i < len(s.p) {
		switch s.p[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) fail(problem Problem) *Error { return &Error{Problem: problem, Offset: s.i} }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func firstInvalid(p []byte) int {
	for i := 0; i < len(p); {
		r, size := utf8.DecodeRune(p[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(p)
}
