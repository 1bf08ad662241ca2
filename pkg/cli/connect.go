package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// currentRemote is the one that --remote names, else the selected one.
func (s *session) currentRemote() (string, remote, error) {
	cfg, err := loadConfig(s.configFile())
	if err != nil {
		return "", remote{}, err
	}
	return cfg.lookup(s.remote)
}

// connect prepares a client of the current remote.
func (s *session) connect() (*client.Client, error) {
	name, r, err := s.currentRemote()
	if err != nil {
		return nil, err
	}
	return s.open(name, r)
}

// open prepares a client of a remote; it connects with the first call.
func (s *session) open(name string, r remote) (*client.Client, error) {
	s.asked = &askedRemote{name: name, address: r.Address, user: r.User}
	trust := client.Trust{Fingerprint: r.Fingerprint}
	if r.CA != "" {
		trust.CAs = x509.NewCertPool()
		if !trust.CAs.AppendCertsFromPEM([]byte(r.CA)) {
			return nil, dot.Invalid("the CA of remote %q is not a PEM certificate", name)
		}
	}
	return client.New(client.Config{
		Address: r.Address,
		Trust:   trust,
		User:    r.User,
		APIKey:  func() (string, error) { return r.APIKey, nil },
		Timeout: s.timeout,
	})
}

// askedRemote is whom a command called; errors of the connection name it.
type askedRemote struct{ name, address, user string }

// explain tells what the errors of a connection mean and what to do; what the
// server itself answered stays as it is, but for a key that it does not accept.
func (s *session) explain(err error) error {
	if err == nil || s.asked == nil {
		return err
	}
	a := s.asked
	if dot.CodeOf(err) == dot.CodeUnauthenticated {
		return dot.Errorf(dot.CodeUnauthenticated, "remote %q (%s) does not accept the API key of user %q (%w): remove the remote and add it again with the key that the cluster has now", a.name, a.address, a.user, err)
	}
	var status *connect.Error
	if !errors.As(err, &status) || connect.IsWireError(status) {
		return err
	}
	var pin *client.ErrFingerprint
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &pin):
		return dot.Errorf(dot.CodePermission, "remote %q (%s): %w; nothing was sent. If you know why, remove the remote and add it again with the new fingerprint", a.name, a.address, pin)
	case errors.As(err, &verification):
		return dot.Errorf(dot.CodePermission, "remote %q (%s): the server's certificate is not believed (%w); nothing was sent. If its CA was made anew, remove the remote and add it again with that CA", a.name, a.address, verification.Err)
	case dot.CodeOf(err) == dot.CodeDeadline:
		return dot.Errorf(dot.CodeDeadline, "remote %q (%s) did not answer within %s: try again, or give it more time with --timeout", a.name, a.address, s.timeout)
	case dot.CodeOf(err) == dot.CodeUnavailable:
		return dot.Errorf(dot.CodeUnavailable, "remote %q (%s) cannot be reached: %w: check that the server runs and that the address is right (dm remote list), and that nothing blocks its port, which is "+client.DefaultPort+" unless the remote was added with another", a.name, a.address, err)
	}
	return fmt.Errorf("remote %q (%s): %w", a.name, a.address, err)
}
