//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

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
