package zfs

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Version is of a userland or a kernel module, e.g. "2.1.11-1+deb12u1".
type Version struct {
	Full         string
	Major, Minor int
}

// ParseVersion parses "2.1.11-1+deb12u1", with or without a leading "zfs-" or
// "zfs-kmod-".
func ParseVersion(s string) (Version, error) {
	full := strings.TrimSpace(s)
	full = strings.TrimPrefix(strings.TrimPrefix(full, "zfs-"), "kmod-")
	major, rest, ok := strings.Cut(full, ".")
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	v := Version{Full: full}
	var err1, err2 error
	v.Major, err1 = strconv.Atoi(major)
	v.Minor, err2 = strconv.Atoi(rest[:digits])
	if !ok || err1 != nil || err2 != nil || v.Major < 0 || len(full) > 100 {
		return Version{}, fmt.Errorf("ZFS version %q: %w", shorten(s), ErrUnexpectedOutput)
	}
	return v, nil
}

func (v Version) String() string { return v.Full }

// SameMinor reports whether major and minor agree, which is what userland and
// module must do at least.
func (v Version) SameMinor(other Version) bool {
	return v.Major == other.Major && v.Minor == other.Minor
}

// Userland runs `zfs version` and returns the userland's version. zfs(8) says
// nothing, not even that, while the module is missing: ErrModuleMissing.
func (c *Client) Userland(ctx context.Context) (Version, error) {
	out, err := c.zfs(ctx, "version")
	if err != nil {
		return Version{}, err
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return ParseVersion(first)
}
