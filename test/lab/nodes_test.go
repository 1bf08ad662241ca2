package lab

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/test/lab/clouddisk"
)

// siteOfOne is a cluster's directory with one machine on record.
func siteOfOne(t *testing.T) *site {
	t.Helper()
	env := Env{Run: t.TempDir()}
	s := &site{Name: "nodes", Kind: kindCluster, Pattern: machine{MemMB: 7, Script: "x"}, env: env, dir: env.siteDir("nodes")}
	s.newMachine()
	if err := errors.Join(os.Mkdir(s.dir, 0o755), s.save()); err != nil {
		t.Fatal(err)
	}
	return s
}

func names(s *site) (all []string) {
	for _, m := range s.machines() {
		all = append(all, m.name())
	}
	return all
}

// Two processes that add nodes at once do not give one name to both, and a name
// is not given again when its node is gone.
func TestNoNameIsGivenTwice(t *testing.T) {
	first := siteOfOne(t)
	second, err := openSite(first.env, "nodes", kindCluster)
	if err != nil {
		t.Fatal(err)
	}
	var adders sync.WaitGroup
	for i := range 10 {
		s := []*site{first, second}[i%2]
		adders.Go(func() {
			if err := s.changeMachines(func() error { s.newMachine(); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	adders.Wait()
	err = first.changeMachines(func() error {
		first.Machines = slices.Delete(first.Machines, 10, 11)
		first.newMachine()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"node1", "node2", "node3", "node4", "node5", "node6", "node7", "node8", "node9", "node10", "node12"}
	if got := names(first); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	last := first.Machines[10]
	if last.MemMB != 7 || last.Script != "x" || last.site != first {
		t.Errorf("the last one is %+v, want it made like the others", last)
	}
	if err := first.changeMachines(func() error { first.newMachine(); return errDeps }); !errors.Is(err, errDeps) {
		t.Errorf("a change that fails: got %v", err)
	}
	if now, err := openSite(first.env, "nodes", kindCluster); err != nil || !slices.Equal(names(now), want) {
		t.Errorf("after a change that failed: got %q, %v, want %q", names(now), err, want)
	}
}

func TestDisksFindTheMachinesOfNow(t *testing.T) {
	s := siteOfOne(t)
	other, err := openSite(s.env, "nodes", kindCluster)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.changeMachines(func() error { s.newMachine(); return nil }); err != nil {
		t.Fatal(err)
	}
	m, err := other.disks().Machine("node2")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(s.dir, "m2", "qmp.sock"); m.Monitor() != want || m.Running() {
		t.Errorf("got monitor %s, running %v; want %s, without power", m.Monitor(), m.Running(), want)
	}
	if _, err := other.disks().Machine("node3"); !errors.Is(err, clouddisk.ErrNoNode) {
		t.Errorf("got %v, want ErrNoNode", err)
	}
}

// A node that comes later has a certificate of the same authority.
func TestOpenAuthority(t *testing.T) {
	dir := t.TempDir()
	made, err := newAuthority(dir, "https://s")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := openAuthority(dir, "https://s")
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.node("node7"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "node7.crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(made.cert)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if cert.Subject.CommonName != "system:node:node7" || !slices.Equal(cert.Subject.Organization, []string{"system:nodes"}) {
		t.Errorf("got %s", cert.Subject)
	}
}
