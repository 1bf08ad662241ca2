//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Scene 2: VolumeSnapshots are commits with metadata; restores, clones and
// commits of dm hold exactly what was there at their moment.
func sceneCommits(t *testing.T) {
	const content, volume = "e2e-by-hand", "e2e-static"
	t.Cleanup(func() {
		removeGlobal(t, "volumesnapshotcontent/"+content)
		removeGlobal(t, "pv/"+volume)
		deleteDot(t, "journal") // dm made a commit of it, so it stays
	})
	k := newKube(t, "e2e-commits")
	k.apply(
		claim{name: "journal", dot: "journal", subdot: "data", size: "256Mi"},
		pod{name: "writer", claims: []string{"journal"}},
	)
	k.waitReady("writer")

	versions := []string{writeVersion(k, 1)}
	k.apply(snapshot{name: "first", claim: "journal", message: "version one"})
	k.waitSnapshot("first")
	checkLog(t, k.ns)

	versions = append(versions, writeVersion(k, 2))
	dm(t, "commit", "journal", "-m", "by hand", "-d", "release=1.4")
	commits := logOf(t, "journal")
	if len(commits) != 2 || commits[1].Message != "by hand" || commits[1].Metadata["release"] != "1.4" {
		t.Fatalf("dm log shows %+v after dm commit", commits)
	}

	versions = append(versions, writeVersion(k, 3))
	k.applyYAML(handWrittenContent(content, commits[1].Handle, k.ns, "second"))
	k.applyYAML(handWrittenVolume(volume, "admin/journal@master.data"))
	k.apply(
		snapshot{name: "second", content: content},
		claim{name: "restored", fromSnapshot: "first", size: "256Mi"},
		claim{name: "readonly", fromSnapshot: "first", size: "256Mi", mode: "ReadOnlyMany"},
		claim{name: "byhand", fromSnapshot: "second", size: "256Mi"},
		claim{name: "cloned", fromClaim: "journal", size: "256Mi"},
		claim{name: "static", volume: volume},
		pod{name: "reader", claims: []string{"restored", "readonly", "byhand", "cloned", "static"}, readOnly: []string{"readonly"}},
	)
	k.waitReady("reader")
	for _, c := range []struct {
		pod, dir string
		version  int
	}{
		{"reader", "/restored", 1}, {"reader", "/readonly", 1}, {"reader", "/byhand", 2},
		{"reader", "/cloned", 3}, {"reader", "/static", 3}, {"writer", "/journal", 3},
	} {
		if got, want := k.sums(c.pod, c.dir), versions[c.version-1]; got != want {
			t.Errorf("%s does not hold version %d: %s", c.dir, c.version, firstDifference(got, want))
		}
	}
	if out, err := k.tryExec("reader", "echo x > /readonly/x"); err == nil || !strings.Contains(out, "Read-only file system") {
		t.Errorf("a ReadOnlyMany volume can be written: %s", out)
	}
	k.exec("reader", "echo own > /restored/own && sync")
	if out, err := k.tryExec("writer", "cat /journal/own"); err == nil {
		t.Errorf("a write to the restored volume is seen in its source: %s", out)
	}
}

// writeVersion rewrites 300 files and gives their checksums.
func writeVersion(k kube, version int) string {
	k.t.Helper()
	k.exec("writer", fmt.Sprintf(`cd /journal && seq 300 | awk '{f="d" $1%%10 "/f" $1; if ($1<=10) system("mkdir -p d" $1%%10); for (i=0;i<20;i++) print %d, $1, i, $1*i*%d > f; close(f)}' && rm -f only-in-* && echo %d > only-in-%d`,
		version, version+7, version, version))
	return k.sums("writer", "/journal")
}

// checkLog looks at the commit that a VolumeSnapshot made.
func checkLog(t *testing.T, ns string) {
	t.Helper()
	commits := logOf(t, "journal")
	if len(commits) != 1 {
		t.Fatalf("dm log shows %d commits after one VolumeSnapshot", len(commits))
	}
	c := commits[0]
	var values []string
	for _, value := range c.Metadata {
		values = append(values, value)
	}
	if c.Message != "version one" || !slices.Contains(values, "first") || !slices.Contains(values, ns) {
		t.Errorf("the commit does not carry the message, name and namespace of its VolumeSnapshot: %+v", c)
	}
	text := dm(t, "log", "journal")
	for _, want := range []string{"commit " + c.ID, "version one", "first", ns} {
		if !strings.Contains(text, want) {
			t.Errorf("dm log does not show %q:\n%s", want, text)
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d is %q, want %q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d files, want %d", len(g), len(w))
}
