package names

import (
	"strings"
	"testing"
)

func TestCheckPool(t *testing.T) {
	for _, good := range []string{"pool", "A-b_c.d:1", "logs", "c", "cx", "mirro", "Log", "a.", strings.Repeat("p", Max)} {
		if err := CheckPool(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "1a", ".a", "_a", "-a", "a b", "a%b", "a/b", "a@b", "é", "mirror", "raidz1", "draid", "spare", "log", "c0", "c9d0", strings.Repeat("p", Max+1)} {
		if CheckPool(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestCheckComponent(t *testing.T) {
	for _, good := range []string{"0a", "log", "mirror", ".a", "..."} {
		if err := CheckComponent(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "-r", "a b", "%recv", "a@b", "a#b"} {
		if CheckComponent(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
