package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// Spread is how long a changed Secret may take to reach the pods that mount it:
// kubelet looks every minute or so, and may be away for some.
const Spread = 10 * time.Minute

// Secret is one that exists.
type Secret struct {
	Data map[string][]byte
	// Ours is false for the user's.
	Ours bool
	// Changed is when we last wrote it.
	Changed time.Time
}

// State is what a plan is made of.
type State struct {
	Now time.Time
	// Bundle tells names and addresses; its CA and Now are not used.
	Bundle pki.BundleConfig
	// ExternalEtcd is one that is not ours, with certificates that are not.
	ExternalEtcd bool
	// Secrets are those of the deployment that exist, by name.
	Secrets map[string]Secret
	// EtcdTrusts tells whether every running member of etcd has read a ca.crt.
	EtcdTrusts func(ca []byte) bool
}

// Plan is what to do next.
type Plan struct {
	// Write are whole Secrets of ours. What is signed by a CA is never in one plan
	// with the CA.
	Write pki.Secrets
	// Problem tells the user what only they can do; "" for nothing.
	Problem string
	// Early tells what is made anew because it is not valid yet; "" for nothing.
	Early string
	// Again is when time alone makes another plan.
	Again time.Time
}

// Next plans from what is there, and so goes on after a crash at any point.
func Next(s State) (Plan, error) {
	ca, plan, err := s.authority()
	if ca == nil || err != nil || len(plan.Write) > 0 {
		return plan, err
	}
	trust := s.trust(ca)
	want := pki.Secrets{pki.SecretCACert: {pki.CAFile: trust.pem}}
	for _, leaf := range s.leaves() {
		if held, ok := s.Secrets[leaf.Secret]; ok && !held.Ours {
			plan.problem(s.given(leaf.Secret, held))
			continue
		}
		if cert, _, err := pair(s.Secrets[leaf.Secret].Data); err == nil && s.isEarly(cert) && plan.Early == "" {
			plan.Early = early(leaf.Secret, cert)
		}
		files, due, err := s.leaf(leaf, ca, trust)
		if err != nil {
			return Plan{}, fmt.Errorf("secret %s: %w", leaf.Secret, err)
		}
		want[leaf.Secret] = files
		plan.again(due)
	}
	plan.again(trust.settled)
	plan.Write = pki.Secrets{}
	for name, files := range want {
		held, ok := s.Secrets[name]
		if (!ok || held.Ours) && !same(held.Data, files) {
			plan.Write[name] = files
		}
	}
	return plan, nil
}

// authority gives the CA that signs: none, where there can be none or where it is
// to be written first.
func (s State) authority() (*pki.CA, Plan, error) {
	held, exists := s.Secrets[pki.SecretCA]
	if !exists {
		if given := s.allGiven(); len(given) > 0 {
			plan := Plan{Problem: s.withoutCA(given)}
			for _, name := range given {
				plan.problem(s.given(name, s.Secrets[name]))
			}
			return nil, plan, nil
		}
		plan, err := writeCA(pki.NewCA("dotmesh", s.Now))
		return nil, plan, err
	}
	ca, err := pki.LoadCA(held.Data[pki.CAFile], held.Data[pki.CAKeyFile])
	if err != nil {
		return nil, Plan{Problem: unusableCA(held.Ours, err)}, nil
	}
	due := pki.RenewAt(ca.Cert())
	switch {
	case !held.Ours && s.isEarly(ca.Cert()):
		return nil, Plan{Problem: beginning("CA", pki.SecretCA, ca.Cert()), Again: ca.Cert().NotBefore}, nil
	case held.Ours && s.isEarly(ca.Cert()):
		plan, err := writeCA(ca.Renew(s.Now))
		plan.Early = early(pki.SecretCA, ca.Cert())
		return nil, plan, err
	case !held.Ours && s.Now.After(ca.Cert().NotAfter):
		return nil, Plan{Problem: ending("CA", pki.SecretCA, ca.Cert())}, nil
	case !held.Ours && !s.Now.Before(due):
		return ca, Plan{Problem: ending("CA", pki.SecretCA, ca.Cert())}, nil
	case held.Ours && !s.Now.Before(due):
		plan, err := writeCA(ca.Renew(s.Now))
		return nil, plan, err
	}
	return ca, Plan{Again: due}, nil
}

// given tells what is to be done with a certificate of the user's.
func (s State) given(secret string, held Secret) string {
	if secret == pki.SecretCACert {
		return ""
	}
	own, err := tls.X509KeyPair(held.Data[pki.CertFile], held.Data[pki.KeyFile])
	switch {
	case err != nil:
		return fmt.Sprintf("your Secret %s cannot be used: %v", secret, err)
	case s.isEarly(own.Leaf):
		return beginning("certificate", secret, own.Leaf)
	case !s.Now.Before(pki.RenewAt(own.Leaf)):
		return ending("certificate", secret, own.Leaf)
	}
	return ""
}

// isEarly tells whether a certificate is not valid yet: a clock was ahead when it was made.
func (s State) isEarly(cert *x509.Certificate) bool { return s.Now.Before(cert.NotBefore) }

func early(secret string, cert *x509.Certificate) string {
	return fmt.Sprintf("the certificate in the Secret %s is only valid from %s on: the clock of a node of the operator was ahead, or is behind. It is made anew: see that the nodes' clocks are right", secret, cert.NotBefore.Format(time.RFC3339))
}

func beginning(what, secret string, cert *x509.Certificate) string {
	return fmt.Sprintf("the %s in your Secret %s is only valid from %s on: see that the nodes' clocks are right, renew it, or delete the Secret for the operator to make one", what, secret, cert.NotBefore.Format(time.RFC3339))
}

func ending(what, secret string, cert *x509.Certificate) string {
	return fmt.Sprintf("the %s in your Secret %s ends on %s: renew it, or delete the Secret for the operator to make one", what, secret, cert.NotAfter.Format(time.DateOnly))
}

// allGiven are the Secrets below the CA that are the user's.
func (s State) allGiven() []string {
	var names []string
	for _, name := range append(s.leafSecrets(), pki.SecretCACert) {
		if held, ok := s.Secrets[name]; ok && !held.Ours {
			names = append(names, name)
		}
	}
	return names
}

// withoutCA says which certificates are missing beside the user's own.
func (s State) withoutCA(given []string) string {
	var missing []string
	for _, name := range append(s.leafSecrets(), pki.SecretCACert) {
		if _, ok := s.Secrets[name]; !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	slices.Sort(missing)
	return fmt.Sprintf("Secret %s is missing while %s is yours: create it with your CA (`dotmesh certs --ca DIR` prints all), or create %s with ca.crt and ca.key for the operator to sign with, or delete yours for the operator to make them all",
		strings.Join(missing, ", "), strings.Join(given, ", "), pki.SecretCA)
}

func unusableCA(ours bool, err error) string {
	if ours {
		return fmt.Sprintf("Secret %s cannot be used: %v; delete it for the operator to make a new CA", pki.SecretCA, err)
	}
	return fmt.Sprintf("your Secret %s cannot be used: %v; it needs ca.crt and ca.key, as `dotmesh certs` makes them", pki.SecretCA, err)
}

func writeCA(ca *pki.CA, err error) (Plan, error) {
	if err != nil {
		return Plan{}, err
	}
	key, err := ca.KeyPEM()
	return Plan{Write: pki.Secrets{pki.SecretCA: {pki.CAFile: ca.CertPEM(), pki.CAKeyFile: key}}}, err
}

// leaf gives the files of a certificate's Secret, and when time makes them others.
func (s State) leaf(l pki.Leaf, ca *pki.CA, trust trust) (map[string][]byte, time.Time, error) {
	held := s.Secrets[l.Secret].Data
	cert, issuer, err := pair(held)
	if err == nil && s.Now.Before(cert.NotAfter) && !s.isEarly(cert) {
		due := pki.RenewAt(cert)
		if !cert.NotAfter.Before(ca.Cert().NotAfter) {
			due = ca.Cert().NotAfter // another would end with the CA too
		}
		ofAnother := !issuer.Equal(ca.Cert())
		if keep := s.Now.Before(due) && !ofAnother && l.NamedBy(cert); keep || ofAnother && !trust.spread {
			return map[string][]byte{pki.CAFile: trust.pem, pki.CertFile: held[pki.CertFile], pki.KeyFile: held[pki.KeyFile]}, due, nil
		}
	}
	made, err := l.Issue(ca, pki.LeafValidity, s.Now)
	if err != nil {
		return nil, time.Time{}, err
	}
	return map[string][]byte{pki.CAFile: trust.pem, pki.CertFile: made.Cert, pki.KeyFile: made.Key}, time.Time{}, nil
}

// pair reads a certificate that belongs to its key, and the CA that stands after it.
func pair(data map[string][]byte) (cert, issuer *x509.Certificate, err error) {
	if _, err := tls.X509KeyPair(data[pki.CertFile], data[pki.KeyFile]); err != nil {
		return nil, nil, err
	}
	chain, err := pki.ParseCerts(data[pki.CertFile])
	if err != nil {
		return nil, nil, err
	}
	if len(chain) < 2 || chain[0].CheckSignatureFrom(chain[1]) != nil {
		return nil, nil, fmt.Errorf("the certificate is not followed by its CA")
	}
	return chain[0], chain[1], nil
}

// leaves are the certificates that the operator makes.
func (s State) leaves() []pki.Leaf {
	return slices.DeleteFunc(s.Bundle.Leaves(), func(l pki.Leaf) bool {
		return s.ExternalEtcd && slices.Contains([]string{pki.SecretEtcdServer, pki.SecretEtcdPeer, pki.SecretEtcdClient}, l.Secret)
	})
}

func (s State) leafSecrets() []string {
	var names []string
	for _, leaf := range s.leaves() {
		names = append(names, leaf.Secret)
	}
	return names
}

func same(a, b map[string][]byte) bool {
	for name, content := range b {
		if !bytes.Equal(a[name], content) {
			return false
		}
	}
	return len(a) == len(b)
}

// problem keeps the first.
func (p *Plan) problem(text string) {
	if p.Problem == "" {
		p.Problem = text
	}
}

// again keeps the earlier of two times.
func (p *Plan) again(at time.Time) {
	if !at.IsZero() && (p.Again.IsZero() || at.Before(p.Again)) {
		p.Again = at
	}
}
