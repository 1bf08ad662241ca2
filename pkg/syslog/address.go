package syslog

import (
	"net"
	"strconv"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// Address is a log server. The zero value is none.
type Address struct {
	network string
	host    dot.Host
	port    uint16
}

// defaultPort is where a log server listens when only its host is known (RFC 5426).
const defaultPort = 514

// ParseAddress reads "host" (UDP, port 514), "udp://host:port", "tcp://host:port"
// or "", where host is an IP address or a DNS name.
func ParseAddress(s string) (Address, error) {
	if s == "" {
		return Address{}, nil
	}
	network, host, port := "udp", s, uint64(defaultPort)
	if scheme, rest, full := strings.Cut(s, "://"); full {
		h, digits, err := net.SplitHostPort(rest)
		n, notNumber := strconv.ParseUint(digits, 10, 16)
		if err != nil || notNumber != nil || n == 0 || (scheme != "udp" && scheme != "tcp") {
			return Address{}, badAddress(s)
		}
		network, host, port = scheme, h, n
	}
	to, err := dot.ParseHost(host)
	if err != nil {
		return Address{}, badAddress(s)
	}
	return Address{network, to, uint16(port)}, nil
}

// maxShown is how much of a bad address an error repeats.
const maxShown = 64

func badAddress(s string) error {
	if len(s) > maxShown {
		s = s[:maxShown] + "…"
	}
	return dot.Invalid("%q is not valid: use host, udp://host:port or tcp://host:port, where host is an IP address or a DNS name (an IPv6 address before a port stands in brackets), or nothing for standard output", s)
}

// IsZero tells whether there is no log server.
func (a Address) IsZero() bool { return a == Address{} }

// Network is "udp" or "tcp", for a dialer.
func (a Address) Network() string { return a.network }

// HostPort is "host:port", for a dialer.
func (a Address) HostPort() string {
	return net.JoinHostPort(a.host.String(), strconv.Itoa(int(a.port)))
}

// String gives "udp://host:port" or "tcp://host:port", "" for none.
func (a Address) String() string {
	if a.IsZero() {
		return ""
	}
	return a.network + "://" + a.HostPort()
}
