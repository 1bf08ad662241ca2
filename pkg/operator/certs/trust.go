package certs

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// skew is how far the clocks of the operator's nodes may differ.
const skew = time.Hour

// trust is what goes into every ca.crt.
type trust struct {
	pem []byte
	// spread tells whether everybody believes the CA that signs.
	spread bool
	// settled is when what was written last has spread; zero when it has.
	settled time.Time
}

// trust keeps every CA that somebody may still meet a certificate of: those that
// certificates are of, and, until the last change has spread, all that were there.
func (s State) trust(ca *pki.CA) trust {
	before := s.trusted()
	settled := s.lastChange().Add(Spread)
	arrived := !s.Now.Before(settled)
	signer := []*x509.Certificate{ca.Cert()}
	var keep []*x509.Certificate
	for _, old := range before {
		if !has(signer, old) && s.Now.Before(old.NotAfter) && (!arrived || has(s.issuers(), old)) {
			keep = append(keep, old)
		}
	}
	t := trust{pem: pki.CertsPEM(append(signer, keep...))}
	t.spread = arrived && s.everywhere(ca.Cert()) && s.EtcdTrusts(t.pem)
	if !arrived {
		t.settled = settled
	}
	return t
}

// ours are the Secrets of ours that carry a ca.crt to believe.
func (s State) ours() []Secret {
	var all []Secret
	for _, name := range append([]string{pki.SecretCACert}, s.leafSecrets()...) {
		if held, ok := s.Secrets[name]; ok && held.Ours {
			all = append(all, held)
		}
	}
	return all
}

// trusted are the CAs in the ca.crt of any Secret of ours, in their order.
func (s State) trusted() []*x509.Certificate {
	var all []*x509.Certificate
	for _, held := range s.ours() {
		certs, _ := pki.ParseCerts(held.Data[pki.CAFile]) // what cannot be read is replaced
		for _, cert := range certs {
			if !has(all, cert) {
				all = append(all, cert)
			}
		}
	}
	return all
}

// issuers are the CAs of the certificates of ours that are in use.
func (s State) issuers() []*x509.Certificate {
	var all []*x509.Certificate
	for _, held := range s.ours() {
		if _, issuer, err := pair(held.Data); err == nil {
			all = append(all, issuer)
		}
	}
	return all
}

func (s State) everywhere(ca *x509.Certificate) bool {
	for _, held := range s.ours() {
		certs, err := pki.ParseCerts(held.Data[pki.CAFile])
		if err != nil || !has(certs, ca) {
			return false
		}
	}
	return true
}

// lastChange leaves out what was written by a clock that was ahead: nobody knows when.
func (s State) lastChange() time.Time {
	var last time.Time
	for _, held := range s.ours() {
		if held.Changed.After(last) && held.Changed.Before(s.Now.Add(skew)) {
			last = held.Changed
		}
	}
	return last
}

func has(certs []*x509.Certificate, cert *x509.Certificate) bool {
	return slices.ContainsFunc(certs, func(c *x509.Certificate) bool { return bytes.Equal(c.Raw, cert.Raw) })
}
