package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
)

func TestRemoteAddWithCA(t *testing.T) {
	f, u := startFake(t), newUser(t)
	out := u.must("remote", "add", "prod", f.address(), "--ca", f.caFile(t))
	contains(t, "the output", out, "Added remote prod", "1.2.3", f.address(), "user admin")
	info, err := os.Stat(filepath.Join(u.home, ".dotmesh", "config"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), os.FileMode(0o600); got != want {
		t.Errorf("the file of remotes has mode %o, want %o", got, want)
	}
	list := u.must("remote", "list")
	contains(t, "the list", list, "prod", "*")
	if strings.Contains(list+u.must("remote", "list", "-o", "json"), fakeKey) {
		t.Error("remote list shows the API key")
	}
}

func TestRemoteAddWithoutTrustShowsTheFingerprintAndRefuses(t *testing.T) {
	f, u := startFake(t), newUser(t)
	code, _, errOut := u.dm("remote", "add", "prod", f.address())
	if code != ExitRefused {
		t.Errorf("exit code %d, want %d", code, ExitRefused)
	}
	contains(t, "the refusal", errOut, f.fingerprint(), "dm remote add prod "+f.address()+" --fingerprint "+f.fingerprint())
	if len(f.asked) > 0 {
		t.Errorf("a server that nobody trusted was called: %v", f.asked)
	}
	if _, err := os.Stat(filepath.Join(u.home, ".dotmesh")); err == nil {
		t.Error("something was saved")
	}
}

func TestRemoteAddRefusals(t *testing.T) {
	f := startFake(t)
	notPEM := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := client.FingerprintOf(startFake(t).Certificate())
	flipped := strings.Replace(other, other[7:9], "00", 1)
	closed := closedPort(t)
	pin := []string{"--fingerprint", f.fingerprint()}
	for _, c := range []struct {
		name  string
		args  []string
		types string
		code  int
		says  []string
	}{
		{"bad name", append([]string{"a b", f.address()}, pin...), fakeKey, ExitUsage, []string{`"a b"`}},
		{"bad address", append([]string{"x", "ht tp://y"}, pin...), fakeKey, ExitUsage, []string{"[user@]host[:port]"}},
		{"bad port", append([]string{"x", "host:99999"}, pin...), fakeKey, ExitUsage, []string{"99999"}},
		{"bad user", append([]string{"x", "a b@host"}, pin...), fakeKey, ExitUsage, []string{"user"}},
		{"bad fingerprint", []string{"x", f.address(), "--fingerprint", "SHA256:12"}, fakeKey, ExitUsage, []string{"64 hex digits"}},
		{"CA without certificate", []string{"x", f.address(), "--ca", notPEM}, fakeKey, ExitUsage, []string{"no PEM certificate"}},
		{"CA that is not there", []string{"x", f.address(), "--ca", "/does/not/exist"}, fakeKey, ExitUsage, []string{"/does/not/exist"}},
		{"CA and fingerprint", append([]string{"x", f.address(), "--ca", notPEM}, pin...), fakeKey, ExitUsage, []string{"not both"}},
		{"another server's pin", []string{"x", f.address(), "--fingerprint", flipped}, fakeKey, ExitRefused, []string{"fingerprint", "nothing was sent"}},
		{"wrong key", append([]string{"x", f.address()}, pin...), "wrong", ExitRefused, []string{"API key", `user "admin"`}},
		{"wrong user", append([]string{"x", "ann@" + f.address()}, pin...), fakeKey, ExitRefused, []string{`user "ann"`}},
		{"empty key", append([]string{"x", f.address()}, pin...), " ", ExitUsage, []string{"API key is empty"}},
		{"key of two lines", append([]string{"x", f.address()}, pin...), "a\nb", ExitUsage, []string{"not an API key"}},
		{"nobody there", append([]string{"x", closed}, pin...), fakeKey, ExitUnavailable, []string{closed, "cannot be reached"}},
		{"nobody there, no pin", []string{"x", closed}, fakeKey, ExitUnavailable, []string{closed}},
		{"too few arguments", []string{"x"}, fakeKey, ExitUsage, []string{"--help"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUser(t)
			u.types = c.types
			code, _, errOut := u.dm(append([]string{"remote", "add"}, c.args...)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, errOut)
			}
			contains(t, "the error", errOut, c.says...)
			if _, err := os.Stat(filepath.Join(u.home, ".dotmesh")); err == nil {
				t.Error("something was saved")
			}
			if strings.Contains(errOut, fakeKey) {
				t.Error("the error shows the API key")
			}
		})
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestCertificateOfAnotherCAIsRefused(t *testing.T) {
	f, u := startFake(t), newUser(t)
	stranger := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(stranger, []byte(strangerCA), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errOut := u.dm("remote", "add", "x", f.address(), "--ca", stranger)
	if code != ExitRefused {
		t.Errorf("exit code %d, want %d", code, ExitRefused)
	}
	contains(t, "the error", errOut, "not believed", "nothing was sent")
}

func TestExpiredCertificateIsRefused(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	f := startFakeWith(t, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	for _, trust := range [][]string{{"--ca", f.caFile(t)}, {"--fingerprint", f.fingerprint()}} {
		code, _, errOut := newUser(t).dm(append([]string{"remote", "add", "x", f.address()}, trust...)...)
		if code != ExitRefused && code != ExitUnavailable || !strings.Contains(errOut, "expired") && !strings.Contains(errOut, "valid only") {
			t.Errorf("%s: exit code %d: %s", trust[0], code, errOut)
		}
	}
	if len(f.asked) > 0 {
		t.Errorf("a server with an expired certificate was called: %v", f.asked)
	}
}

func TestRemoteAddTakesTheKeyFromWhereItIs(t *testing.T) {
	f := startFake(t)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(fakeKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		set  func(u *user)
		args []string
	}{
		{"terminal", func(u *user) { u.types = fakeKey }, nil},
		{"environment", func(u *user) { u.env[apiKeyVariable] = fakeKey }, nil},
		{"file", func(*user) {}, []string{"--api-key-file", file}},
		{"standard input", func(u *user) { u.stdin = fakeKey + "\n" }, []string{"--api-key-file", "-"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUser(t)
			u.types = "wrong"
			c.set(u)
			u.must(append([]string{"remote", "add", "x", f.address(), "--fingerprint", f.fingerprint()}, c.args...)...)
		})
	}
}

func TestRemoteSwitchAndRm(t *testing.T) {
	f, u := startFake(t), newUser(t)
	for _, name := range []string{"one", "two"} {
		u.must("remote", "add", name, f.address(), "--fingerprint", f.fingerprint())
	}
	if got, want := u.must("remote", "list", "-o", "name"), "one\ntwo\n"; got != want {
		t.Errorf("names %q, want %q", got, want)
	}
	current := func() string {
		var listed struct{ Remotes []listedRemote }
		if err := json.Unmarshal([]byte(u.must("remote", "-o", "json")), &listed); err != nil {
			t.Fatal(err)
		}
		for _, r := range listed.Remotes {
			if r.Current {
				return r.Name
			}
		}
		return ""
	}
	if got := current(); got != "one" {
		t.Errorf("the first remote is not current, %q is", got)
	}
	u.must("remote", "switch", "two")
	if got := current(); got != "two" {
		t.Errorf("after the switch %q is current", got)
	}
	code, _, errOut := u.dm("remote", "switch", "three")
	if code != ExitNotFound {
		t.Errorf("exit code %d, want %d", code, ExitNotFound)
	}
	contains(t, "the error", errOut, "three", "one, two")
	if code, _, errOut := u.dm("remote", "add", "two", f.address(), "--fingerprint", f.fingerprint()); code != ExitState || !strings.Contains(errOut, "dm remote rm two") {
		t.Errorf("a second remote of the same name: exit code %d, %s", code, errOut)
	}
	u.must("remote", "rm", "two")
	code, _, errOut = u.dm("list")
	if code != ExitState {
		t.Errorf("without a current remote: exit code %d, want %d", code, ExitState)
	}
	contains(t, "the error", errOut, "dm remote switch", "one")
	u.must("list", "--remote", "one")
}

func TestConfigOfOthersIsLeftAlone(t *testing.T) {
	for name, content := range map[string]string{
		"dotmesh 0.x": `{"CurrentRemote":"x","Remotes":{"x":{"User":"u","Hostname":"h","ApiKey":"k"}}}`,
		"not JSON":    "remotes: []",
		"from later":  `{"format":"dotmesh.csi/1","remotes":{},"more":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			path := filepath.Join(u.home, "config")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			code, _, errOut := u.dm("-c", path, "remote", "list")
			if code != ExitUsage {
				t.Errorf("exit code %d, want %d", code, ExitUsage)
			}
			contains(t, "the error", errOut, path, "move it away")
			if got, err := os.ReadFile(path); err != nil || string(got) != content {
				t.Errorf("the file was changed: %q, %v", got, err)
			}
		})
	}
}

func TestSplitAddress(t *testing.T) {
	for in, want := range map[string][2]string{
		"host":                  {"admin", "host:32607"},
		"ann@host":              {"ann", "host:32607"},
		"ann@host:1":            {"ann", "host:1"},
		"10.0.0.1":              {"admin", "10.0.0.1:32607"},
		"::1":                   {"admin", "[::1]:32607"},
		"[::1]":                 {"admin", "[::1]:32607"},
		"ann@[::1]:99":          {"ann", "[::1]:99"},
		"dotmesh.dotmesh.svc:5": {"admin", "dotmesh.dotmesh.svc:5"},
	} {
		user, address, err := splitAddress(in)
		if got := [2]string{user, address}; err != nil || got != want {
			t.Errorf("%q gives %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "@", "ann@", "@host", "host:0", "host:x", "-host", "a/b", "a:b:c", "http://host"} {
		if user, address, err := splitAddress(in); err == nil {
			t.Errorf("%q was accepted: %s, %s", in, user, address)
		}
	}
}

func FuzzSplitAddress(f *testing.F) {
	for _, s := range []string{"host", "ann@host:1", "[::1]:2", "@", "::", "a@b@c:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, address, err := splitAddress(s)
		if err != nil {
			return
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			t.Errorf("%q gives %q: %v", s, address, err)
		}
	})
}
