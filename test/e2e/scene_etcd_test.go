//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"
)

const lastMember = "dotmesh-etcd-cluster-2"

// sceneEtcdLosesAMember: a member's disk and its pod are gone; another is made, and
// commits are made meanwhile.
func sceneEtcdLosesAMember(t *testing.T) {
	sys := kube{t: t, ns: system}
	awaitEtcd(t)
	kept := keepOnEachNode(t, "e2e-member")
	disk := "pvc/data-" + lastMember
	before := sys.get(disk, "{.metadata.uid}")
	sys.kubectl("delete", disk, "--wait=false")
	sys.kubectl("delete", "pod", lastMember, "--wait=false")
	for range 5 {
		kept.commit(t, "while a member is away")
		time.Sleep(5 * time.Second)
	}
	eventually(t, 15*time.Minute, "the member has another disk", func() error {
		out, err := sys.try(callLimit, "get", disk, "-o", "jsonpath={.metadata.uid}")
		if err == nil && out == before {
			err = fmt.Errorf("it has the old one")
		}
		return err
	})
	awaitEtcd(t)
	kept.check(t)
}

// sceneEtcdIsLost: all of etcd is gone, and the registry is rebuilt from the pools, by
// the commands of docs/etcd.md. Who writes goes on meanwhile.
func sceneEtcdIsLost(t *testing.T) {
	sys := kube{t: t, ns: system}
	k := newKube(t, "e2e-etcd-lost")
	f := k.startWriter(suite.cluster.Nodes()[1])
	kept := keepOnEachNode(t, "e2e-etcd-kept")
	waitAcks(t, f, 5)
	before := readHistories(t)
	sys.kubectl("delete", "pvc", "-l", "app.kubernetes.io/component=etcd", "--wait=false")
	sys.kubectl("delete", "pod", "-l", "app.kubernetes.io/component=etcd", "--wait=false")

	commands := documented(t, "docs/etcd.md", "\n## Beginning again", "\n## ")
	again, last := commands[:len(commands)-1], commands[len(commands)-1]
	for _, args := range again {
		if args[0] == "sleep" {
			pause, err := time.ParseDuration(args[1] + "s")
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(pause)
			continue
		}
		inSystem(t, 10*time.Minute, func(w *world, ctx context.Context) error { return w.kubectl(ctx, args...) })
	}
	kept.awaitKnown(t)
	inSystem(t, bootLimit, func(w *world, ctx context.Context) error { return w.operated(ctx, w.cluster.Nodes()) })
	inSystem(t, callLimit, func(w *world, ctx context.Context) error { return w.kubectl(ctx, last...) })
	before.check(t)
	kept.commit(t, "after the registry was rebuilt")
	kept.check(t)
	waitAcks(t, f, 5)
	checkWriter(t, readWriter(k, "writer", "writer"), readWriter(k, "writer", "control"))
	checkRecords(k, "writer", "writer", "/data/records", f.acked())
}
