package dot

import (
	"net/netip"
	"regexp"
	"strings"
)

// Host is where something can be sent to: an IP address or a DNS name, in lower
// case.
type Host struct{ text }

const maxHost = 253

var hostGrammar = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

// ParseHost refuses an address of every interface, and one that is good on one
// machine only. A name whose last label is a number is a mistyped address.
func ParseHost(s string) (Host, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		if ip.Zone() != "" || ip.IsUnspecified() {
			return Host{}, badHost(s)
		}
		return Host{text{ip.String()}}, nil
	}
	name := strings.ToLower(s)
	last := name[strings.LastIndexByte(name, '.')+1:]
	if len(name) > maxHost || !hostGrammar.MatchString(name) || strings.Trim(last, "0123456789") == "" {
		return Host{}, badHost(s)
	}
	return Host{text{name}}, nil
}

func badHost(s string) error {
	return Invalid("host %q is neither an IP address nor a DNS name", clip(s))
}
