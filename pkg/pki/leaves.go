package pki

import (
	"crypto/x509"
	"slices"
	"time"
)

// Leaf is one of a deployment's certificates below the CA.
type Leaf struct {
	// Secret holds it.
	Secret string
	leaf   leaf
}

// Leaves are all certificates of the deployment.
func (c BundleConfig) Leaves() []Leaf {
	c = c.withDefaults()
	server := c.serviceNames(serverService)
	server.DNS = append(server.DNS, c.Extra.DNS...)
	server.IPs = append(server.IPs, c.Extra.IPs...)
	etcd := c.serviceNames(etcdService, etcdCluster, etcdClients)
	return []Leaf{
		{SecretServerTLS, apiLeaf(server)},
		// etcd shows its server certificate also as a client of itself.
		{SecretEtcdServer, peerLeaf(etcd)},
		{SecretEtcdPeer, peerLeaf(etcd)},
		{SecretEtcdClient, clientLeaf("dotmesh-server", RoleEtcd)},
		{SecretOperatorClient, clientLeaf("dotmesh-operator", RoleOperator)},
	}
}

// Issue makes it.
func (l Leaf) Issue(ca *CA, validity time.Duration, now time.Time) (Pair, error) {
	return ca.issue(l.leaf, validity, now)
}

// NamedBy tells whether a certificate has every name and address that this one
// needs; others do no harm.
func (l Leaf) NamedBy(cert *x509.Certificate) bool {
	for _, name := range l.leaf.names.DNS {
		if !slices.Contains(cert.DNSNames, name) {
			return false
		}
	}
	for _, ip := range l.leaf.names.IPs {
		if !slices.ContainsFunc(cert.IPAddresses, ip.Equal) {
			return false
		}
	}
	return true
}

func serverLeaf(names Names) leaf {
	return leaf{names: names, uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
}

func apiLeaf(names Names) leaf {
	return leaf{role: RoleServer, names: names, uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
}

func peerLeaf(names Names) leaf {
	return leaf{names: names, uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
}

func clientLeaf(commonName string, role Role) leaf {
	return leaf{subject: commonName, role: role, uses: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}
