//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Scene 9: bad input gets a clear error and leaves no trace.
func sceneBadInput(t *testing.T) {
	t.Cleanup(func() { removeGlobal(t, "storageclass/e2e-unknown") })
	k := newKube(t, "e2e-badinput")
	before, keys := onPool(t), registryKeys(t)
	k.applyYAML(strings.Replace(strings.Replace(immediateClass, "e2e-immediate", "e2e-unknown", 1), "dotmeshNamespace: admin", "colour: blue", 1))

	bad := []struct {
		claim
		says []string
	}{
		{claim{name: "slash", annotations: map[string]string{"dotmeshName": "a/b"}}, []string{`a/b`, "not valid"}},
		{claim{name: "dots", annotations: map[string]string{"dotmeshName": ".."}}, []string{`..`, "not valid"}},
		{claim{name: "namespace", annotations: map[string]string{"dotmeshNamespace": "-x y"}}, []string{"-x y", "not valid"}},
		{claim{name: "subdot", annotations: map[string]string{"dotmeshSubdot": "../etc"}}, []string{"../etc"}},
		{claim{name: "reserved", annotations: map[string]string{"dotmeshSubdot": "__mine__"}}, []string{"__mine__", "reserved"}},
		{claim{name: "twice", annotations: map[string]string{"dotmeshName": "one", "dotmesh.csi/dotmeshName": "two"}}, []string{"dotmeshName"}},
		{claim{name: "parameter", class: "e2e-unknown"}, []string{"colour"}},
		{claim{name: "huge", size: "100Ti"}, []string{"pool"}},
		{claim{name: "many", mode: "ReadWriteMany"}, []string{"ReadWriteOnce"}},
		{claim{name: "block", block: true}, []string{"Filesystem"}},
		{claim{name: "readonly", mode: "ReadOnlyMany"}, []string{"ReadOnlyMany"}},
		{claim{name: "nosnapshot", fromSnapshot: "nobody"}, []string{"nobody"}},
	}
	var objects []fmt.Stringer
	for i := range bad {
		bad[i].class = or(bad[i].class, "e2e-immediate")
		objects = append(objects, bad[i].claim)
	}
	k.apply(objects...)
	for _, c := range bad {
		t.Run(c.name, func(t *testing.T) {
			here := k
			here.t = t
			here.waitEvent(volumeLimit, "pvc/"+c.name, c.says...)
			if phase := here.get("pvc/"+c.name, "{.status.phase}"); phase != "Pending" {
				t.Errorf("the claim is %s", phase)
			}
		})
	}
	t.Run("api", badAPIInput)
	k.remove(prefixed("pvc/", names(objects))...)
	if after := onPool(t); !slices.Equal(before, after) {
		t.Errorf("refused claims left a trace on the pool: %v, before %v", after, before)
	}
	if after := registryKeys(t); !slices.Equal(keys, after) {
		t.Errorf("refused claims left a trace in the registry: %v, before %v", after, keys)
	}
}

func names(claims []fmt.Stringer) []string {
	var out []string
	for _, c := range claims {
		out = append(out, c.(claim).name)
	}
	return out
}

// badAPIInput throws at the API's port what does not belong there.
func badAPIInput(t *testing.T) {
	ctx, cancel := inTime(t, 3*time.Minute)
	defer cancel()
	ca := filepath.Join(suite.work, "ca-of-server.crt")
	text, err := suite.secret(ctx, "dotmesh-ca-cert", "ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(ca, text); err != nil {
		t.Fatal(err)
	}
	restarts := restartsOfServer(t)
	host, port, _ := strings.Cut(suite.address(), ":")
	shell := func(script string) string {
		out, _ := suite.cluster.Command(ctx, "bash", "-c", script).CombinedOutput()
		return string(out)
	}
	shell(fmt.Sprintf("head -c 100000 /dev/urandom > /dev/tcp/%s/%s", host, port))
	shell(fmt.Sprintf(`exec 3<>/dev/tcp/%s/%s; printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' >&3; timeout 5 cat <&3`, host, port))
	shell(fmt.Sprintf(`for i in $(seq 20); do exec 3<>/dev/tcp/%s/%s; done`, host, port))

	for _, c := range []struct {
		name, key string
		args      []string
		code      int
		says      string
	}{
		{"wrong key", "not-the-key", []string{"remote", "add", "bad", suite.address(), "--ca", ca}, 4, "API key"},
		{"no key", " ", []string{"remote", "add", "bad", suite.address(), "--ca", ca}, 2, "API key"},
		{"wrong pin", suite.apiKey, []string{"remote", "add", "bad", suite.address(), "--fingerprint", strings.Repeat("0", 64)}, 4, "fingerprint"},
		{"nothing pinned", suite.apiKey, []string{"remote", "add", "bad", suite.address()}, 4, "--fingerprint SHA256:"},
	} {
		code, _, errOut := suite.dmAs(ctx, "config-bad", c.key, c.args...)
		if code != c.code || !strings.Contains(errOut, c.says) {
			t.Errorf("%s: exit code %d, want %d and %q: %s", c.name, code, c.code, c.says, errOut)
		}
	}
	for _, args := range [][]string{{"show", "nobody"}, {"log", "nobody"}, {"commit", "nobody", "-m", "x"}, {"dot", "share", "nobody", "x"}} {
		if code, _, errOut := tryDM(t, args...); code != 3 || !strings.Contains(errOut, "nobody") {
			t.Errorf("dm %v: exit code %d, want 3: %s", args, code, errOut)
		}
	}
	expiredCertificate(ctx, t, shell)
	dm(t, "version")
	if after := restartsOfServer(t); after != restarts {
		t.Errorf("the server was started again: %s, before %s", after, restarts)
	}
}

// expiredCertificate calls etcd with a client certificate of the right CA that is no
// longer valid, after it has seen that the same call with a valid one is answered.
func expiredCertificate(ctx context.Context, t *testing.T, shell func(string) string) {
	t.Helper()
	caDir, dir := filepath.Join(suite.work, "ca"), filepath.Join(suite.work, "expired")
	for _, file := range []string{"ca.crt", "ca.key"} {
		text, err := suite.secret(ctx, "dotmesh-ca", file)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeFile(filepath.Join(caDir, file), text); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := suite.run(ctx, &out, "dotmesh", "certs", "--ca", caDir, "--validity", "1ms", "--dir", dir); err != nil {
		t.Fatal(err)
	}
	etcd, err := suite.cluster.Kubectl(ctx, "-n", system, "get", "pod", "dotmesh-etcd-0", "-o", "jsonpath={.status.podIP}")
	if err != nil {
		t.Fatal(err)
	}
	call := func(certs string) string {
		return shell(fmt.Sprintf("%s -endpoint %s:2379 -name dotmesh-etcd-cluster-client.dotmesh.svc -ca %[3]s/ca.crt -cert %[3]s/tls.crt -key %[3]s/tls.key",
			filepath.Join(suite.work, "registry"), etcd, filepath.Join(certs, "dotmesh-etcd-client")))
	}
	if said := call(filepath.Join(suite.work, "certs")); !strings.Contains(said, "/dotmesh/cluster") {
		t.Fatalf("etcd gave no keys for a valid certificate: %q", said)
	}
	// A node's clock is set at boot, to the second: it may be behind ours.
	const behind = 30 * time.Second
	for begin := time.Now(); ; time.Sleep(time.Second) {
		said := call(dir)
		switch {
		case strings.Contains(said, "expired certificate") || strings.Contains(said, "bad certificate"):
			return
		case time.Since(begin) > behind:
			t.Fatalf("etcd did not refuse an expired certificate as such: %q", said)
		}
	}
}

func restartsOfServer(t *testing.T) string {
	t.Helper()
	return kube{t: t, ns: system}.kubectl("get", "pod", "-l", serverSelector, "-o", "jsonpath={.items[*].metadata.name} {.items[*].status.containerStatuses[*].restartCount}")
}
