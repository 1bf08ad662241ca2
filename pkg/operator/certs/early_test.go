package certs

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

const day = 24 * time.Hour

// finish follows plans until there is nothing to do now, whoever believes whom meanwhile, and
// gives all that they told was made anew.
func (w *world) finish() (early []string) {
	w.t.Helper()
	for range 20 {
		plan := w.next()
		if plan.Early != "" {
			early = append(early, plan.Early)
		}
		if len(plan.Write) == 0 {
			return early
		}
		w.apply(plan)
	}
	w.t.Fatal("plans do not end")
	return nil
}

// TestClockThatWasAhead: what was made meanwhile would not be valid for as long.
func TestClockThatWasAhead(t *testing.T) {
	for name, tt := range map[string]struct {
		ahead time.Duration
		early []string // the Secrets that are told of
	}{
		"certificates were renewed":      {250 * day, []string{pki.SecretServerTLS}},
		"the CA too":                     {7 * 365 * day, []string{pki.SecretCA, pki.SecretServerTLS}},
		"by less than clocks may differ": {50 * time.Minute, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.settle()
			pinned := pki.Fingerprint(w.ca())
			w.now = noon.Add(tt.ahead)
			w.finish()
			w.now, w.etcdHas = noon.Add(time.Minute), []byte("of before") // nobody waits for etcd
			told := w.finish()
			if !slices.EqualFunc(told, tt.early, func(text, secret string) bool { return strings.Contains(text, "Secret "+secret+" ") }) {
				t.Errorf("it tells %q, want one of each of %q", told, tt.early)
			}
			w.believed()
			if got := pki.Fingerprint(w.ca()); got != pinned {
				t.Errorf("whoever pinned %s now sees %s", pinned, got)
			}
			w.now, w.etcdHas = w.now.Add(Spread), nil
			w.finish()
			w.believed()
			if certs, err := pki.ParseCerts(w.secrets[pki.SecretEtcdPeer].Data[pki.CAFile]); err != nil || len(certs) != 1 {
				t.Errorf("%d CAs are believed (%v)", len(certs), err)
			}
		})
	}
}

// TestNewClusterWithAClockAhead: all that there is was made then.
func TestNewClusterWithAClockAhead(t *testing.T) {
	w := newWorld(t)
	w.now = noon.Add(250 * day)
	w.settle()
	w.now = noon
	w.finish()
	w.believed()
}

// TestWhatWasWrittenAhead: nobody waits for months until it has spread.
func TestWhatWasWrittenAhead(t *testing.T) {
	w := newWorld(t)
	w.settle()
	w.now = w.now.Add(Spread)
	written := w.secrets[pki.SecretCACert]
	written.Changed = w.now.Add(250 * day)
	w.secrets[pki.SecretCACert] = written
	w.extra = pki.Names{DNS: []string{"dots.example.org"}}
	if got := w.written(); !slices.Equal(got, []string{pki.SecretServerTLS}) {
		t.Errorf("it writes %v", got)
	}
}

// TestTheUsersAreEarly: they are told of, and nothing is signed that nobody believes.
func TestTheUsersAreEarly(t *testing.T) {
	for _, secret := range []string{pki.SecretCA, pki.SecretServerTLS} {
		w := newWorld(t)
		w.settle()
		w.now = noon.Add(250 * day)
		w.theUsers(secret)
		w.now = noon.Add(Spread)
		plan := w.next()
		if len(plan.Write) > 0 || !strings.Contains(plan.Problem, "your Secret "+secret+" is only valid from") {
			t.Errorf("%s: it writes %v and says %q", secret, plan.Write, plan.Problem)
		}
		if secret == pki.SecretCA && !plan.Again.Equal(w.ca().NotBefore) {
			t.Errorf("it looks again at %s", plan.Again)
		}
	}
}
