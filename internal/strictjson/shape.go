package strictjson

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"unicode"
)

// A shape is which members a Go type has, with their names exactly as encoding/json writes them. nil is a type whose
// members are not for us to judge.
type shape struct {
	fields map[string]*shape // of a struct; nil for anything else
	elem   *shape            // of a map, slice or array
	intKey bool              // a map keyed by integers
}

// member finds the shape of a member's value, or what is wrong with its name.
func (sh *shape) member(name []byte) (*shape, Problem) {
	if sh == nil {
		return nil, ""
	}
	if sh.fields == nil {
		if sh.intKey && !shortestInteger(name) {
			return nil, KeySpelling
		}
		return sh.elem, ""
	}
	inner, ok := sh.fields[string(name)]
	if !ok {
		return nil, UnknownField
	}
	return inner, ""
}

func (sh *shape) element() *shape {
	if sh == nil {
		return nil
	}
	return sh.elem
}

// shapes keeps what shapeOf found, by type: as many as the program has destinations.
var shapes sync.Map // reflect.Type -> *shape

// shapeOf follows v as encoding/json does, also through an interface that holds a pointer.
func shapeOf(v reflect.Value) *shape {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() || ownDecoding(v.Type()) {
			break
		}
		if v.Kind() == reflect.Interface && v.Elem().Kind() != reflect.Pointer {
			return nil
		}
		v = v.Elem()
	}
	t := v.Type()
	if sh, ok := shapes.Load(t); ok {
		return sh.(*shape)
	}
	sh := drawShape(t, map[reflect.Type]*shape{})
	shapes.Store(t, sh)
	return sh
}

// drawShape finds the shape of t; drawn holds what is already begun, since types may contain themselves.
func drawShape(t reflect.Type, drawn map[reflect.Type]*shape) *shape {
	for t.Kind() == reflect.Pointer && !ownDecoding(t) {
		t = t.Elem()
	}
	if ownDecoding(t) || ownDecoding(reflect.PointerTo(t)) {
		return nil
	}
	if sh, ok := drawn[t]; ok {
		return sh
	}
	sh := new(shape)
	switch t.Kind() {
	case reflect.Struct:
		drawn[t] = sh
		sh.fields = map[string]*shape{}
		for name, ft := range memberTypes(t) {
			sh.fields[name] = drawShape(ft, drawn)
		}
	case reflect.Map:
		drawn[t] = sh
		key := t.Key()
		sh.intKey = key.Kind() >= reflect.Int && key.Kind() <= reflect.Uintptr && !ownDecoding(reflect.PointerTo(key))
		sh.elem = drawShape(t.Elem(), drawn)
	case reflect.Slice, reflect.Array:
		drawn[t] = sh
		sh.elem = drawShape(t.Elem(), drawn)
	default:
		return nil
	}
	return sh
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func ownDecoding(t reflect.Type) bool {
	return t.Implements(jsonUnmarshaler) || t.Implements(textUnmarshaler)
}

// memberTypes is encoding/json's rule for which field a name means: the least nested one wins, then the one named by a
// tag; where two are left, the name means nothing.
func memberTypes(t reflect.Type) map[string]reflect.Type {
	types := map[string]reflect.Type{}
	visited := map[reflect.Type]bool{}
	taken := map[string]bool{}
	level := []reflect.Type{t}
	for len(level) > 0 {
		found := map[string][]candidate{}
		var deeper []reflect.Type
		repeats := map[reflect.Type]int{}
		for _, st := range level {
			repeats[st]++
		}
		for _, st := range level {
			if visited[st] {
				continue
			}
			visited[st] = true
			for i := range st.NumField() {
				c, embedded, ok := candidateOf(st.Field(i))
				if !ok {
					continue
				}
				if embedded {
					deeper = append(deeper, c.typ)
					continue
				}
				// A struct embedded twice on one level hides its own members.
				for range min(repeats[st], 2) {
					found[c.name] = append(found[c.name], c)
				}
			}
		}
		for name, list := range found {
			if taken[name] {
				continue
			}
			taken[name] = true
			if c, ok := dominant(list); ok {
				types[name] = c.typ
			}
		}
		level = deeper
	}
	return types
}

type candidate struct {
	name   string
	tagged bool
	typ    reflect.Type
}

// candidateOf reads one field; embedded means its members stand in for it.
func candidateOf(f reflect.StructField) (c candidate, embedded, ok bool) {
	typ := f.Type
	if typ.Name() == "" && typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if !f.IsExported() && (!f.Anonymous || typ.Kind() != reflect.Struct) {
		return c, false, false
	}
	tag := f.Tag.Get("json")
	if tag == "-" {
		return c, false, false
	}
	name, _, _ := strings.Cut(tag, ",")
	if !usableName(name) {
		name = ""
	}
	if name == "" && f.Anonymous && typ.Kind() == reflect.Struct {
		return candidate{typ: typ}, true, true
	}
	if name == "" {
		return candidate{name: f.Name, typ: f.Type}, false, true
	}
	return candidate{name: name, tagged: true, typ: f.Type}, false, true
}

func dominant(list []candidate) (candidate, bool) {
	var tagged []candidate
	for _, c := range list {
		if c.tagged {
			tagged = append(tagged, c)
		}
	}
	if len(tagged) > 0 {
		list = tagged
	}
	return list[0], len(list) == 1
}

// usableName is encoding/json's: any other tag is ignored there, so it must be here.
func usableName(name string) bool {
	for _, r := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return name != ""
}
