package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

const (
	// userSecret is the user's: no API key is ever built in or made up.
	userSecret   = "dotmesh"
	apiKeyFile   = "dotmesh-api-key.txt"
	passwordFile = "dotmesh-admin-password.txt"

	// userConfig is the ConfigMap that the user is told on.
	userConfig = specs.ConfigurationName
)

// Missing tells what the servers still need, and what to do about it; "" when all
// is there.
func (r *Reconciler) Missing(ctx context.Context) (string, error) {
	user, err := r.missingFromUser(ctx)
	if err != nil || user != "" {
		return user, err
	}
	var missing []string
	for _, name := range []string{pki.SecretCACert, pki.SecretServerTLS, pki.SecretEtcdClient, pki.SecretOperatorClient} {
		if _, err := r.get(ctx, name); apierrors.IsNotFound(err) {
			missing = append(missing, name)
		} else if err != nil {
			return "", fmt.Errorf("look for the Secret %s: %w", name, err)
		}
	}
	if len(missing) > 0 {
		return "the certificates are not all there yet: " + strings.Join(missing, ", "), nil
	}
	return "", nil
}

// missingFromUser tells how to create what only the user can.
func (r *Reconciler) missingFromUser(ctx context.Context) (string, error) {
	found, err := r.get(ctx, userSecret)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("look for the Secret %s: %w", userSecret, err)
	}
	var missing []string
	for _, file := range []string{apiKeyFile, passwordFile} {
		if len(strings.TrimSpace(string(found.Data[file]))) == 0 {
			missing = append(missing, file)
		}
	}
	if len(missing) > 0 {
		return fmt.Sprintf("Secret %s lacks %s: write an API key and a password, each into a file, and run `kubectl -n %s create secret generic %s --from-file=%s --from-file=%s`; servers start when it is there",
			userSecret, strings.Join(missing, " and "), r.Namespace, userSecret, apiKeyFile, passwordFile), nil
	}
	if !r.ExternalEtcd {
		return "", nil
	}
	switch _, err := r.get(ctx, pki.SecretEtcdClient); {
	case apierrors.IsNotFound(err):
		return fmt.Sprintf("Secret %s does not exist: create it with %s, %s and %s that your etcd accepts", pki.SecretEtcdClient, pki.CAFile, pki.CertFile, pki.KeyFile), nil
	case err != nil:
		return "", fmt.Errorf("look for the Secret %s: %w", pki.SecretEtcdClient, err)
	}
	return "", nil
}

func (r *Reconciler) get(ctx context.Context, name string) (corev1.Secret, error) {
	var found corev1.Secret
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, &found)
	return found, err
}

// tell puts what only the user can do on the ConfigMap that they wrote.
func (r *Reconciler) tell(ctx context.Context, plan Plan) error {
	user, err := r.missingFromUser(ctx)
	if err != nil {
		return err
	}
	var on corev1.ConfigMap
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: userConfig}, &on); err != nil {
		return client.IgnoreNotFound(err)
	}
	ref := specs.ConfigMapReference(&on)
	for reason, text := range map[string]string{"SecretMissing": user, "Certificates": plan.Problem, "NotYetValid": plan.Early} {
		if text != "" {
			r.Events.Warning(ref, reason, text)
		}
	}
	return nil
}

// ClientTLS makes the TLS configuration of a client from a Secret of a
// certificate: pki.SecretOperatorClient towards servers, pki.SecretEtcdClient
// towards etcd.
func ClientTLS(ctx context.Context, reader client.Reader, namespace, secret string) (*tls.Config, error) {
	var found corev1.Secret
	if err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: secret}, &found); err != nil {
		return nil, dot.Unavailable("read the Secret %s: %w", secret, err)
	}
	cfg, err := pki.ClientConfig(found.Data)
	if err != nil {
		return nil, dot.Precondition("the Secret %s cannot be used: %w", secret, err)
	}
	return cfg, nil
}
