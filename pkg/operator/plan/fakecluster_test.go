package plan

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// fakeCluster is a fake of Kubernetes' object store, and of what kubelets, disks and
// servers do with it, for the sake of the plan only: it knows no more of them than
// the plan counts on, and proves nothing about the operator that talks to a real one.
//
// It breaks off, with a violation, when something happens that must never happen.
type fakeCluster struct {
	now      time.Time
	config   config.Config
	image    string
	version  int // of the last write
	nodes    map[string]*fakeNode
	pvcs     map[string]*fakePVC
	pods     map[string]*fakePod // by name: servers and holders
	guards   map[string]bool
	attached map[string]fakeAttachment // by volume
	// registry is etcd's record of who served a PVC last; servers that start without it
	// wait, and are silent.
	registry map[types.UID]fakeClaim
	noEtcd   bool
	noDetach bool // the attacher does not work
	random   *rand.Rand
	names    int
}

type fakeNode struct {
	Node
	on       bool            // the machine
	host     string          // its hostid
	boot     string          // of its kernel, which its kubelet tells
	imported map[string]bool // PVCs whose pools its kernel has
	inUse    map[string]bool // those that pods use
	// since is when somebody deleted the Node, and back when its kubelet makes it anew.
	since, back time.Time
}

// isThere tells whether Kubernetes has the node.
func (n *fakeNode) isThere() bool { return n != nil && n.back.IsZero() }

type fakePVC struct {
	PVC
	made     bool   // there is a pool on it
	exported bool   // and nobody has it imported, properly
	last     string // the hostid of who imported it last
	wanted   bool   // a pod waits for it
}

type fakePod struct {
	Pod
	holder   bool
	takeOver bool
	released bool
	serves   bool
	hangs    bool // it does not go
}

type fakeAttachment struct {
	Attachment
	host string // the machine that has the disk
}

type fakeClaim struct {
	generation uint64
	released   bool
}

// violation is what must never happen.
type violation string

func (v violation) Error() string { return string(v) }

func violated(format string, args ...any) error { return violation(fmt.Sprintf(format, args...)) }

var errConflict = errors.New("conflict")

func newFakeCluster(t *testing.T, random *rand.Rand) *fakeCluster {
	t.Helper()
	c, _, err := config.Parse(map[string]string{"storageMode": "pvcPerNode", "nodeSelector": "dotmesh!=no"})
	if err != nil {
		t.Fatal(err)
	}
	return &fakeCluster{
		now: now, config: c, image: "dotmesh:1", random: random,
		nodes: map[string]*fakeNode{}, pvcs: map[string]*fakePVC{}, pods: map[string]*fakePod{}, guards: map[string]bool{},
		attached: map[string]fakeAttachment{}, registry: map[types.UID]fakeClaim{},
	}
}

func (c *fakeCluster) write() string {
	c.version++
	return fmt.Sprint(c.version)
}

func (c *fakeCluster) unique(prefix string) string {
	c.names++
	return fmt.Sprintf("%s%d", prefix, c.names)
}

func (c *fakeCluster) addNode(zone string) {
	name, boot := c.unique("n"), c.unique("boot")
	c.nodes[name] = &fakeNode{
		Node: Node{Name: name, Machine: specs.Machine{UID: types.UID(c.unique("uid")), Boot: boot, System: name}, ResourceVersion: c.write(), Ready: true, Labels: map[string]string{corev1.LabelTopologyZone: zone}},
		on:   true, host: name, boot: boot, imported: map[string]bool{}, inUse: map[string]bool{},
	}
}

// dead is what Kubernetes, or a person, says of a machine.
func (c *fakeCluster) dead(m Machine) bool {
	n := c.nodes[m.Node]
	return !n.isThere() || m.IsDead(n.Node)
}

// isNew tells whether a node has registered a short while ago: it may have its label
// yet to come.
func (c *fakeCluster) isNew(n *fakeNode) bool { return c.now.Sub(n.Created) < 10*time.Minute }

func (c *fakeCluster) runs(node string) bool {
	n, found := c.nodes[node]
	return found && n.on
}

// observe is what an operator sees, as a copy.
func (c *fakeCluster) observe(idle map[types.UID]time.Time) State {
	s := State{Now: c.now, Config: c.config, Cluster: specs.Cluster{Namespace: "dotmesh", Image: c.image}}
	for _, n := range c.nodes {
		if n.isThere() {
			copied := n.Node
			copied.Labels = maps.Clone(n.Labels)
			s.Nodes = append(s.Nodes, copied)
		}
	}
	for _, p := range c.pvcs {
		s.PVCs = append(s.PVCs, p.PVC)
		if on, found := c.attached[p.Volume]; found {
			s.Attachments = append(s.Attachments, on.Attachment)
		}
	}
	for _, pod := range c.pods {
		if pod.holder {
			s.Holders = append(s.Holders, pod.Pod)
			continue
		}
		s.Servers = append(s.Servers, Server{Pod: pod.Pod, Report: c.report(pod), IdleSince: idle[pod.UID]})
	}
	s.Guards = slices.Collect(maps.Keys(c.guards))
	return s
}

func (c *fakeCluster) report(pod *fakePod) *Report {
	if !c.runs(pod.Node) || pod.Phase != corev1.PodRunning || !(pod.serves || pod.released) {
		return nil
	}
	r := &Report{At: c.now, Released: pod.released, Generation: pod.Generation}
	if pod.serves {
		r.Pool, r.Health = "pool-"+pod.PVC, HealthOnline
		r.InUse = c.nodes[pod.Node].inUse[pod.PVC]
		for _, name := range slices.Sorted(maps.Keys(c.pvcs)) {
			if c.pvcs[name].wanted && !c.isServed(name) {
				r.WantedPools = append(r.WantedPools, "pool-"+name)
			}
		}
	}
	return r
}

func (c *fakeCluster) isServed(pvc string) bool {
	for _, pod := range c.pods {
		if pod.PVC == pvc && pod.serves && c.runs(pod.Node) {
			return true
		}
	}
	return false
}

// apply does an action, as package pools would.
func (c *fakeCluster) apply(action Action) error {
	switch a := action.(type) {
	case LabelNode:
		return c.label(a.Node)
	case UnlabelNode:
		return c.unlabel(a)
	case CreatePVC:
		return c.createPVC(a.Name)
	case AssignPVC:
		return c.change(a.Change)
	case RecordPool:
		return c.change(a.Change)
	case RecordNode:
		if n := c.nodes[a.To.Node]; !n.isThere() || n.Machine != a.To.Machine || n.OutOfService {
			return errConflict
		}
		return c.change(a.Change)
	case MarkReleased:
		return c.change(a.Change)
	case MarkImported:
		return c.change(a.Change)
	case FreePVC:
		return c.free(a)
	case DeletePVC:
		return c.deletePVC(a.PVCRef)
	case GrowPVC:
		return c.grow(a)
	case CreateGuard:
		c.guards[a.Holder.Name()] = true
	case DeleteGuard:
		if _, found := c.pods[a.Name]; found {
			return errConflict
		}
		delete(c.guards, a.Name)
	case CreateHolder:
		return c.createPod(a.Node, a.Claim, true)
	case CreateServer:
		return c.createPod(a.Node, *a.Claim, false)
	case DeleteHolder:
		return c.deletePod(a.PodRef)
	case DeleteServer:
		return c.deletePod(a.PodRef)
	case Release:
		return c.release(a)
	}
	return nil
}

func (c *fakeCluster) label(node string) error {
	n := c.nodes[node]
	if !n.isThere() {
		return errConflict
	}
	n.Labels[specs.LabelServer], n.ResourceVersion = specs.True, c.write()
	return nil
}

func (c *fakeCluster) unlabel(a UnlabelNode) error {
	n := c.nodes[a.Node]
	if !n.isThere() || n.ResourceVersion != a.ResourceVersion {
		return errConflict
	}
	if n.on && len(n.imported) > 0 {
		return violated("node %s loses its label with pools %v imported", n.Name, n.imported)
	}
	delete(n.Labels, specs.LabelServer)
	n.ResourceVersion = c.write()
	return nil
}

func (c *fakeCluster) createPVC(name string) error {
	if _, found := c.pvcs[name]; found {
		return errConflict
	}
	c.pvcs[name] = &fakePVC{PVC: PVC{
		Name: name, UID: types.UID(c.unique("uid")), ResourceVersion: c.write(), Created: c.now,
		VolumeMode: corev1.PersistentVolumeBlock, Requested: c.config.PVCPerNode.PVSize.Bytes(),
	}}
	return nil
}

func (c *fakeCluster) current(ref PVCRef) (*fakePVC, error) {
	p, found := c.pvcs[ref.Name]
	if !found || p.UID != ref.UID || p.ResourceVersion != ref.ResourceVersion {
		return nil, errConflict
	}
	return p, nil
}

func (c *fakeCluster) change(change Change) error {
	p, err := c.current(change.PVCRef)
	if err != nil {
		return err
	}
	if change.To.Generation < p.Assignment.Generation {
		return violated("PVC %s goes back to generation %d", p.Name, change.To.Generation)
	}
	p.Assignment, p.ResourceVersion = change.To, c.write()
	return nil
}

func (c *fakeCluster) free(a FreePVC) error {
	p, err := c.current(a.PVCRef)
	if err != nil || a.Dead != (Machine{}) && !c.dead(a.Dead) {
		return errConflict
	}
	if n := c.nodes[p.Assignment.Node]; n != nil && n.on && n.imported[p.Name] {
		return violated("PVC %s is taken from node %s, which has its pool imported", p.Name, n.Name)
	}
	return c.change(a.Change)
}

func (c *fakeCluster) deletePVC(ref PVCRef) error {
	p, err := c.current(ref)
	if err != nil {
		return err
	}
	if !p.Assignment.Delete || !p.Assignment.IsFree() {
		return violated("PVC %s is deleted, and nobody allowed it", p.Name)
	}
	delete(c.pvcs, p.Name)
	return nil
}

func (c *fakeCluster) grow(a GrowPVC) error {
	p, err := c.current(a.PVCRef)
	if err != nil {
		return err
	}
	if a.Bytes < p.Requested {
		return violated("PVC %s shrinks", p.Name)
	}
	p.Requested, p.ResourceVersion = a.Bytes, c.write()
	return nil
}

func (c *fakeCluster) createPod(node string, claim specs.Claim, holder bool) error {
	s := specs.Server{Node: node, Claim: &claim}
	pod := &fakePod{holder: holder, takeOver: claim.TakeOver, Pod: Pod{
		Name: s.Name(), UID: types.UID(c.unique("uid")), Node: node, PVC: claim.PVC, Generation: claim.Generation,
		ResourceVersion: c.write(), Created: c.now, Phase: corev1.PodPending, Spec: specs.ServerHash(specs.Cluster{Namespace: "dotmesh", Image: c.image}, c.config, s),
	}}
	if holder {
		pod.Name = specs.Holder{Node: node, Claim: claim}.Name()
		pod.Spec = specs.HolderHash(specs.Cluster{Namespace: "dotmesh", Image: c.image}, claim.VolumeMode)
	}
	p, found := c.pvcs[claim.PVC]
	if _, taken := c.pods[pod.Name]; taken || !found || p.Assignment.Node != node || p.Assignment.Generation != claim.Generation {
		return errConflict
	}
	if holder && !c.guards[pod.Name] {
		return violated("holder %s has no budget", pod.Name)
	}
	if n := c.nodes[node]; n.isThere() && !c.isNew(n) && n.Labels[specs.LabelServer] != specs.True {
		return violated("a pod for node %s, which has no label", node)
	}
	c.pods[pod.Name] = pod
	return nil
}

func (c *fakeCluster) deletePod(ref PodRef) error {
	pod, found := c.pods[ref.Name]
	if !found || pod.UID != ref.UID || ref.ResourceVersion != "" && pod.ResourceVersion != ref.ResourceVersion {
		return errConflict
	}
	if ref.Force() {
		if !c.dead(ref.Dead) {
			return errConflict
		}
		if n := c.nodes[pod.Node]; pod.holder && n != nil && n.on && n.imported[pod.PVC] {
			return violated("holder %s goes by force while the pool is imported", pod.Name)
		}
		delete(c.pods, ref.Name)
		return nil
	}
	if pod.holder && pod.Phase == corev1.PodRunning && c.runs(pod.Node) && c.nodes[pod.Node].imported[pod.PVC] {
		return violated("holder %s goes while the pool is imported", pod.Name)
	}
	pod.Deleting, pod.GoneBy = true, c.now
	return nil
}

// release is what the server does: it refuses while something uses the pool.
func (c *fakeCluster) release(a Release) error {
	pod, found := c.pods[a.Name]
	if !found || pod.UID != a.UID || !pod.serves || !c.runs(pod.Node) || pod.Generation != a.Generation {
		return errConflict
	}
	n, p := c.nodes[pod.Node], c.pvcs[pod.PVC]
	if n.inUse[pod.PVC] {
		return errConflict
	}
	delete(n.imported, pod.PVC)
	p.exported = true
	pod.serves, pod.released, pod.Ready = false, true, false
	c.registry[p.UID] = fakeClaim{pod.Generation, true}
	return nil
}
