package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

func TestCertsWritesSecrets(t *testing.T) {
	var out bytes.Buffer
	o := certsOptions{namespace: "storage", clusterDomain: "cluster.local", validity: time.Hour}
	if err := runCerts(&out, o, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kind: Secret", "namespace: storage", "name: " + pki.SecretCACert, "name: " + pki.SecretServerTLS, "name: " + pki.SecretEtcdClient} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the YAML does not say %q", want)
		}
	}
}

func TestCertsRenewsWithTheSameCA(t *testing.T) {
	first, second := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	o := certsOptions{namespace: "dotmesh", validity: time.Hour, dir: first, hosts: []string{"dot.example.com", "10.1.2.3"}}
	if err := runCerts(nil, o, time.Now()); err != nil {
		t.Fatal(err)
	}
	o.dir, o.caDir = second, filepath.Join(first, pki.SecretCA)
	if err := runCerts(nil, o, time.Now()); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, filepath.Join(first, pki.SecretCACert, pki.CAFile)))
	block, _ := pem.Decode(read(t, filepath.Join(second, pki.SecretServerTLS, pki.CertFile)))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dotmesh.dotmesh.svc", "dot.example.com", net.ParseIP("10.1.2.3").String()} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("the renewed certificate does not hold for %s under the first CA: %v", name, err)
		}
	}
	if err := runCerts(nil, o, time.Now()); err == nil {
		t.Error("a directory that holds certificates was written again")
	}
}

func TestCertsRefuses(t *testing.T) {
	for name, o := range map[string]certsOptions{
		"validity":  {namespace: "dotmesh", validity: -time.Hour},
		"namespace": {namespace: "Not_One", validity: time.Hour},
		"CA":        {namespace: "dotmesh", validity: time.Hour, caDir: t.TempDir()},
	} {
		var out bytes.Buffer
		if err := runCerts(&out, o, time.Now()); err == nil || out.Len() > 0 {
			t.Errorf("a bad %s: error %v, %d bytes written", name, err, out.Len())
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
