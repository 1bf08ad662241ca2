package zfs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/names"
)

// Property is the name of a native property ("compression"), of one with an
// argument ("projectquota@1001") or of a user property ("io.dotmesh:branch").
// It is a string so that callers can declare constants; every call checks it
// and answers ErrInvalidName for what zfs(8) would not take as one name.
type Property string

// Native properties that this package or its callers name.
const (
	PropType         Property = "type"
	PropGUID         Property = "guid"
	PropCreateTXG    Property = "createtxg"
	PropOrigin       Property = "origin"
	PropClones       Property = "clones"
	PropUsed         Property = "used"
	PropAvailable    Property = "available"
	PropReferenced   Property = "referenced"
	PropLogicalUsed  Property = "logicalused"
	PropWritten      Property = "written"
	PropReadonly     Property = "readonly"
	PropMountpoint   Property = "mountpoint"
	PropCanmount     Property = "canmount"
	PropAtime        Property = "atime"
	PropDevices      Property = "devices"
	PropXattr        Property = "xattr"
	PropACLType      Property = "acltype"
	PropCompression  Property = "compression"
	PropRecordsize   Property = "recordsize"
	PropQuota        Property = "quota"
	PropRefquota     Property = "refquota"
	PropReceiveToken Property = "receive_resume_token"
)

// MaxValue is the largest value of a user property in bytes
// (ZAP_MAXVALUELEN less the terminating zero).
const MaxValue = 8191

// Check reports ErrInvalidName for what is not one property's name.
func (p Property) Check() error {
	s := string(p)
	if s == "" || len(s) > names.Max {
		return fmt.Errorf("property name of %d bytes: %w", len(s), ErrInvalidName)
	}
	if s[0] == '-' {
		return fmt.Errorf("property name %q: %w: it begins with %q", s, ErrInvalidName, "-")
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("_-.:@#", c) < 0 {
			return fmt.Errorf("property name %q: %w: character %q", s, ErrInvalidName, rune(c))
		}
	}
	return nil
}

// IsUser reports whether p is a user property: its name has a colon.
func (p Property) IsUser() bool { return strings.IndexByte(string(p), ':') >= 0 }

// Props are properties to set. Values of user properties have at most MaxValue
// bytes and no control characters (a tab or newline would make the output of
// zfs-get(8) ambiguous): encode what may hold them, for instance as JSON.
type Props map[Property]string

// Check reports ErrInvalidName or ErrInvalidValue for the first bad entry.
func (p Props) Check() error {
	for _, name := range p.names() {
		if err := name.Check(); err != nil {
			return err
		}
		value := p[name]
		if len(value) > MaxValue {
			return fmt.Errorf("value of %s has %d bytes: %w: at most %d are allowed", name, len(value), ErrInvalidValue, MaxValue)
		}
		for i := range len(value) {
			if value[i] < 0x20 || value[i] == 0x7f {
				return fmt.Errorf("value of %s: %w: control character %q", name, ErrInvalidValue, rune(value[i]))
			}
		}
	}
	return nil
}

// names are sorted, so that the same properties always give the same command.
func (p Props) names() []Property {
	names := make([]Property, 0, len(p))
	for name := range p {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// args are "flag name=value" pairs.
func (p Props) args(flag string) []string {
	args := make([]string, 0, 2*len(p))
	for _, name := range p.names() {
		args = append(args, flag, string(name)+"="+p[name])
	}
	return args
}

// SourceKind says where a property's value comes from.
type SourceKind string

// Source kinds as `zfs get -s` names them.
const (
	SourceLocal     SourceKind = "local"
	SourceDefault   SourceKind = "default"
	SourceInherited SourceKind = "inherited"
	SourceTemporary SourceKind = "temporary"
	SourceReceived  SourceKind = "received"
	SourceNone      SourceKind = "none" // read-only property: printed as "-"
)

// Value is a property's value with its source. Numbers are exact (`-p`); "-"
// is printed by ZFS for a value that does not apply or is not set.
type Value struct {
	Value  string
	Source SourceKind
	// From is the dataset that an inherited value comes from, else "".
	From string
}

// Values are properties as read. Missing are those that ZFS did not print.
type Values map[Property]Value

// Local is the value if it was set on this very item (source "local").
func (v Values) Local(p Property) (string, bool) {
	value, ok := v[p]
	return value.Value, ok && value.Source == SourceLocal
}

// Uint is a numeric property; "-" and "none" are 0.
func (v Values) Uint(p Property) (uint64, error) {
	value, ok := v[p]
	switch {
	case !ok:
		return 0, fmt.Errorf("property %s was not read: %w", p, ErrUnexpectedOutput)
	case value.Value == "-" || value.Value == "none":
		return 0, nil
	}
	n, err := strconv.ParseUint(value.Value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("property %s is %q: %w", p, value.Value, ErrUnexpectedOutput)
	}
	return n, nil
}

// GUID is ZFS's identity of a pool, a dataset or a snapshot. It stays the same
// under rename, promote and, for snapshots, send and receive.
type GUID uint64

func (g GUID) String() string { return strconv.FormatUint(uint64(g), 10) }

// ParseGUID parses the decimal form.
func ParseGUID(s string) (GUID, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a ZFS GUID: %w", s, ErrInvalidName)
	}
	return GUID(n), nil
}
