package dot

import (
	"strings"
	"testing"
)

func TestParseHost(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1": "10.0.0.1", "fd00:0::1": "fd00::1", "Logs.Example": "logs.example", "a": "a", "a-1.b2": "a-1.b2", "1a": "1a",
		strings.Repeat("a.", 126) + "a": strings.Repeat("a.", 126) + "a",
	} {
		if got, err := ParseHost(in); err != nil || got.String() != want {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", ".", "a.", "a..b", "-a", "a-", "a_b", "a b", "a:1", "[fd00::1]", "10.0.0.300", "10", "0.0.0.0", "::", "fe80::1%eth0", "$(HOST)", "ä",
		strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a"} {
		if got, err := ParseHost(in); err == nil {
			t.Errorf("%q: got %q, want an error", in, got)
		}
	}
}
