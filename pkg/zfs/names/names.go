// Package names has the grammar of ZFS's names. It is apart from pkg/zfs so that
// whoever only checks a name does not link what runs zpool.
package names

import (
	"fmt"
	"strings"
)

// Max is ZFS's limit on a full name, dataset and snapshot together, without the
// terminating zero (ZFS_MAX_DATASET_NAME_LEN is 256).
const Max = 255

// CheckPool accepts what zpool-create(8) does, without its historical exceptions:
// letters, digits, "_", "-", ".", ":", beginning with a letter, and none of the
// reserved words (mirror, raidz…, draid…, spare, log, and what looks like a
// Solaris disk: c0…c9).
func CheckPool(s string) error {
	if err := CheckComponent(s); err != nil {
		return err
	}
	if !isLetter(s[0]) {
		return fmt.Errorf("it must begin with a letter")
	}
	for _, word := range []string{"mirror", "raidz", "draid", "spare"} {
		if strings.HasPrefix(s, word) {
			return fmt.Errorf("names that begin with %q are reserved", word)
		}
	}
	if s == "log" || (len(s) > 1 && s[0] == 'c' && s[1] >= '0' && s[1] <= '9') {
		return fmt.Errorf("the name is reserved")
	}
	return nil
}

// CheckComponent allows what zfs(8) does between two "/" or after an "@", less
// the space (which its -H output and mount tables quote differently) and "%"
// (which marks ZFS's own hidden datasets), and refuses what could be taken for an
// option or a relative path.
func CheckComponent(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("empty component")
	case len(s) > Max:
		return fmt.Errorf("component of %d bytes, at most %d are allowed", len(s), Max)
	case s == "." || s == "..":
		return fmt.Errorf("%q is not a component", s)
	case s[0] == '-':
		return fmt.Errorf("component %q begins with %q", s, "-")
	}
	for i := range len(s) {
		c := s[i]
		if !isLetter(c) && (c < '0' || c > '9') && strings.IndexByte("_-.:", c) < 0 {
			return fmt.Errorf("component %q has the character %q; allowed are letters, digits and _ - . :", s, rune(c))
		}
	}
	return nil
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
