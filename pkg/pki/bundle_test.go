package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func bundle(t *testing.T, cfg BundleConfig) Secrets {
	t.Helper()
	cfg.Now = noon
	secrets, err := Bundle(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return secrets
}

func leafIn(t *testing.T, s Secrets, secret string) *x509.Certificate {
	t.Helper()
	return leafOf(t, Pair{s[secret][CertFile], s[secret][KeyFile]}, nil)
}

func TestBundle(t *testing.T) {
	secrets := bundle(t, BundleConfig{Extra: Names{DNS: []string{"storage.example.org"}, IPs: []net.IP{net.IPv4(192, 0, 2, 7)}}})
	want := map[string][]string{
		SecretCA: {CAFile, CAKeyFile}, SecretCACert: {CAFile},
		SecretServerTLS: {CAFile, CertFile, KeyFile}, SecretEtcdServer: {CAFile, CertFile, KeyFile},
		SecretEtcdPeer: {CAFile, CertFile, KeyFile}, SecretEtcdClient: {CAFile, CertFile, KeyFile},
		SecretOperatorClient: {CAFile, CertFile, KeyFile},
	}
	got := map[string][]string{}
	for name, files := range secrets {
		got[name] = slices.Sorted(maps.Keys(files))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	ca, err := LoadCA(secrets[SecretCA][CAFile], secrets[SecretCA][CAKeyFile])
	if err != nil {
		t.Fatal(err)
	}
	for secret, names := range map[string][]string{
		SecretServerTLS:  {"dotmesh", "dotmesh.dotmesh.svc", "dotmesh.dotmesh.svc.cluster.local", "a.dotmesh.dotmesh.svc", "localhost", "127.0.0.1", "::1", "storage.example.org", "192.0.2.7"},
		SecretEtcdServer: {"dotmesh-etcd.dotmesh.svc", "dotmesh-etcd-cluster", "dotmesh-etcd-cluster-client.dotmesh.svc.cluster.local", "m-0.dotmesh-etcd-cluster.dotmesh.svc", "localhost", "127.0.0.1"},
		SecretEtcdPeer:   {"m-0.dotmesh-etcd-cluster.dotmesh.svc.cluster.local", "m-0.dotmesh-etcd.dotmesh.svc"},
	} {
		for _, name := range names {
			if err := verify(ca, leafIn(t, secrets, secret), name, noon, x509.ExtKeyUsageServerAuth); err != nil {
				t.Errorf("%s: %v", secret, err)
			}
		}
	}
	for _, secret := range []string{SecretServerTLS, SecretEtcdServer, SecretEtcdPeer, SecretEtcdClient} {
		if err := verify(ca, leafIn(t, secrets, secret), "", noon, x509.ExtKeyUsageClientAuth); err != nil {
			t.Errorf("%s: %v", secret, err)
		}
	}
	for secret, want := range map[string]Role{SecretServerTLS: RoleServer, SecretEtcdServer: "", SecretEtcdPeer: "", SecretEtcdClient: RoleEtcd, SecretOperatorClient: RoleOperator} {
		if role := RoleOf(leafIn(t, secrets, secret)); role != want {
			t.Errorf("%s: got role %q, want %q", secret, role, want)
		}
	}
}

func TestBundleKeepsACA(t *testing.T) {
	ca := newCA(t, noon)
	secrets := bundle(t, BundleConfig{CA: ca, Namespace: "storage"})
	if err := verify(ca, leafIn(t, secrets, SecretServerTLS), "dotmesh.storage.svc", noon, x509.ExtKeyUsageServerAuth); err != nil {
		t.Error(err)
	}
	for _, namespace := range []string{"a b", "a\nb", "-", strings.Repeat("a", 64), "A"} {
		if _, err := Bundle(BundleConfig{CA: ca, Namespace: namespace, Now: noon}); err == nil {
			t.Errorf("namespace %q was accepted", namespace)
		}
		if _, err := secrets.YAML(namespace); err == nil {
			t.Errorf("namespace %q was written", namespace)
		}
	}
}

func TestYAMLReadsBack(t *testing.T) {
	secrets := bundle(t, BundleConfig{})
	text, err := secrets.YAML("dotmesh")
	if err != nil {
		t.Fatal(err)
	}
	documents := yaml.NewDecoder(bytes.NewReader(text))
	for range secrets {
		var doc struct {
			APIVersion string `yaml:"apiVersion"`
			Kind, Type string
			Metadata   struct {
				Name, Namespace string
				Labels          map[string]string
			}
			Data map[string]string
		}
		if err := documents.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		want := secrets[doc.Metadata.Name]
		if doc.APIVersion != "v1" || doc.Kind != "Secret" || doc.Metadata.Namespace != "dotmesh" || len(doc.Data) != len(want) || want == nil {
			t.Errorf("got %+v", doc.Metadata)
		}
		if tls := want[CertFile] != nil; tls != (doc.Type == "kubernetes.io/tls") {
			t.Errorf("%s: got type %s", doc.Metadata.Name, doc.Type)
		}
		for file, content := range want {
			if got, err := base64.StdEncoding.DecodeString(doc.Data[file]); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s/%s does not read back (%v)", doc.Metadata.Name, file, err)
			}
		}
	}
	again, err := secrets.YAML("dotmesh")
	if err != nil || !bytes.Equal(text, again) {
		t.Error("the order changes from time to time")
	}
}

func TestWriteDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "certs")
	secrets := bundle(t, BundleConfig{})
	if err := secrets.WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	for name, files := range secrets {
		for file, content := range files {
			path := filepath.Join(dir, name, file)
			got, err := os.ReadFile(path)
			info, err2 := os.Stat(path)
			if err != nil || err2 != nil || !bytes.Equal(got, content) {
				t.Fatalf("%s: %v, %v", path, err, err2)
			}
			want := os.FileMode(0o644)
			if strings.HasSuffix(file, ".key") {
				want = 0o600
			}
			if info.Mode().Perm() != want {
				t.Errorf("%s: got mode %v, want %v", path, info.Mode().Perm(), want)
			}
		}
	}
	if err := bundle(t, BundleConfig{}).WriteDir(dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a second time: got %v, want a refusal", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, SecretCA, CAKeyFile)); err != nil || !bytes.Equal(got, secrets[SecretCA][CAKeyFile]) {
		t.Error("the refused attempt changed the CA")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	empty := t.TempDir()
	if err := secrets.WriteDir(empty); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestEnsureDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	names := LocalNames()
	read := func(now time.Time) (ca, cert string) {
		t.Helper()
		files, err := EnsureDir(dir, names, now)
		if err != nil {
			t.Fatal(err)
		}
		held, err := files.load()
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(files.CA)
		if err != nil {
			t.Fatal(err)
		}
		return string(text), string(held.own.Certificate[0])
	}
	ca, cert := read(noon)
	if ca2, cert2 := read(noon.Add(300 * 24 * time.Hour)); ca2 != ca || cert2 != cert {
		t.Error("made anew without need")
	}
	ca2, renewed := read(noon.Add(340 * 24 * time.Hour))
	if ca2 != ca || renewed == cert {
		t.Error("not renewed before its end, or with another CA")
	}
	names.DNS = append(names.DNS, "node-1")
	ca3, renamed := read(noon.Add(340 * 24 * time.Hour))
	if ca3 != ca || renamed == renewed {
		t.Error("not made anew for another name, or with another CA")
	}
	// Killed between key and certificate.
	if err := os.Remove(filepath.Join(dir, CertFile)); err != nil {
		t.Fatal(err)
	}
	if ca4, _ := read(noon.Add(340 * 24 * time.Hour)); ca4 != ca {
		t.Error("another CA after a crash")
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	if err := os.Remove(filepath.Join(dir, CAKeyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := EnsureDir(dir, names, noon); err == nil {
		t.Error("a CA without its key was accepted")
	}
}
