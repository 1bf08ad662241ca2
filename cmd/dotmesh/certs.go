package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// certsOptions are the flags of `dotmesh certs`.
type certsOptions struct {
	namespace     string
	clusterDomain string
	hosts         []string
	caDir         string
	validity      time.Duration
	dir           string
}

func newCertsCommand() *cobra.Command {
	var o certsOptions
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "Make the certificates of a deployment as Kubernetes Secrets",
		Long: `Make the CA of a cluster and the certificates that its parts know each other
by. They are written as Secrets, in YAML on standard output or as files below a
new directory. Both hold private keys: keep them as you keep a password.

With --ca the certificates are signed by a CA that an earlier call made, so that
those who trust it go on doing so: this is how certificates are renewed.`,
		Example: `  dotmesh certs | kubectl apply -f -
  dotmesh certs --host dotmesh.example.com --host 10.0.0.7 --dir certs
  dotmesh certs --ca certs/dotmesh-ca | kubectl apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runCerts(cmd.OutOrStdout(), o, time.Now())
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (o *certsOptions) addFlags(f *pflag.FlagSet) {
	f.StringVarP(&o.namespace, "namespace", "n", "dotmesh", "Kubernetes namespace of the deployment")
	f.StringVar(&o.clusterDomain, "cluster-domain", "cluster.local", "domain of the cluster's DNS")
	f.StringArrayVar(&o.hosts, "host", nil, "name or IP address that people or other clusters reach the API by; may be repeated")
	f.StringVar(&o.caDir, "ca", "", "directory with "+pki.CAFile+" and "+pki.CAKeyFile+" of the CA to sign with (default: a new CA)")
	f.DurationVar(&o.validity, "validity", pki.LeafValidity, "how long the certificates are valid; the CA is for ten years")
	f.StringVar(&o.dir, "dir", "", "write a directory of files for each Secret below this new directory, instead of YAML")
}

func runCerts(out io.Writer, o certsOptions, now time.Time) error {
	if o.validity <= 0 {
		return fmt.Errorf("--validity %s: certificates must be valid for some time", o.validity)
	}
	cfg := pki.BundleConfig{Namespace: o.namespace, ClusterDomain: o.clusterDomain, Extra: pki.NamesOf(o.hosts), Validity: o.validity, Now: now}
	if o.caDir != "" {
		ca, err := loadCA(o.caDir)
		if err != nil {
			return err
		}
		cfg.CA = ca
	}
	secrets, err := pki.Bundle(cfg)
	if err != nil {
		return err
	}
	if o.dir != "" {
		return secrets.WriteDir(o.dir)
	}
	text, err := secrets.YAML(o.namespace)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}

func loadCA(dir string) (*pki.CA, error) {
	cert, err := os.ReadFile(filepath.Join(dir, pki.CAFile))
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	key, err := os.ReadFile(filepath.Join(dir, pki.CAKeyFile))
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	return pki.LoadCA(cert, key)
}
