package dot

import (
	"fmt"
	"regexp"
)

// The grammar of names is the one that dotmesh always had. Generated branch
// names (`<branch>-DIVERGED-<UTC time>`) may be longer than chosen ones.
const (
	maxName          = 64
	maxGeneratedName = 128
)

var (
	nameGrammar          = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	generatedNameGrammar = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
)

// Namespace groups dots; it is not a Kubernetes namespace.
type Namespace struct{ text }

// Name is a dot's name within its namespace.
type Name struct{ text }

// BranchName is a branch's name within its dot; the first branch is "master".
type BranchName struct{ text }

// Subdot names a directory in a dot's root, or with RootSubdot the root itself.
type Subdot struct{ text }

// Names that mean something without being chosen by anybody.
var (
	DefaultNamespace = Namespace{text{"admin"}}
	MasterBranch     = BranchName{text{"master"}}
	DefaultSubdot    = Subdot{text{"__default__"}}
	RootSubdot       = Subdot{text{"__root__"}}
)

// ParseNamespace accepts 1 to 64 of A-Z a-z 0-9 _ and -.
func ParseNamespace(s string) (Namespace, error) {
	t, err := parseName("namespace", s)
	return Namespace{t}, err
}

// ParseName accepts 1 to 64 of A-Z a-z 0-9 _ and -.
func ParseName(s string) (Name, error) {
	t, err := parseName("dot name", s)
	return Name{t}, err
}

// ParseSubdot accepts the same characters as ParseName. Names that start with
// "_" are reserved, so that only __default__ and __root__ pass of these.
func ParseSubdot(s string) (Subdot, error) {
	t, err := parseName("subdot", s)
	if err == nil && s[0] == '_' && s != DefaultSubdot.s && s != RootSubdot.s {
		return Subdot{}, Invalid("subdot %q is reserved: names that start with \"_\" are kept for %s and %s", s, DefaultSubdot, RootSubdot)
	}
	return Subdot{t}, err
}

// ParseBranchName accepts up to 128 characters, because generated names are
// longer than chosen ones.
func ParseBranchName(s string) (BranchName, error) {
	if !generatedNameGrammar.MatchString(s) {
		return BranchName{}, badName("branch name", s, maxGeneratedName)
	}
	return BranchName{text{s}}, nil
}

func parseName(what, s string) (text, error) {
	if !nameGrammar.MatchString(s) {
		return text{}, badName(what, s, maxName)
	}
	return text{s}, nil
}

func badName(what, s string, limit int) error {
	shown := s
	if len(shown) > limit {
		shown = shown[:limit] + "…"
	}
	return Invalid("%s %q is not valid: use 1 to %d letters, digits, \"_\" or \"-\"", what, shown, limit)
}

// IsRoot tells whether the subdot is the dot's root itself.
func (s Subdot) IsRoot() bool { return s == RootSubdot }

// FullName is a dot's namespace and name; it is what people call a dot.
type FullName struct {
	Namespace Namespace
	Name      Name
}

// String gives "namespace/name".
func (n FullName) String() string { return n.Namespace.String() + "/" + n.Name.String() }

// text is the shared body of the name and id types: comparable, printable and
// usable in JSON and as a map key.
type text struct{ s string }

// String gives the value, or "" for none.
func (t text) String() string { return t.s }

// IsZero tells whether there is no value.
func (t text) IsZero() bool { return t.s == "" }

// MarshalText implements encoding.TextMarshaler.
func (t text) MarshalText() ([]byte, error) { return []byte(t.s), nil }

// unmarshal lets each type parse what it reads, so that a stored or received
// value is checked like one that a user typed. Empty means none.
func unmarshal[T any](into *T, b []byte, parse func(string) (T, error)) error {
	if len(b) == 0 {
		var none T
		*into = none
		return nil
	}
	v, err := parse(string(b))
	if err != nil {
		return fmt.Errorf("unmarshal: %w", err)
	}
	*into = v
	return nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Namespace) UnmarshalText(b []byte) error { return unmarshal(n, b, ParseNamespace) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Name) UnmarshalText(b []byte) error { return unmarshal(n, b, ParseName) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *BranchName) UnmarshalText(b []byte) error { return unmarshal(n, b, ParseBranchName) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Subdot) UnmarshalText(b []byte) error { return unmarshal(s, b, ParseSubdot) }
