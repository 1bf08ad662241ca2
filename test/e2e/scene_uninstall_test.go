//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// sceneLocalIsUninstalled goes by deploy/README.md: the pools are exported, and their
// files stay. Then the rest is given up.
func sceneLocalIsUninstalled(t *testing.T) {
	sys := kube{t: t, ns: system}
	ctx, cancel := inTime(t, 15*time.Minute)
	defer cancel()
	for _, args := range documented(t, "deploy/README.md", "\nTo uninstall and keep all data", "\nWhere a wait ends without success") {
		if _, err := suite.cluster.Kubectl(ctx, args...); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range oneLocalPool.nodes(suite.cluster) {
		out, err := node.SSH(ctx, "zpool list -H -o name; losetup -l -n; ls /var/lib/dotmesh/*.pool")
		if err != nil || strings.TrimSpace(out) != "/var/lib/dotmesh/pool.pool" {
			t.Errorf("on %s there is %q, want the pool's file alone (%v)", node.Name(), out, err)
		}
	}
	sys.kubectl("get", "secret", "dotmesh", "dotmesh-ca") // the Namespace stays, and what is in it
	if left := sys.kubectl("get", "deployments,daemonsets,statefulsets,poddisruptionbudgets,services", "-o", "name"); left != "" {
		t.Errorf("there is still %s", left)
	}
	objects, err := oneLocalPool.objects(suite, lab.DotmeshImage)
	if err != nil {
		t.Fatal(err)
	}
	_, namespace, _ := strings.Cut(objects, "kind: Namespace\n")
	if !strings.Contains(namespace, "\n---\n") {
		t.Fatal("the rendered file has no Namespace before other objects")
	}
	if _, err := suite.cluster.KubectlInput(ctx, strings.NewReader(objects), "delete", "--ignore-not-found", "--timeout=5m", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	sys.kubectl("delete", "pv", "-l", "app.kubernetes.io/component=etcd")
}

// documented are the arguments of kubectl in the commands of a document, between two
// pieces of its text, and what it sleeps between them, as "sleep" and the seconds.
func documented(t *testing.T, file, from, to string) (commands [][]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(suite.repo, file))
	if err != nil {
		t.Fatal(err)
	}
	_, section, begins := strings.Cut(string(text), from)
	section, _, ends := strings.Cut(section, to)
	for line := range strings.Lines(section) {
		if command, is := strings.CutPrefix(line, "    kubectl "); is {
			command = strings.ReplaceAll(command, " -f deploy/", " -f "+suite.repo+"/deploy/")
			commands = append(commands, words(command))
		}
		if strings.HasPrefix(line, "    sleep ") {
			commands = append(commands, words(line)[:2])
		}
	}
	if !begins || !ends || len(commands) == 0 {
		t.Fatalf("%s has no commands between %q and %q", file, from, to)
	}
	return commands
}

// words splits a command as a shell does that knows no quotes but '.
func words(command string) (list []string) {
	word, begun, quoted := "", false, false
	for _, r := range command + " " {
		switch {
		case r == '\'':
			quoted, begun = !quoted, true
		case quoted || !unicode.IsSpace(r):
			word, begun = word+string(r), true
		case begun:
			list = append(list, word)
			word, begun = "", false
		}
	}
	return list
}

// inSystem runs a step that has no test's helpers.
func inSystem(t *testing.T, limit time.Duration, step func(*world, context.Context) error) {
	t.Helper()
	ctx, cancel := inTime(t, limit)
	defer cancel()
	if err := step(suite, ctx); err != nil {
		suite.dump(t.Name(), nil)
		t.Fatal(err)
	}
}
