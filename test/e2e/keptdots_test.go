//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// keptDots are dots with commits, one on the pool of each node.
type keptDots struct {
	k    kube
	dots []keptDot
}

type keptDot struct {
	name    string
	pool    string   // the PVC that its pool lies on
	commits []string // their messages
}

// keepOnEachNode makes the dots, each with a file, a VolumeSnapshot and a pod.
func keepOnEachNode(t *testing.T, namespace string) *keptDots {
	t.Helper()
	kept := &keptDots{}
	sys := kube{t: t, ns: system}
	for i, node := range suite.cluster.Nodes() {
		d := keptDot{name: fmt.Sprintf("%s-%d", namespace, i), pool: poolClaim(sys, node), commits: []string{"first of " + namespace}}
		t.Cleanup(func() { deleteDot(t, d.name) }) // dm commits to them, so they stay after their namespace
		kept.dots = append(kept.dots, d)
	}
	kept.k = newKube(t, namespace)
	for i, node := range suite.cluster.Nodes() {
		name := kept.dots[i].name
		kept.k.apply(claim{name: name, dot: name}, on(node.Name(), pod{name: name, claims: []string{name}}))
	}
	for _, d := range kept.dots {
		kept.k.waitReady(d.name)
		kept.k.exec(d.name, "echo "+d.name+" > /"+d.name+"/file && sync")
		kept.k.apply(snapshot{name: d.name, claim: d.name, message: d.commits[0]})
		kept.k.waitSnapshot(d.name)
	}
	return kept
}

// commit commits each.
func (kept *keptDots) commit(t *testing.T, message string) {
	t.Helper()
	for i := range kept.dots {
		d := &kept.dots[i]
		dm(t, "commit", d.name, "-m", message)
		d.commits = append(d.commits, message)
	}
}

// awaitKnown waits until the registry knows each.
func (kept *keptDots) awaitKnown(t *testing.T) {
	t.Helper()
	eventually(t, bootLimit, "the registry knows all dots", func() error {
		code, out, errOut := tryDM(t, "list")
		for _, d := range kept.dots {
			if code != 0 || !strings.Contains(out, d.name) {
				return fmt.Errorf("dm list ends with %d: %s%s", code, out, errOut)
			}
		}
		return nil
	})
}

// check sees that each is where its pool is, with its file and its commits, and that
// the first commit can be restored.
func (kept *keptDots) check(t *testing.T) {
	t.Helper()
	sys := kube{t: t, ns: system}
	for i, d := range kept.dots {
		node := sys.get("pvc/"+d.pool, `{.metadata.annotations.dotmesh\.io/node}`)
		restored := fmt.Sprintf("%s-restored-%d", d.name, len(d.commits))
		kept.k.kubectl("delete", "pod", d.name, "--ignore-not-found", "--grace-period=0", "--force")
		kept.k.apply(on(node, pod{name: d.name, claims: []string{d.name}}),
			claim{name: restored, fromSnapshot: d.name}, on(node, pod{name: restored, claims: []string{restored}}))
		kept.k.waitReady(d.name, restored)
		for _, of := range []string{d.name, restored} {
			if got := kept.k.exec(of, "cat /"+of+"/file"); got != d.name {
				t.Errorf("%s, on pool %s, holds %q", of, d.pool, got)
			}
		}
		var messages []string
		for _, c := range logOf(t, d.name) {
			messages = append(messages, c.Message)
		}
		for _, want := range d.commits {
			if !slices.Contains(messages, want) {
				t.Errorf("dot %d has lost the commit %q: %q", i, want, messages)
			}
		}
	}
}
