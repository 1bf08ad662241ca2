package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// Role says what a client certificate is for.
type Role string

// The roles of client certificates.
const (
	RoleServer   Role = "dotmesh-server"   // a server, towards other servers
	RoleEtcd     Role = "dotmesh-etcd"     // whoever uses the registry
	RoleOperator Role = "dotmesh-operator" // the operator, towards servers: it asks how they are and has them release pools
)

// Pair is a certificate and its key in PEM. The certificate is followed by that
// of the CA.
type Pair struct {
	Cert []byte
	Key  []byte
}

// String keeps the key out of logs.
func (Pair) String() string { return "(certificate and key)" }

// GoString keeps the key out of logs.
func (p Pair) GoString() string { return p.String() }

// Names are what a server is reached by.
type Names struct {
	DNS []string // "*.name" for every name one label below
	IPs []net.IP
}

// NamesOf tells names from addresses; what is empty is neither.
func NamesOf(hosts []string) Names {
	var n Names
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			n.IPs = append(n.IPs, ip)
		} else if host != "" {
			n.DNS = append(n.DNS, host)
		}
	}
	return n
}

// IssueServer makes a certificate for a server.
func (ca *CA) IssueServer(names Names, validity time.Duration, now time.Time) (Pair, error) {
	return ca.issue(serverLeaf(names), validity, now)
}

// IssueAPI makes a certificate for a server of dots: it serves with it, and shows it
// to other servers as their client, of RoleServer.
func (ca *CA) IssueAPI(names Names, validity time.Duration, now time.Time) (Pair, error) {
	return ca.issue(apiLeaf(names), validity, now)
}

// IssuePeer makes a certificate for a member of etcd: servers that are each
// other's clients.
func (ca *CA) IssuePeer(names Names, validity time.Duration, now time.Time) (Pair, error) {
	return ca.issue(peerLeaf(names), validity, now)
}

// IssueClient makes a certificate for a client of a role.
func (ca *CA) IssueClient(commonName string, role Role, validity time.Duration, now time.Time) (Pair, error) {
	if commonName == "" {
		return Pair{}, errors.New("issue a certificate: the client has no name")
	}
	return ca.issue(clientLeaf(commonName, role), validity, now)
}

type leaf struct {
	subject string
	role    Role
	names   Names
	uses    []x509.ExtKeyUsage
}

func (ca *CA) issue(l leaf, validity time.Duration, now time.Time) (Pair, error) {
	if l.subject == "" {
		switch {
		case len(l.names.DNS) > 0:
			l.subject = l.names.DNS[0]
		case len(l.names.IPs) > 0:
			l.subject = l.names.IPs[0].String()
		default:
			return Pair{}, errors.New("issue a certificate: the server has neither a name nor an address")
		}
	}
	end := now.Add(validity)
	if validity <= 0 || now.After(ca.cert.NotAfter) {
		return Pair{}, fmt.Errorf("issue a certificate: it would not be valid (the CA ends on %s)", ca.cert.NotAfter.Format(time.DateOnly))
	}
	if end.After(ca.cert.NotAfter) {
		end = ca.cert.NotAfter
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("issue a certificate: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: clipName(l.subject)},
		NotBefore:             now.Add(-backdated),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           l.uses,
		BasicConstraintsValid: true,
		DNSNames:              l.names.DNS,
		IPAddresses:           l.names.IPs,
	}
	if l.role != "" {
		template.Subject.OrganizationalUnit = []string{string(l.role)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return Pair{}, fmt.Errorf("issue a certificate: %w", err)
	}
	private, err := keyPEM(key)
	return Pair{Cert: append(certPEM(der), ca.CertPEM()...), Key: private}, err
}

// clipName keeps a common name within 64 characters (RFC 5280, appendix A.1,
// ub-common-name); for servers it means nothing.
func clipName(s string) string {
	const most = 64
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

// RoleOf gives the role of a client certificate, "" for none of ours.
func RoleOf(cert *x509.Certificate) Role {
	if units := cert.Subject.OrganizationalUnit; len(units) == 1 {
		return Role(units[0])
	}
	return ""
}

// RequireRole refuses a certificate of another role.
func RequireRole(cert *x509.Certificate, allowed ...Role) error {
	if role := RoleOf(cert); !slices.Contains(allowed, role) {
		return fmt.Errorf("client certificate %q is of role %q, not of %q", cert.Subject.CommonName, role, allowed)
	}
	return nil
}
