//go:build apiserver

package pools_test

import (
	"context"
	"fmt"
	"net"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/pools"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// disk is what lies on a PVC, and what the registry keeps of it.
type disk struct {
	exists bool
	// importedOn is the node whose kernel has the pool imported, and host the machine
	// that had it last.
	importedOn, host string
	// exported says that the last one did export it.
	exported bool
	// generation is the highest that imported it, released the highest that exported
	// it.
	generation, released uint64
}

// importPool is a server's start: what it may import by the registry, by its
// arguments, and by what the disk says of itself.
func (w *world) importPool(pod *corev1.Pod) bool {
	w.Helper()
	args := arguments(pod)
	claim, generation, node := args["--pool-claim"], number(args["--pool-generation"]), pod.Spec.NodeName
	if claim == "" {
		claim = "local-" + node
	}
	d := w.disks[claim]
	if d == nil {
		d = &disk{}
		w.disks[claim] = d
	}
	_, takeOver := args["--pool-take-over"]
	switch {
	case w.noEtcd:
		return false
	case generation < d.generation || (generation == d.released && generation > 0):
		return false // the registry: the pool was given away
	case d.importedOn != "" && d.importedOn != node:
		w.Fatalf("server %s would be a second writer: node %s has the pool imported", pod.Name, d.importedOn)
	case d.importedOn == "" && d.exists && !d.exported && !takeOver && d.host != w.host(node):
		return false // zpool import says that it may be in use elsewhere
	}
	d.host = w.host(node)
	d.exists, d.exported, d.importedOn, d.generation = true, false, node, generation
	return true
}

// serve looks which servers there are.
func (w *world) serve() {
	w.Helper()
	var all corev1.PodList
	w.must(w.client.List(w.Context(), &all, client.InNamespace(w.namespace), client.MatchingLabels{specs.LabelComponent: specs.ComponentServer}))
	clear(w.servers)
	for i := range all.Items {
		if pod := &all.Items[i]; pod.Status.PodIP != "" && !w.off[pod.Spec.NodeName] {
			w.servers[pod.Status.PodIP] = pod
		}
	}
}

// Status is a server's, of this fake that says that it is one.
func (w *world) Status(_ context.Context, address string) (pools.Status, error) {
	host, _, err := net.SplitHostPort(address)
	pod := w.servers[host]
	if err != nil || pod == nil || w.noEtcd {
		return pools.Status{}, fmt.Errorf("fake server: nobody answers at %s", address)
	}
	d, claim := w.diskOf(pod)
	s := pools.Status{}
	s.Version, s.Generation = "fake", number(arguments(pod)["--pool-generation"])
	s.Node, s.Claim = pod.Spec.NodeName, arguments(pod)["--pool-claim"]
	s.Released = d.exported && d.released == s.Generation
	if d.importedOn == pod.Spec.NodeName && d.generation == s.Generation {
		s.Pool, s.Health, s.InUse = guid(claim), "ONLINE", w.inUse[pod.Spec.NodeName]
		s.WantedPools = w.wanted
	}
	return s, nil
}

// Release is a server's.
func (w *world) Release(_ context.Context, address string, generation uint64) (pools.Released, error) {
	host, _, _ := net.SplitHostPort(address)
	pod := w.servers[host]
	if pod == nil {
		return pools.Released{}, fmt.Errorf("fake server: nobody answers at %s", address)
	}
	d, _ := w.diskOf(pod)
	switch own := number(arguments(pod)["--pool-generation"]); {
	case own != generation:
		return pools.Released{Reason: "another generation"}, nil
	case w.inUse[pod.Spec.NodeName] || len(w.holders[pod.Spec.NodeName]) > 0:
		return pools.Released{Reason: "it is mounted", Holders: w.holders[pod.Spec.NodeName]}, nil
	}
	d.importedOn, d.exported, d.released = "", true, generation
	return pools.Released{Released: true}, nil
}

func (w *world) diskOf(pod *corev1.Pod) (*disk, string) {
	claim := arguments(pod)["--pool-claim"]
	if claim == "" {
		claim = "local-" + pod.Spec.NodeName
	}
	if d := w.disks[claim]; d != nil {
		return d, claim
	}
	return &disk{}, claim
}

func guid(claim string) string { return "guid-" + claim }

func arguments(pod *corev1.Pod) map[string]string {
	args := map[string]string{}
	for _, arg := range pod.Spec.Containers[0].Args {
		name, value, _ := strings.Cut(arg, "=")
		args[name] = value
	}
	return args
}

func number(s string) (n uint64) {
	_, _ = fmt.Sscan(s, &n)
	return n
}
