package store

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// unknownMembers is what a dot.Unknown holds, as JSON, of one object.
type unknownMembers struct {
	// New are members that are not known at all.
	New map[string]json.RawMessage `json:"new,omitempty"`
	// In are known members that hold unknown ones. They are put back only into
	// what is still there: an entry of a map that was removed stays removed.
	In map[string]unknownMembers `json:"in,omitempty"`
}

func (u unknownMembers) isNone() bool { return len(u.New) == 0 && len(u.In) == 0 }

// unknownOf finds what of a stored value v, which was read from it, does not hold.
func unknownOf(stored []byte, v any) (dot.Unknown, error) {
	known, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	u := without(stored, known)
	if u.isNone() {
		return "", nil
	}
	b, err := json.Marshal(u)
	return dot.Unknown(b), err
}

// without gives the members of an object that another one does not have; none
// where one of the two is no object.
func without(stored, known []byte) unknownMembers {
	u := unknownMembers{New: map[string]json.RawMessage{}, In: map[string]unknownMembers{}}
	has, isObject := object(known)
	members, isObjectToo := object(stored)
	if !isObject || !isObjectToo {
		return unknownMembers{}
	}
	for name, value := range members {
		same, there := has[name]
		switch {
		case there:
			if deeper := without(value, same); !deeper.isNone() {
				u.In[name] = deeper
			}
		case !hasFolded(has, name):
			u.New[name] = value
		}
	}
	return u
}

// hasFolded: encoding/json takes a member for a field whatever its case.
func hasFolded(members map[string]json.RawMessage, name string) bool {
	for other := range members {
		if strings.EqualFold(other, name) {
			return true
		}
	}
	return false
}

// withUnknown puts back into a value what was unknown when it was read.
func withUnknown(value []byte, unknown dot.Unknown) ([]byte, error) {
	if unknown == "" {
		return value, nil
	}
	var u unknownMembers
	if err := json.Unmarshal([]byte(unknown), &u); err != nil {
		return nil, fmt.Errorf("what was kept of a newer version: %w", err)
	}
	return u.addTo(value)
}

func (u unknownMembers) addTo(value []byte) ([]byte, error) {
	members, isObject := object(value)
	if !isObject {
		return value, nil
	}
	for name, unknown := range u.New {
		if _, there := members[name]; !there {
			members[name] = unknown
		}
	}
	for name, deeper := range u.In {
		in, there := members[name]
		if !there {
			continue
		}
		var err error
		if members[name], err = deeper.addTo(in); err != nil {
			return nil, err
		}
	}
	return json.Marshal(members)
}

func object(b []byte) (map[string]json.RawMessage, bool) {
	var members map[string]json.RawMessage
	err := json.Unmarshal(b, &members)
	return members, err == nil && members != nil
}
