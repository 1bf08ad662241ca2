//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// datasetsOf are the filesystems of a dot, asked of ZFS on the node.
func datasetsOf(t *testing.T, dot string) []string {
	t.Helper()
	out := onNode(t, "zfs get -H -o name,value -s local -t filesystem -r io.dotmesh:name "+poolRoot)
	var datasets []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == dot {
			datasets = append(datasets, f[0])
		}
	}
	return datasets
}

// onPool lists all filesystems and snapshots that dots have.
func onPool(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, name := range strings.Fields(onNode(t, "zfs list -H -t filesystem,snapshot,bookmark -o name -r "+poolRoot)) {
		if name != poolRoot {
			names = append(names, name)
		}
	}
	return names
}

// shownDot is what the tests read of `dm show -o json`.
type shownDot struct {
	ID       string
	Name     string
	Released bool
	Volumes  []struct{ ID, PvcName, Subdot string }
	Branches []struct{ Name, LatestCommit string }
}

func showDot(t *testing.T, name string) shownDot {
	t.Helper()
	var d shownDot
	if err := json.Unmarshal([]byte(dm(t, "show", name, "-o", "json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// shownCommit is what the tests read of `dm log -o json`.
type shownCommit struct {
	ID, Message, Handle string
	Metadata            map[string]string
}

func logOf(t *testing.T, name string) []shownCommit {
	t.Helper()
	text := dm(t, "log", name, "-o", "json")
	if strings.TrimSpace(text) == "" {
		return nil
	}
	var l struct{ Commits []shownCommit }
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		t.Fatal(err)
	}
	return l.Commits
}

// registryKeys are the keys in dotmesh's etcd.
func registryKeys(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	address, err := suite.cluster.Kubectl(ctx, "-n", system, "get", "pod", "-l", "app.kubernetes.io/component=etcd", "-o", "jsonpath={.items[0].status.podIP}")
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(suite.work, "certs", "dotmesh-etcd-client", name) }
	out, err := suite.cluster.Command(ctx, filepath.Join(suite.work, "registry"),
		"-endpoint", string(address)+":2379", "-name", "dotmesh-etcd-cluster-client.dotmesh.svc",
		"-ca", file("ca.crt"), "-cert", file("tls.crt"), "-key", file("tls.key")).CombinedOutput()
	if err != nil {
		t.Fatalf("read the registry: %v\n%s", err, out)
	}
	return strings.Fields(string(out))
}

// lasting are the keys that belong to the cluster and not to a dot.
var lasting = []string{"cluster", "pools/", "alive/", "users/"}

// leftOver gives everything of dots that is still somewhere, once all that used
// them is deleted.
func leftOver(t *testing.T) []string {
	t.Helper()
	left := onPool(t)
	for _, key := range registryKeys(t) {
		name := strings.TrimPrefix(key, "/dotmesh/")
		if !slices.ContainsFunc(lasting, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			left = append(left, key)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	objects, err := suite.cluster.Kubectl(ctx, "get", "pv,volumeattachment,volumesnapshotcontent,pvc,volumesnapshot", "-A", "-o", "name")
	if err != nil {
		t.Fatal(err)
	}
	return append(left, strings.Fields(string(objects))...)
}

// nothingLeft waits for what is done in the background, and fails when anything
// stays.
func nothingLeft(t *testing.T) {
	t.Helper()
	eventually(t, volumeLimit, "everything is gone", func() error {
		if left := leftOver(t); len(left) > 0 {
			return fmt.Errorf("left: %s", strings.Join(left, " "))
		}
		return nil
	})
}

// deleteDot ends a dot that outlives its volumes, because dm made it or commits
// of it. Those of a namespace that is gone go one after another yet.
func deleteDot(t *testing.T, name string) {
	t.Helper()
	eventually(t, volumeLimit, "delete dot "+name, func() error {
		code, _, errOut := tryDM(t, "dot", "delete", name, "--force")
		if code != 0 && code != 3 {
			return fmt.Errorf("exit code %d: %s", code, errOut)
		}
		return nil
	})
}
