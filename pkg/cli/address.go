package cli

import (
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const defaultUser = "admin"

var hostGrammar = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

// splitAddress reads [user@]host[:port]; an IPv6 address with a port is in
// brackets.
func splitAddress(s string) (user, address string, err error) {
	user, host := defaultUser, s
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		user, host = s[:at], s[at+1:]
	}
	port := client.DefaultPort
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	} else if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	if _, err := dot.ParseName(user); err != nil {
		return "", "", dot.Invalid("the user in %q is not valid: use 1 to 64 letters, digits, \"_\" or \"-\"", s)
	}
	if !hostGrammar.MatchString(host) && net.ParseIP(host) == nil {
		return "", "", dot.Invalid("%q does not name a server: give [user@]host[:port]", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", dot.Invalid("port %q of %q is not valid", port, s)
	}
	return user, net.JoinHostPort(host, port), nil
}
