package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs a cluster's certificates; all live in one directory as
// <name>.crt, <name>.key and, for clients, <name>.kubeconfig.
type authority struct {
	dir    string
	server string // URL of the API server
	cert   *x509.Certificate
	key    crypto.Signer
	pem    []byte
}

func newAuthority(dir, server string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	a := &authority{dir: dir, server: server}
	tmpl := template("lab-ca", nil)
	tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	certPEM, _, err := a.issue("ca", tmpl)
	a.pem = certPEM
	return a, err
}

// openAuthority is the one that newAuthority has made there.
func openAuthority(dir, server string) (*authority, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, fmt.Errorf("the cluster's certificate authority: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key of the cluster's certificate authority cannot sign")
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	return &authority{dir: dir, server: server, cert: pair.Leaf, key: key, pem: certPEM}, nil
}

// node issues a kubelet's certificate and kubeconfig.
func (a *authority) node(name string) error {
	return a.client(name, "system:node:"+name, "system:nodes")
}

func template(user string, groups []string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: user, Organization: groups},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(0, 1, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// issue writes name.crt and name.key; the first one issued signs itself and all others.
func (a *authority) issue(name string, tmpl *x509.Certificate) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if a.cert == nil {
		a.cert, a.key = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	if tmpl == a.cert {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			return nil, nil, err
		}
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	if err := os.WriteFile(filepath.Join(a.dir, name+".crt"), certPEM, 0o644); err != nil {
		return nil, nil, err
	}
	return certPEM, keyPEM, os.WriteFile(filepath.Join(a.dir, name+".key"), keyPEM, 0o600)
}

// serving issues a certificate for the given IP addresses and DNS names.
func (a *authority) serving(name string, hosts ...string) error {
	tmpl := template(name, nil)
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	_, _, err := a.issue(name, tmpl)
	return err
}

// client issues a user's certificate and kubeconfig.
func (a *authority) client(name, user string, groups ...string) error {
	cert, key, err := a.issue(name, template(user, groups))
	if err != nil {
		return err
	}
	b64 := base64.StdEncoding.EncodeToString
	conf := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: lab
contexts: [{name: lab, context: {cluster: lab, user: lab}}]
clusters: [{name: lab, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: lab, user: {client-certificate-data: %s, client-key-data: %s}}]
`, a.server, b64(a.pem), b64(cert), b64(key))
	return os.WriteFile(filepath.Join(a.dir, name+".kubeconfig"), []byte(conf), 0o600)
}
