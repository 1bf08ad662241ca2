package main

import (
	"crypto/tls"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

// etcdTLS are the files with which a member of etcd's own pod asks etcd.
type etcdTLS struct{ ca, cert, key string }

func (t *etcdTLS) addFlags(f *pflag.FlagSet) {
	f.StringVar(&t.ca, "ca", "", "PEM file of the CA of etcd's certificate")
	f.StringVar(&t.cert, "cert", "", "PEM file of the client certificate; read again each time")
	f.StringVar(&t.key, "key", "", "PEM file of its key")
}

// read reads the files as they are now.
func (t *etcdTLS) read() (*tls.Config, error) {
	files := map[string][]byte{}
	for name, path := range map[string]string{pki.CAFile: t.ca, pki.CertFile: t.cert, pki.KeyFile: t.key} {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("the certificates for etcd cannot be read: %w", err)
		}
		files[name] = content
	}
	return pki.ClientConfig(files)
}
