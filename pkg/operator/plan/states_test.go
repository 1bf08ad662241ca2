package plan

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// The words that the tables are written in.

func state(t *testing.T, data map[string]string) State {
	t.Helper()
	c, _, err := config.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return State{Now: now, Config: c, Cluster: testCluster}
}

// check compares what Next says, in order.
func check(t *testing.T, name string, s State, want []string) {
	t.Helper()
	var got []string
	for _, a := range Next(s) {
		got = append(got, a.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", name, got, want)
	}
}

func node(name string, is ...func(*Node)) Node {
	n := Node{Name: name, Machine: machine(name), ResourceVersion: "1", Labels: map[string]string{}, Ready: true}
	for _, f := range is {
		f(&n)
	}
	return n
}

func machine(node string) specs.Machine {
	return specs.Machine{UID: types.UID("uid-" + node), Boot: "boot-" + node, System: "system-" + node}
}

func labelled(n *Node)     { n.Labels[specs.LabelServer] = specs.True }
func deselected(n *Node)   { n.Labels["dotmesh"] = "no" }
func cordoned(n *Node)     { n.Cordoned = true }
func unready(n *Node)      { n.Ready = false }
func outOfService(n *Node) { n.OutOfService = true }
func deleting(n *Node)     { n.Deleting = true }

// local is a node's server that is well and idle for a second.
func local(node string, is ...func(*Server)) Server {
	return server(Pod{Name: specs.LocalServerName(node), Node: node, Spec: wantedSpec("")}, is...)
}

// wantedSpec is the hash of the servers of state; mode is "" for local.
func wantedSpec(mode corev1.PersistentVolumeMode) string {
	c, _, err := config.Parse(nil)
	if err != nil {
		panic(err)
	}
	s := specs.Server{}
	if mode != "" {
		s.Claim = &specs.Claim{VolumeMode: mode}
	}
	return specs.ServerHash(testCluster, c, s)
}

var testCluster = specs.Cluster{Namespace: "dotmesh", Image: "dotmesh:1"}

func server(p Pod, is ...func(*Server)) Server {
	p.UID, p.Created = types.UID("uid-"+p.Name), now.Add(-time.Hour)
	p.Phase, p.Ready, p.WasReady = corev1.PodRunning, true, true
	s := Server{Pod: p, Report: &Report{At: now, Pool: "pool-of-" + p.Name, Health: HealthOnline, Generation: p.Generation}}
	idleFor(time.Second)(&s)
	for _, f := range is {
		f(&s)
	}
	return s
}

func failed(s *Server)      { s.Phase, s.Ready, s.Report = corev1.PodFailed, false, nil }
func terminating(s *Server) { going(&s.Pod) }
func inUse(s *Server)       { s.Report.InUse, s.IdleSince = true, time.Time{} }
func released(s *Server) {
	s.Report.Released, s.Ready, s.Report.Health, s.Report.Pool = true, false, "", ""
}

func idleFor(d time.Duration) func(*Server) {
	return func(s *Server) { s.IdleSince = now.Add(-d) }
}

// tainted keeps our pods away.
func tainted(n *Node) {
	n.Taints = []corev1.Taint{{Key: "example.com/others", Effect: corev1.TaintEffectNoSchedule}}
}

func zoned(zone string) func(*Node) {
	return func(n *Node) { n.Labels[corev1.LabelTopologyZone] = zone }
}

// pvc is free, bound, an hour old and of the wanted size.
func pvc(name string, is ...func(*PVC)) PVC {
	p := PVC{Name: name, UID: types.UID("1234567890-" + name), ResourceVersion: "1", Created: now.Add(-time.Hour),
		VolumeMode: corev1.PersistentVolumeBlock, Volume: "pv-" + name, Requested: 10 << 30, Capacity: 10 << 30}
	for _, f := range is {
		f(&p)
	}
	return p
}

func unbound(p *PVC)      { p.Volume, p.Capacity = "", 0 }
func pooled(p *PVC)       { p.Assignment.Pool = "pool-" + p.Name }
func toBeDeleted(p *PVC)  { p.Assignment.Delete = true }
func beingDeleted(p *PVC) { p.Deleting = true }
func lost(p *PVC)         { p.Lost = true }
func malformed(p *PVC)    { p.Malformed = "so it is" }

// of is the assignment to a node, free that to none.
func of(node string, generation uint64) func(*PVC) {
	return func(p *PVC) {
		p.Assignment.Node, p.Assignment.Generation, p.Assignment.PoolName = node, generation, "pool-12345678"
		if node != "" {
			p.Assignment.Machine = machine(node)
		}
	}
}

func free(generation uint64) func(*PVC) {
	return func(p *PVC) {
		of("", generation)(p)
		p.Assignment.Freed = now.Add(-time.Second)
	}
}

func freedFor(d time.Duration) func(*PVC) { return func(p *PVC) { p.Assignment.Freed = now.Add(-d) } }

func wasReleased(generation uint64) func(*PVC) {
	return func(p *PVC) { p.Assignment.Released = generation }
}

func saidNotImported(generation uint64) func(*PVC) {
	return func(p *PVC) { p.Assignment.GivenUp = generation }
}

func aged(d time.Duration) func(*PVC) { return func(p *PVC) { p.Created = now.Add(-d) } }

// holder is a PVC's, and runs.
func holder(pvc, node string, is ...func(*Pod)) Pod {
	p := Pod{Name: specs.HolderName(pvc, node), UID: types.UID("uid-" + pvc + node), Node: node, PVC: pvc, Phase: corev1.PodRunning,
		Created: now.Add(-time.Hour), Ready: true, WasReady: true, Spec: specs.HolderHash(testCluster, corev1.PersistentVolumeBlock)}
	for _, f := range is {
		f(&p)
	}
	return p
}

func madeAgo(d time.Duration) func(*Pod) { return func(p *Pod) { p.Created = now.Add(-d) } }

func pending(p *Pod)  { p.Phase, p.Ready, p.WasReady = corev1.PodPending, false, false }
func ended(p *Pod)    { p.Phase, p.Ready = corev1.PodFailed, false }
func going(p *Pod)    { p.Deleting, p.GoneBy = true, now }
func down(p *Pod)     { p.Ready = false }
func outdated(p *Pod) { p.Spec = "other" }

// on is a PVC's server that is well and idle for a second.
func on(pvc, node string, generation uint64, is ...func(*Server)) Server {
	s := server(Pod{Name: specs.ServerName(pvc, node), Node: node, PVC: pvc, Generation: generation, Spec: wantedSpec(corev1.PersistentVolumeBlock)})
	s.Report.Pool = "pool-" + pvc
	for _, f := range is {
		f(&s)
	}
	return s
}

func readySince(ago time.Duration) func(*Server) {
	return func(s *Server) { s.ReadySince = now.Add(-ago) }
}

// waitsAgain is a server that was up once, and whose machine has rebooted since into a
// kernel that cannot import its pool.
func waitsAgain(ago time.Duration) func(*Server) {
	return func(s *Server) {
		starting(s)
		s.WasReady, s.ReadySince = true, now.Add(-ago)
	}
}

func silent(s *Server) { s.Report, s.IdleSince = nil, time.Time{} }

func users(names ...string) func(*Server) { return func(s *Server) { s.Report.Users = names } }

func wants(pools ...string) func(*Server) { return func(s *Server) { s.Report.WantedPools = pools } }
