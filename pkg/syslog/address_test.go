package syslog

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string][3]string{ // as written again, and for a dialer
		"":                    {},
		"10.0.0.1":            {"udp://10.0.0.1:514", "udp", "10.0.0.1:514"},
		"Logs.Example":        {"udp://logs.example:514", "udp", "logs.example:514"},
		"fd00:0::1":           {"udp://[fd00::1]:514", "udp", "[fd00::1]:514"},
		"udp://logs:1514":     {"udp://logs:1514", "udp", "logs:1514"},
		"tcp://[fd00::0:1]:6": {"tcp://[fd00::1]:6", "tcp", "[fd00::1]:6"},
	} {
		a, err := ParseAddress(in)
		if err != nil || a.IsZero() != (in == "") || a.String() != want[0] || a.Network() != want[1] || !a.IsZero() && a.HostPort() != want[2] {
			t.Errorf("%q: got %q, %v, want %q", in, a, err, want)
		}
		if again, err := ParseAddress(a.String()); err != nil || again != a {
			t.Errorf("%q: got %q, %v from %q", in, again, err, a)
		}
	}
	for _, in := range []string{"logs:514", "http://logs:80", "udp://logs", "tcp://:514", "udp://logs:0", "udp://logs:65536", "udp://logs:514/", "udp://fd00::1:514", "0.0.0.0", "a_b", "UDP://a:1", "://", strings.Repeat("a.", 500)} {
		if a, err := ParseAddress(in); err == nil || len(err.Error()) > 300 {
			t.Errorf("%q: got %q, %v, want an error of a line", in, a, err)
		}
	}
}
