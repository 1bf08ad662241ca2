package pki

import (
	"fmt"
	"net"
	"time"
)

// The Secrets of a deployment.
const (
	SecretCA         = "dotmesh-ca"          // certificate and key: for `dotmesh certs` only, mounted nowhere
	SecretCACert     = "dotmesh-ca-cert"     // the certificate alone
	SecretServerTLS  = "dotmesh-server-tls"  // the API on 32607, and servers towards each other
	SecretEtcdServer = "dotmesh-etcd-server" // etcd's client port
	SecretEtcdPeer   = "dotmesh-etcd-peer"   // etcd's peer port
	SecretEtcdClient = "dotmesh-etcd-client" // servers, towards etcd

	SecretOperatorClient = "dotmesh-operator-client" // the operator, towards servers
)

// The Services that certificates name.
const (
	serverService = "dotmesh"
	etcdService   = "dotmesh-etcd"
	etcdCluster   = "dotmesh-etcd-cluster"
	etcdClients   = "dotmesh-etcd-cluster-client"
)

// BundleConfig tells what a deployment's certificates are for.
type BundleConfig struct {
	// CA signs them; nil makes a new one.
	CA *CA
	// Namespace is the Kubernetes namespace of the Services; "" means dotmesh.
	Namespace string
	// ClusterDomain of the cluster's DNS; "" means cluster.local.
	ClusterDomain string
	// Extra names and addresses that people and other clusters reach the API by.
	Extra Names
	// Validity of the leaves; 0 means LeafValidity.
	Validity time.Duration
	Now      time.Time
}

// Bundle makes all certificates of a deployment.
func Bundle(cfg BundleConfig) (Secrets, error) {
	cfg = cfg.withDefaults()
	if !dnsLabel.MatchString(cfg.Namespace) {
		return nil, fmt.Errorf("%q is not the name of a Kubernetes namespace", cfg.Namespace)
	}
	if cfg.CA == nil {
		ca, err := NewCA("dotmesh", cfg.Now)
		if err != nil {
			return nil, err
		}
		cfg.CA = ca
	}
	caKey, err := cfg.CA.KeyPEM()
	if err != nil {
		return nil, err
	}
	ca := cfg.CA.CertPEM()
	secrets := Secrets{
		SecretCA:     {CAFile: ca, CAKeyFile: caKey},
		SecretCACert: {CAFile: ca},
	}
	for _, leaf := range cfg.Leaves() {
		pair, err := leaf.Issue(cfg.CA, cfg.Validity, cfg.Now)
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", leaf.Secret, err)
		}
		secrets[leaf.Secret] = map[string][]byte{CAFile: ca, CertFile: pair.Cert, KeyFile: pair.Key}
	}
	return secrets, nil
}

func (c BundleConfig) withDefaults() BundleConfig {
	if c.Namespace == "" {
		c.Namespace = "dotmesh"
	}
	if c.ClusterDomain == "" {
		c.ClusterDomain = "cluster.local"
	}
	if c.Validity == 0 {
		c.Validity = LeafValidity
	}
	return c
}

// serviceNames gives every form in which a pod names a Service, and the pods of
// a headless one, and this machine.
func (c BundleConfig) serviceNames(services ...string) Names {
	var dns []string
	for _, service := range services {
		inNamespace := service + "." + c.Namespace
		dns = append(dns, service, inNamespace, inNamespace+".svc", inNamespace+".svc."+c.ClusterDomain,
			"*."+inNamespace+".svc", "*."+inNamespace+".svc."+c.ClusterDomain)
	}
	local := LocalNames()
	return Names{DNS: append(dns, local.DNS...), IPs: local.IPs}
}

// LocalNames are those of the machine itself.
func LocalNames() Names {
	return Names{DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
}
