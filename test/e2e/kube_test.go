//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	callLimit   = 2 * time.Minute // one kubectl call, or one command in a pod
	podLimit    = 4 * time.Minute // until a pod runs or is gone
	volumeLimit = 3 * time.Minute // until a claim, or a snapshot, is what it should be
)

// kube is a scene's own Kubernetes namespace.
type kube struct {
	t  *testing.T
	ns string
}

// newKube makes the namespace; it goes, with all it holds, when the test ends.
func newKube(t *testing.T, ns string) kube {
	t.Helper()
	k := kube{t: t, ns: ns}
	k.kubectl("create", "namespace", ns)
	t.Cleanup(func() {
		if t.Failed() {
			suite.dump(t.Name(), []string{ns})
		}
		if _, err := k.try(podLimit+30*time.Second, "delete", "namespace", ns, "--timeout="+seconds(podLimit)); err != nil {
			t.Errorf("the namespace does not go: %v", err)
			suite.dump(t.Name(), []string{ns})
		}
	})
	return k
}

// toTell is kept of the time that go test allows, for a failure to be told and the
// cluster to be taken down.
const toTell = 4 * time.Minute

// inTime is a deadline after limit, or earlier where the tests have to end.
func inTime(t *testing.T, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	end, set := t.Deadline()
	if !set {
		return ctx, cancel
	}
	ctx, cancelEnd := context.WithDeadline(ctx, end.Add(-toTell))
	return ctx, func() { cancelEnd(); cancel() }
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }

// try runs kubectl in the namespace.
func (k kube) try(limit time.Duration, args ...string) (string, error) {
	ctx, cancel := inTime(k.t, limit)
	defer cancel()
	out, err := suite.cluster.Kubectl(ctx, append([]string{"-n", k.ns}, args...)...)
	return string(out), err
}

// kubectl is try for what must succeed.
func (k kube) kubectl(args ...string) string {
	k.t.Helper()
	out, err := k.try(callLimit, args...)
	if err != nil {
		k.t.Fatalf("%v", err)
	}
	return out
}

// apply creates or changes objects.
func (k kube) apply(objects ...fmt.Stringer) {
	k.t.Helper()
	var texts []string
	for _, o := range objects {
		texts = append(texts, o.String())
	}
	k.applyYAML(strings.Join(texts, "---\n"))
}

func (k kube) applyYAML(text string) {
	k.t.Helper()
	ctx, cancel := inTime(k.t, callLimit)
	defer cancel()
	if _, err := suite.cluster.KubectlInput(ctx, strings.NewReader(text), "-n", k.ns, "apply", "-f", "-"); err != nil {
		k.t.Fatalf("%v\n%s", err, text)
	}
}

// wait is kubectl wait.
func (k kube) wait(limit time.Duration, condition string, objects ...string) {
	k.t.Helper()
	args := append([]string{"wait", "--for=" + condition, "--timeout=" + seconds(limit)}, objects...)
	if _, err := k.try(limit+30*time.Second, args...); err != nil {
		k.t.Fatalf("%s: %v\n%s", strings.Join(objects, ", "), err, k.eventsOf(objects...))
	}
}

func (k kube) waitReady(pods ...string) {
	k.t.Helper()
	k.wait(podLimit, "condition=Ready", prefixed("pod/", pods)...)
}

func (k kube) waitBound(claims ...string) {
	k.t.Helper()
	k.wait(volumeLimit, "jsonpath={.status.phase}=Bound", prefixed("pvc/", claims)...)
}

func (k kube) waitSnapshot(names ...string) {
	k.t.Helper()
	k.wait(volumeLimit, "jsonpath={.status.readyToUse}=true", prefixed("volumesnapshot/", names)...)
}

func prefixed(prefix string, names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = prefix + name
	}
	return out
}

// remove deletes objects and waits until they are gone.
func (k kube) remove(objects ...string) {
	k.t.Helper()
	args := append([]string{"delete", "--wait", "--timeout=" + seconds(podLimit)}, objects...)
	if _, err := k.try(podLimit+30*time.Second, args...); err != nil {
		k.t.Fatalf("%v\n%s", err, k.eventsOf(objects...))
	}
}

// get reads a field.
func (k kube) get(object, jsonpath string) string {
	k.t.Helper()
	return k.kubectl("get", object, "-o", "jsonpath="+jsonpath)
}

// tryExec runs a shell command in a pod and gives what it wrote to both streams.
func (k kube) tryExec(pod, script string) (string, error) {
	ctx, cancel := inTime(k.t, callLimit)
	defer cancel()
	out, err := suite.cluster.Kubectl(ctx, "-n", k.ns, "exec", pod, "--", "sh", "-c", "exec 2>&1; "+script)
	return strings.TrimSpace(string(out)), err
}

func (k kube) exec(pod, script string) string {
	k.t.Helper()
	out, err := k.tryExec(pod, script)
	if err != nil {
		k.t.Fatalf("in pod %s: %s: %v\n%s", pod, script, err, out)
	}
	return out
}

// dfKiB is the size that df shows in a pod: statfs(2) of the path. busybox's df
// would show the first mount of the same dataset instead, where a pod has two.
func (k kube) dfKiB(pod, path string) string {
	k.t.Helper()
	return k.exec(pod, "stat -f -c '%b %S' "+path+" | awk '{print $1 * $2 / 1024}'")
}

// sums are the checksums of all files below a directory.
func (k kube) sums(pod, dir string) string {
	k.t.Helper()
	return k.exec(pod, "cd "+dir+" && find . -type f | sort | xargs sha256sum")
}

// eventsOf tells what happened to objects.
func (k kube) eventsOf(objects ...string) string {
	var b bytes.Buffer
	for _, object := range objects {
		if !strings.Contains(object, "/") {
			continue
		}
		out, err := k.try(callLimit, "events", "--for", strings.Replace(object, "pvc/", "persistentvolumeclaim/", 1))
		fmt.Fprintf(&b, "%s:\n%s", object, out)
		if err != nil {
			fmt.Fprintln(&b, err)
		}
	}
	return b.String()
}

// waitEvent waits for an event about an object that says all of these.
func (k kube) waitEvent(limit time.Duration, object string, says ...string) {
	k.t.Helper()
	eventually(k.t, limit, "an event of "+object, func() error {
		events := k.eventsOf(object)
		for _, want := range says {
			if !strings.Contains(events, want) {
				return fmt.Errorf("no event says %q:\n%s", want, events)
			}
		}
		return nil
	})
}

// eventually tries until there is no error.
func eventually(t *testing.T, limit time.Duration, what string, try func() error) {
	t.Helper()
	ctx, cancel := inTime(t, limit)
	defer cancel()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for begin := time.Now(); ; {
		err := try()
		if err == nil {
			t.Logf("%s, after %v", what, time.Since(begin).Round(time.Second))
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		case <-tick.C:
		}
	}
}

// onNode runs a shell command on the node.
func onNode(t *testing.T, script string) string {
	t.Helper()
	ctx, cancel := inTime(t, callLimit)
	defer cancel()
	out, err := suite.cluster.Node(1).SSH(ctx, script)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return strings.TrimSpace(out)
}

// noAnswer is dm's exit code that says that trying again may help.
const noAnswer = 6

// dm runs dm, which must succeed, and gives its output. As a person would, it tries
// again for a minute where there is no answer: a host that is busy with something
// else makes probes late, and kube-proxy then refuses connections for a while.
func dm(t *testing.T, args ...string) string {
	t.Helper()
	begin := time.Now()
	for {
		code, out, errOut := tryDM(t, args...)
		switch {
		case code == 0:
			return out
		case code != noAnswer || time.Since(begin) > time.Minute:
			t.Fatalf("dm %s: exit code %d\n%s", strings.Join(args, " "), code, errOut)
		}
		t.Logf("dm %s: no answer, trying again: %s", strings.Join(args, " "), errOut)
		time.Sleep(2 * time.Second)
	}
}

func tryDM(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := inTime(t, callLimit)
	defer cancel()
	return suite.dm(ctx, args...)
}

func writeFile(path string, content []byte) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600))
}

// removeGlobal deletes an object that belongs to no namespace.
func removeGlobal(t *testing.T, object string) {
	t.Helper()
	k := kube{t: t, ns: "default"}
	if _, err := k.try(callLimit, "delete", object, "--wait", "--timeout=90s", "--ignore-not-found"); err != nil {
		t.Errorf("%v", err)
	}
}
