package strictjson

import "bytes"

// inlineNames is how many names of open objects a check keeps without allocating, and up to how many names of one
// object it compares one by one.
const inlineNames = 16

// seenNames tells whether an object has a name already. The first names are compared one by one; beyond that a map
// takes over, since an attacker would fill a message with names to make the comparison quadratic. Go's maps are seeded,
// so names cannot be chosen to collide.
type seenNames struct {
	base int // where this object's names begin among those of the open objects
	set  map[string]struct{}
}

func (n *seenNames) add(names [][]byte, name []byte) (_ [][]byte, dup bool) {
	if n.set != nil {
		if _, dup := n.set[string(name)]; dup {
			return names, true
		}
		n.set[string(name)] = struct{}{}
		return names, false
	}
	own := names[n.base:]
	for _, other := range own {
		if bytes.Equal(other, name) {
			return names, true
		}
	}
	if len(own) < inlineNames {
		return append(names, name), false
	}
	n.set = make(map[string]struct{}, 4*inlineNames)
	for _, other := range own {
		n.set[string(other)] = struct{}{}
	}
	n.set[string(name)] = struct{}{}
	return names, false
}
