package config

import (
	"net"
	"strconv"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// LogAddress is a syslog server. The zero value is none: logs go to standard
// output.
type LogAddress struct {
	network, host string
	port          uint16
}

// syslogPort is where a syslog server listens when only its host is known (RFC 5426).
const syslogPort = 514

// ParseLogAddress reads "host" (UDP, port 514), "udp://host:port",
// "tcp://host:port" or "", where host is an IP address or a DNS name.
func ParseLogAddress(s string) (LogAddress, error) {
	if s == "" {
		return LogAddress{}, nil
	}
	address, ok := LogAddress{network: "udp", host: s, port: syslogPort}, true
	if network, rest, full := strings.Cut(s, "://"); full {
		address, ok = fullAddress(network, rest)
	}
	host, err := dot.ParseHost(address.host)
	if address.host = host.String(); !ok || err != nil {
		return LogAddress{}, refuse(s, "host, udp://host:port or tcp://host:port, where host is an IP address or a DNS name (an IPv6 address before a port stands in brackets), or nothing for standard output")
	}
	return address, nil
}

func fullAddress(network, hostPort string) (LogAddress, bool) {
	host, digits, err := net.SplitHostPort(hostPort)
	port, notNumber := strconv.ParseUint(digits, 10, 16)
	ok := err == nil && notNumber == nil && port > 0 && (network == "udp" || network == "tcp")
	return LogAddress{network, host, uint16(port)}, ok
}

// IsZero tells whether logs go to standard output.
func (a LogAddress) IsZero() bool { return a == LogAddress{} }

// Network is "udp" or "tcp", for a dialer.
func (a LogAddress) Network() string { return a.network }

// HostPort is "host:port", for a dialer.
func (a LogAddress) HostPort() string {
	return net.JoinHostPort(a.host, strconv.Itoa(int(a.port)))
}

// String gives "udp://host:port" or "tcp://host:port", "" for none.
func (a LogAddress) String() string {
	if a.IsZero() {
		return ""
	}
	return a.network + "://" + a.HostPort()
}
