package certs

import (
	"bytes"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// world is a cluster whose Secrets are what plans wrote.
type world struct {
	t       *testing.T
	now     time.Time
	secrets map[string]Secret
	extra   pki.Names
	// etcdHas is the ca.crt that etcd was started with; nil for no etcd.
	etcdHas  []byte
	external bool
}

func newWorld(t *testing.T) *world {
	return &world{t: t, now: noon, secrets: map[string]Secret{}}
}

func (w *world) next() Plan {
	w.t.Helper()
	plan, err := Next(State{
		Now: w.now, Bundle: pki.BundleConfig{Extra: w.extra}, Secrets: w.secrets, ExternalEtcd: w.external,
		EtcdTrusts: func(ca []byte) bool { return w.etcdHas == nil || bytes.Equal(w.etcdHas, ca) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return plan
}

func (w *world) apply(plan Plan) {
	for name, files := range plan.Write {
		w.secrets[name] = Secret{Data: files, Ours: true, Changed: w.now}
	}
}

// settle follows plans until there is nothing to do now, and gives the last one.
func (w *world) settle() Plan {
	w.t.Helper()
	for range 20 {
		plan := w.next()
		if len(plan.Write) == 0 {
			return plan
		}
		w.apply(plan)
		w.believed()
	}
	w.t.Fatal("plans do not end")
	return Plan{}
}

// believed checks that everybody believes everybody.
func (w *world) believed() {
	w.t.Helper()
	for name, held := range w.secrets {
		if held.Data[pki.CertFile] == nil || w.external && !held.Ours {
			continue
		}
		cert := w.cert(name)
		for other, believer := range w.secrets {
			if believer.Data[pki.CAFile] == nil || other == pki.SecretCA || w.external && !believer.Ours {
				continue
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(believer.Data[pki.CAFile])
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: w.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
				w.t.Errorf("%s does not believe %s: %v", other, name, err)
			}
		}
	}
}

func (w *world) cert(secret string) *x509.Certificate {
	w.t.Helper()
	certs, err := pki.ParseCerts(w.secrets[secret].Data[pki.CertFile])
	if err != nil {
		w.t.Fatalf("%s: %v", secret, err)
	}
	return certs[0]
}

// theUsers puts what `dotmesh certs` makes there, as the user's.
func (w *world) theUsers(names ...string) {
	w.t.Helper()
	made, err := pki.Bundle(pki.BundleConfig{Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	for name, files := range made {
		if slices.Contains(names, name) || len(names) == 0 {
			w.secrets[name] = Secret{Data: files}
		}
	}
}

func (w *world) written() []string { return slices.Sorted(maps.Keys(w.next().Write)) }

var leaves = []string{pki.SecretEtcdClient, pki.SecretEtcdPeer, pki.SecretEtcdServer, pki.SecretOperatorClient, pki.SecretServerTLS}

func TestNewCluster(t *testing.T) {
	w := newWorld(t)
	if got := w.written(); !slices.Equal(got, []string{pki.SecretCA}) {
		t.Fatalf("first it writes %v, want the CA alone", got)
	}
	w.apply(w.next())
	want := append([]string{pki.SecretCACert}, leaves...)
	slices.Sort(want)
	if got := w.written(); !slices.Equal(got, want) {
		t.Errorf("then it writes %v, want %v", got, want)
	}
	// Killed after any one of them, it makes the others, of the same CA.
	for name, files := range w.next().Write {
		one := newWorld(t)
		one.secrets[pki.SecretCA] = w.secrets[pki.SecretCA]
		one.apply(Plan{Write: pki.Secrets{name: files}})
		one.settle()
		if len(one.secrets) != 7 || !bytes.Equal(one.secrets[name].Data[pki.CertFile], files[pki.CertFile]) {
			t.Errorf("after %s alone: got %v", name, slices.Sorted(maps.Keys(one.secrets)))
		}
	}
	plan := w.settle()
	w.believed()
	if want := w.now.Add(Spread); plan.Problem != "" || plan.Again.IsZero() || plan.Again.After(want) {
		t.Errorf("got %q, again at %s", plan.Problem, plan.Again)
	}
}

func TestLeavesAreRenewedWithAThirdLeft(t *testing.T) {
	w := newWorld(t)
	w.settle()
	w.now = noon.Add(pki.LeafValidity * 65 / 100)
	if got := w.written(); len(got) != 0 {
		t.Errorf("before that it writes %v", got)
	}
	w.now = noon.Add(pki.LeafValidity * 67 / 100)
	if got := w.written(); !slices.Equal(got, leaves) {
		t.Errorf("it writes %v, want %v", got, leaves)
	}
	w.settle()
	if end := w.cert(pki.SecretServerTLS).NotAfter; !end.Equal(w.now.Add(pki.LeafValidity)) {
		t.Errorf("the renewed one ends on %s", end)
	}
}

// TestNamesFollow: at once where everybody who believes the certificate believes the next.
func TestNamesFollow(t *testing.T) {
	w := newWorld(t)
	w.settle()
	for _, name := range []string{"dots.example.org", "data.example.org"} {
		w.now = w.now.Add(time.Minute)
		w.extra.DNS = append(w.extra.DNS, name)
		if got := w.written(); !slices.Equal(got, []string{pki.SecretServerTLS}) {
			t.Errorf("%s: it writes %v", name, got)
		}
		w.settle()
	}
	w.now = w.now.Add(Spread)
	w.settle()
	delete(w.secrets, pki.SecretCA)
	w.settle()
	w.extra.DNS = append(w.extra.DNS, "late.example.org")
	if got := w.written(); len(got) != 0 {
		t.Errorf("while another CA spreads it writes %v", got)
	}
	w.now = w.now.Add(Spread)
	if got := w.written(); !slices.Contains(got, pki.SecretServerTLS) {
		t.Errorf("when it has spread it writes %v", got)
	}
	w.settle()
	w.now = w.now.Add(Spread)
	w.settle()
	w.extra = pki.Names{}
	if got := w.written(); len(got) != 0 {
		t.Errorf("a name less: it writes %v", got)
	}
}

func TestCAIsRenewedWithOverlap(t *testing.T) {
	w := newWorld(t)
	w.settle()
	pinned := pki.Fingerprint(w.ca())
	// The years pass, leaf after leaf.
	for day := 100; day < 2440; day += 100 {
		w.now = noon.Add(time.Duration(day) * 24 * time.Hour)
		w.settle()
	}
	old := w.ca()
	w.now = noon.Add(3650 * 24 * time.Hour / 100 * 67)
	w.rotate(old)
	if got := pki.Fingerprint(w.ca()); got != pinned {
		t.Errorf("whoever pinned %s now sees %s", pinned, got)
	}
}

func TestDeletedCAIsReplacedWithOverlap(t *testing.T) {
	w := newWorld(t)
	w.settle()
	w.now = w.now.Add(time.Hour)
	old := w.ca()
	delete(w.secrets, pki.SecretCA)
	w.rotate(old)
}

func TestUsersNextCAComesWithOverlap(t *testing.T) {
	w := newWorld(t)
	w.theUsers(pki.SecretCA)
	w.settle()
	w.now = w.now.Add(time.Hour)
	old := w.ca()
	w.theUsers(pki.SecretCA)
	w.rotate(old)
}

// ca is the one that signs.
func (w *world) ca() *x509.Certificate {
	certs, err := pki.ParseCerts(w.secrets[pki.SecretCA].Data[pki.CAFile])
	if err != nil {
		w.t.Fatal(err)
	}
	return certs[0]
}

// rotate follows a change of the CA, step by step.
func (w *world) rotate(old *x509.Certificate) {
	w.t.Helper()
	inUse := func() *x509.Certificate {
		_, issuer, err := pair(w.secrets[pki.SecretServerTLS].Data)
		if err != nil {
			w.t.Fatal(err)
		}
		return issuer
	}
	trusts := func() []*x509.Certificate {
		certs, _ := pki.ParseCerts(w.secrets[pki.SecretEtcdPeer].Data[pki.CAFile])
		return certs
	}
	w.etcdHas = w.secrets[pki.SecretEtcdServer].Data[pki.CAFile]
	w.settle()
	if !has(trusts(), old) || !has(trusts(), w.ca()) || !inUse().Equal(old) {
		w.t.Fatal("first both are to be believed, and certificates are of the old")
	}
	if w.ca().Equal(old) {
		w.t.Fatal("the CA is the same")
	}
	w.now = w.now.Add(Spread)
	if w.settle(); !inUse().Equal(old) {
		w.t.Error("etcd was not asked whether it believes the new one")
	}
	w.etcdHas = w.secrets[pki.SecretEtcdServer].Data[pki.CAFile]
	if w.settle(); !inUse().Equal(w.ca()) || !has(trusts(), old) {
		w.t.Error("certificates are to be of the new one, and the old still believed")
	}
	w.now = w.now.Add(Spread)
	if w.settle(); has(trusts(), old) || len(trusts()) != 1 {
		w.t.Errorf("the old one is still believed (%d)", len(trusts()))
	}
	w.etcdHas = nil
}

func TestTheUsersAreKept(t *testing.T) {
	mine := []string{pki.SecretCA, pki.SecretCACert, pki.SecretServerTLS, pki.SecretEtcdServer, pki.SecretEtcdPeer, pki.SecretEtcdClient}
	without := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(mine), func(s string) bool { return s == name })
	}
	for _, tt := range []struct {
		what    string
		given   []string
		makes   []string
		problem string
	}{
		{"a deployment of `dotmesh certs`", mine, []string{pki.SecretOperatorClient}, ""},
		{"all but the CA's key", append(without(pki.SecretCA), pki.SecretOperatorClient), nil, ""},
		{"no CA to sign what is missing", without(pki.SecretCA), nil, pki.SecretOperatorClient},
		{"one certificate alone", []string{pki.SecretServerTLS}, nil, pki.SecretEtcdPeer},
		{"a CA alone", []string{pki.SecretCA}, append([]string{pki.SecretCACert}, leaves...), ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			w := newWorld(t)
			w.theUsers(tt.given...)
			before := maps.Clone(w.secrets)
			slices.Sort(tt.makes)
			if got := w.written(); !slices.Equal(got, tt.makes) {
				t.Errorf("it writes %v, want %v", got, tt.makes)
			}
			plan := w.settle()
			if (plan.Problem == "") != (tt.problem == "") || !strings.Contains(plan.Problem, tt.problem) {
				t.Errorf("it says %q, want %q", plan.Problem, tt.problem)
			}
			w.now = noon.Add(pki.LeafValidity * 9 / 10)
			if len(tt.given) > 1 {
				if plan := w.settle(); plan.Problem == "" {
					t.Error("nobody is told that the user's certificates end")
				}
			}
			for name := range before {
				if w.secrets[name].Ours {
					t.Errorf("the user's %s was overwritten", name)
				}
			}
		})
	}
}

func TestWhatCannotBeUsed(t *testing.T) {
	broken := map[string][]byte{pki.CAFile: []byte("x"), pki.CertFile: []byte("x"), pki.KeyFile: []byte("x")}
	t.Run("our certificate is made anew", func(t *testing.T) {
		w := newWorld(t)
		w.settle()
		w.secrets[pki.SecretServerTLS] = Secret{Data: broken, Ours: true, Changed: w.now}
		w.settle()
		w.cert(pki.SecretServerTLS)
		w.believed()
	})
	t.Run("our CA stays for a person to look at", func(t *testing.T) {
		w := newWorld(t)
		w.settle()
		w.secrets[pki.SecretCA] = Secret{Data: broken, Ours: true}
		if plan := w.next(); len(plan.Write) != 0 || !strings.Contains(plan.Problem, "delete it") {
			t.Errorf("it writes %v and says %q", plan.Write, plan.Problem)
		}
	})
	t.Run("the user's CA", func(t *testing.T) {
		w := newWorld(t)
		w.secrets[pki.SecretCA] = Secret{Data: broken}
		if plan := w.next(); len(plan.Write) != 0 || !strings.Contains(plan.Problem, pki.SecretCA) {
			t.Errorf("it writes %v and says %q", plan.Write, plan.Problem)
		}
	})
	t.Run("the user's CA that ends", func(t *testing.T) {
		w := newWorld(t)
		w.theUsers(pki.SecretCA)
		w.settle()
		for _, day := range []int{2500, 3600, 3660} {
			w.now = noon.AddDate(0, 0, day)
			if plan := w.settle(); !strings.Contains(plan.Problem, "ends on") {
				t.Errorf("on day %d: it says %q", day, plan.Problem)
			}
		}
	})
}

func TestExternalEtcdHasCertificatesOfItsOwn(t *testing.T) {
	w := newWorld(t)
	w.external = true
	w.theUsers(pki.SecretEtcdClient)
	w.settle()
	want := []string{pki.SecretCA, pki.SecretCACert, pki.SecretEtcdClient, pki.SecretOperatorClient, pki.SecretServerTLS}
	if got := slices.Sorted(maps.Keys(w.secrets)); !slices.Equal(got, want) || w.secrets[pki.SecretEtcdClient].Ours {
		t.Errorf("got %v, want %v", got, want)
	}
}
