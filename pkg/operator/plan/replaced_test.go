package plan

import (
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// again is a node of a name that another one had, there for five minutes.
func again(n *Node) {
	rebootedAnew(n)
	n.System = "another-" + n.System
}

// rebootedAnew is that of one that was booted before.
func rebootedAnew(n *Node) {
	anew(n)
	rebooted(n)
}

// anew is the node of a machine that never stopped, and has registered again.
func anew(n *Node) { n.UID, n.Created = "another-"+n.UID, now.Add(-5*time.Minute) }

func rebooted(n *Node) { n.Boot = "another-" + n.Boot }

func bootless(n *Node) { n.Boot = "" }

func fresh(n *Node) { n.Created = now.Add(-time.Minute) }

func justReady(n *Node) { n.ReadySince = now.Add(-time.Minute) }

// in is a pod of a generation.
func in(generation uint64) func(*Pod) { return func(p *Pod) { p.Generation = generation } }

func told(ago time.Duration) func(*Server) {
	return func(s *Server) { s.Report.At = now.Add(-ago) }
}

func noUID(p *PVC) { p.Assignment.Machine = specs.Machine{} }

func noSystem(p *PVC) { p.Assignment.Machine.System = "" }

func noBoot(p *PVC) { p.Assignment.Machine.Boot, p.Assignment.Machine.System = "", "" }

// attachedFor is where p1's volume is, since when.
func attachedFor(ago time.Duration, nodes ...string) (all []Attachment) {
	for _, n := range nodes {
		all = append(all, Attachment{"va-" + n, "pv-p1", n, now.Add(-ago)})
	}
	return all
}

// A node that has the name of another one, which is gone, has neither its disk nor its
// pods.
func TestNodeReplacedUnderItsName(t *testing.T) {
	replaced, used := []Node{node("n1", again)}, []PVC{pvc("p1", of("n1", 3), wasReleased(2), pooled)}
	died := []func(*PVC){free(3), wasReleased(2), pooled}
	run(t, map[string]scene{
		"the server goes by force": {
			nodes: replaced, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3), down)}, servers: []Server{on("p1", "n1", 3, silent)},
			want: []string{"delete server server-p1-node-n1 by force"}},
		"once it had time to tell": {
			nodes: []Node{node("n1", again, fresh)}, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3), down)}, servers: []Server{on("p1", "n1", 3, silent)}},
		"and its kubelet, which was not ready for long": {
			nodes: []Node{node("n1", rebootedAnew, justReady)}, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3), down)}, servers: []Server{on("p1", "n1", 3, silent)}},
		"or is not": {
			nodes: []Node{node("n1", rebootedAnew, unready)}, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3), down)}, servers: []Server{on("p1", "n1", 3, silent)}},
		"another machine is waited for no longer than for a server to tell": {
			nodes: []Node{node("n1", again, unready)}, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3), down)}, servers: []Server{on("p1", "n1", 3, silent)},
			want: []string{"delete server server-p1-node-n1 by force"}},
		"also of one that ended: the pool may be imported": {
			nodes: []Node{node("n1", again, fresh)}, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3), down)}, servers: []Server{on("p1", "n1", 3, failed)}},
		"and of a holder alone": {
			nodes: []Node{node("n1", again, fresh)}, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3))}},
		"also one that is ending": {
			nodes: replaced, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3), down)}, servers: []Server{on("p1", "n1", 3, silent, terminating)},
			want: []string{"delete server server-p1-node-n1 by force"}},
		"whatever it said before the node was there": {
			nodes: replaced, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3), down)}, servers: []Server{on("p1", "n1", 3, inUse, told(10*time.Minute))},
			want: []string{"delete server server-p1-node-n1 by force"}},
		"then the holder": {
			nodes: replaced, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3), going, down)},
			want: []string{"delete holder holder-p1-node-n1 by force"}},
		"then the PVC is free": {
			nodes: replaced, pvcs: used, want: []string{"free PVC p1"}},
		"and the node's, in a generation of its own": {
			nodes: replaced, pvcs: []PVC{pvc("p1", died...)}, want: []string{gives("p1", "n1", 4)}},
		"but not before the old one's attachment is gone": {
			nodes: replaced, pvcs: []PVC{pvc("p1", died...)}, attachments: attachedFor(time.Hour, "n1")},
		"which another node need not wait for": {
			nodes: []Node{node("n1", again), node("n0")}, pvcs: []PVC{pvc("p1", died...)}, attachments: attachedFor(time.Hour, "n1"),
			want: []string{gives("p1", "n0", 4)}},
		"an attachment of its own is none of the old one's": {
			nodes: replaced, pvcs: []PVC{pvc("p1", died...)}, attachments: attachedFor(time.Second, "n1"), want: []string{gives("p1", "n1", 4)}},
		"a server that has told since that it has the pool never stopped: the node is the same": {
			nodes: replaced, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3))}, servers: []Server{on("p1", "n1", 3, inUse)},
			want: []string{"PVC p1 is assigned to node n1 of UID another-uid-n1 and boot another-boot-n1"}},
		"one that only waits did": {
			nodes: replaced, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3), down)},
			servers: []Server{on("p1", "n1", 3, func(s *Server) { s.Report.Pool = "" })},
			want:    []string{"delete server server-p1-node-n1 by force"}},
		"an assignment without a UID is the node's that is there, and nothing else is done": {
			nodes: n1Left, pvcs: []PVC{pvc("p1", of("n1", 1), pooled, noUID)}, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(1))}, servers: []Server{on("p1", "n1", 1, idleFor(time.Hour))},
			want: []string{"PVC p1 is assigned to node n1 of UID uid-n1 and boot boot-n1"}},
		"but not where there is none": {
			pvcs: []PVC{pvc("p1", of("n1", 1), pooled, noUID)}, want: []string{"free PVC p1"}},
		"nor where it is out of service": {
			nodes: []Node{node("n1", outOfService)}, pvcs: []PVC{pvc("p1", of("n1", 1), pooled, noUID)}, want: []string{"free PVC p1"}},
	})
}

// A machine that registers anew, whatever its pods do meanwhile, keeps its disk: its kernel
// may have the pool imported.
func TestNodeRegisteredAnew(t *testing.T) {
	used, pods := []PVC{pvc("p1", of("n1", 3), wasReleased(2), pooled)}, []Pod{holder("p1", "n1", in(3))}
	waits := []Server{on("p1", "n1", 3, func(s *Server) { s.Report.Pool, s.Ready = "", false })}
	same := []string{"PVC p1 is assigned to node n1 of UID another-uid-n1 and boot boot-n1"}
	again1 := []string{"PVC p1 is assigned to node n1 of UID another-uid-n1 and boot another-boot-n1"}
	run(t, map[string]scene{
		"its server is silent": {
			nodes: []Node{node("n1", anew)}, pvcs: used, guards: n1Guard, holders: pods, servers: []Server{on("p1", "n1", 3, silent)}, want: same},
		"or waits for etcd": {
			nodes: []Node{node("n1", anew)}, pvcs: used, guards: n1Guard, holders: pods, servers: waits, want: same},
		"or is being replaced": {
			nodes: []Node{node("n1", anew)}, pvcs: used, guards: n1Guard, holders: pods, servers: []Server{on("p1", "n1", 3, silent, terminating)}, want: same},
		"or is not there, and its holder is ending": {
			nodes: []Node{node("n1", anew)}, pvcs: used, guards: n1Guard, holders: []Pod{holder("p1", "n1", in(3), going)}, want: same},
		"or nothing is there": {
			nodes: []Node{node("n1", anew)}, pvcs: used, want: same},
		"and nobody waits for it to be ready": {
			nodes: []Node{node("n1", anew, fresh, unready)}, pvcs: used, guards: n1Guard, holders: pods, want: same},
		"a node that has not told its boot may be any": {
			nodes: []Node{node("n1", anew, bootless)}, pvcs: used, guards: n1Guard, holders: pods, servers: waits},
		"also without pods": {
			nodes: []Node{node("n1", anew, bootless)}, pvcs: used},
		"but one that is out of service is dead": {
			nodes: []Node{node("n1", anew, outOfService)}, pvcs: used, want: []string{"free PVC p1"}},
		"one that was rebooted before and has the disk, as the holder runs there": {
			nodes: []Node{node("n1", rebootedAnew)}, pvcs: used, guards: n1Guard, holders: pods, servers: waits, want: again1},
		"another one that has the disk did not import its pool": {
			nodes: []Node{node("n1", again)}, pvcs: used, guards: n1Guard, holders: pods, servers: waits,
			want: []string{"delete server server-p1-node-n1 by force"}},
		"where no boot was kept it may be imported: the holder decides": {
			nodes: []Node{node("n1", again)}, pvcs: []PVC{pvc("p1", of("n1", 3), wasReleased(2), pooled, noBoot)}, guards: n1Guard, holders: pods, servers: waits, want: again1},
		"where only the machine was not kept, one that has booted has the pool when its server says so": {
			nodes: []Node{node("n1", again)}, pvcs: []PVC{pvc("p1", of("n1", 3), wasReleased(2), pooled, noSystem)}, guards: n1Guard, holders: pods, servers: []Server{on("p1", "n1", 3, inUse)}, want: again1},
		"and not when its holder runs: the cloud gives the disk to any of the name": {
			nodes: []Node{node("n1", again)}, pvcs: []PVC{pvc("p1", of("n1", 3), wasReleased(2), pooled, noSystem)}, guards: n1Guard, holders: pods, servers: waits,
			want: []string{"delete server server-p1-node-n1 by force"}},
		"a boot is recorded": {
			nodes: []Node{node("n1", rebooted)}, pvcs: used, guards: n1Guard, holders: pods, servers: waits,
			want: []string{"PVC p1 is assigned to node n1 of UID uid-n1 and boot another-boot-n1"}},
		"also where none was": {
			nodes: []Node{node("n1")}, pvcs: []PVC{pvc("p1", of("n1", 3), wasReleased(2), pooled, noBoot)}, guards: n1Guard, holders: pods, servers: waits,
			want: []string{"PVC p1 is assigned to node n1 of UID uid-n1 and boot boot-n1"}},
		"but none is forgotten": {
			nodes: []Node{node("n1", labelled, bootless)}, pvcs: used, guards: n1Guard, holders: pods, servers: waits},
		"where none was recorded another UID is another node": {
			nodes: []Node{node("n1", again)}, pvcs: []PVC{pvc("p1", of("n1", 3), wasReleased(2), pooled, noBoot)}, want: []string{"free PVC p1"}},
	})
}

// A node that is another one than the PVC's, and never becomes ready, is in no other's way.
func TestNodeThatStaysUnknown(t *testing.T) {
	used, pods := []PVC{pvc("p1", of("n1", 3), wasReleased(2), pooled)}, []Pod{holder("p1", "n1", in(3), down)}
	never := func(age time.Duration, is ...func(*Node)) Node {
		return node("n1", append(is, unready, func(n *Node) { n.Created = now.Add(-age) })...)
	}
	unknown := []string{"warn on PersistentVolumeClaim p1: NodeUnknown: It is assigned to a node n1 that was there before this one, and whose pool this one's machine may have imported: that is known when this node has been ready for 2m0s. If it cannot be, and its machine is off, say so, and the pool goes to another: kubectl taint node n1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"}
	run(t, map[string]scene{
		"for a while nobody is told": {
			nodes: []Node{never(9*time.Minute, rebootedAnew)}, pvcs: used, guards: n1Guard, holders: pods},
		"then the way out is": {
			nodes: []Node{never(10*time.Minute, rebootedAnew)}, pvcs: used, guards: n1Guard, holders: pods, want: unknown},
		"also where it has not told its boot": {
			nodes: []Node{never(time.Hour, again, bootless)}, pvcs: used, guards: n1Guard, holders: pods, want: unknown},
		"which is a way out": {
			nodes: []Node{never(time.Hour, rebootedAnew, outOfService)}, pvcs: used, guards: n1Guard, holders: pods, want: []string{"delete holder holder-p1-node-n1 by force"}},
		"a spare node does not wait": {
			nodes: []Node{node("n0"), never(5*time.Minute, rebootedAnew)}, pvcs: used, guards: n1Guard, holders: pods, want: []string{"create PVC " + made("n0", 0)}},
		"but for what is known to come": {
			nodes: []Node{node("n0"), never(5*time.Minute, again)}, pvcs: used, guards: n1Guard, holders: pods, want: []string{"delete holder holder-p1-node-n1 by force"}},
	})
}

// A machine with another UUID in the same Node is another one, or the same one with other
// firmware: its server's import tells, which ZFS refuses to another one.
func TestAnotherSystemInTheSameNode(t *testing.T) {
	used, pods := []PVC{pvc("p1", of("n1", 3), wasReleased(2), pooled)}, []Pod{holder("p1", "n1", in(3))}
	other := func(n *Node) { labelled(n); rebooted(n); n.System = "other"; n.ReadySince = now.Add(-time.Hour) }
	at := func(s Server, n ...func(*Node)) scene {
		return scene{nodes: []Node{node("n1", append([]func(*Node){other}, n...)...)}, pvcs: used, guards: n1Guard, holders: pods, servers: []Server{s}}
	}
	const record = "PVC p1 is assigned to node n1 of UID uid-n1 and boot another-boot-n1"
	run(t, map[string]scene{
		"it serves: it is the same":     at(on("p1", "n1", 3)).wants(record),
		"it did before the boot":        at(on("p1", "n1", 3, told(2*time.Hour), notReady, readySince(time.Minute))),
		"it does not come up, yet":      at(on("p1", "n1", 3, waitsAgain(9*time.Minute))),
		"it does not come up":           at(on("p1", "n1", 3, waitsAgain(10*time.Minute))).wants("warn on PersistentVolumeClaim p1: AnotherMachine: It is assigned to node n1 as machine system-n1, and that is other now, where server-p1-node-n1 does not come up. If it is another machine, shut it down and say so until the PVC is free, and the next server may take the pool over: kubectl taint node n1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"),
		"the machine is the one it was": at(on("p1", "n1", 3, waitsAgain(time.Hour)), func(n *Node) { n.System = "system-n1" }).wants(record),
		"the kernel is":                 at(on("p1", "n1", 3, waitsAgain(time.Hour)), func(n *Node) { n.Boot = "boot-n1" }).wants("PVC p1 is assigned to node n1 of UID uid-n1 and boot boot-n1"),
	})
}

func TestMachineIsDead(t *testing.T) {
	n1 := Machine{"n1", machine("n1")}
	for name, c := range map[string]struct {
		m    Machine
		n    Node
		dead bool
	}{
		"it is there":               {n1, node("n1"), false},
		"booted":                    {n1, node("n1", rebooted), false},
		"registered anew":           {n1, node("n1", anew), false},
		"another, or booted too":    {n1, node("n1", rebootedAnew), true},
		"any, as it has told none":  {n1, node("n1", again, bootless), false},
		"out of service":            {n1, node("n1", bootless, outOfService), true},
		"any of the name":           {Machine{Node: "n1"}, node("n1", again), false},
		"of before boots were kept": {Machine{"n1", specs.Machine{UID: "uid-n1"}}, node("n1", anew), true},
	} {
		if got := c.m.IsDead(c.n); got != c.dead {
			t.Errorf("%s: dead %v", name, got)
		}
	}
}

func TestDeadMachinesAreNamedByUID(t *testing.T) {
	old := Machine{"n1", machine("n1")}
	gone := holder("p1", "n1", in(3), down)
	gone.ResourceVersion = "7"
	s := scene{nodes: []Node{node("n1", again)}, pvcs: []PVC{pvc("p1", of("n1", 3), pooled)}, holders: []Pod{gone}}
	if got := Next(s.state(t)); len(got) == 0 || got[0].(DeleteHolder).Dead != old || got[0].(DeleteHolder).ResourceVersion != "7" {
		t.Errorf("got %v, want %v looked for once more, and the holder as it was seen", got, old)
	}
	s.holders = nil
	if got := Next(s.state(t)); len(got) == 0 || got[0].(FreePVC).Dead != old {
		t.Errorf("got %v, want %v looked for once more", got, old)
	}
	s.pvcs = []PVC{pvc("p1", free(3), pooled)}
	if got := Next(s.state(t)); len(got) == 0 || got[0].(AssignPVC).To.Machine != s.nodes[0].Machine {
		t.Errorf("got %v, want it assigned to the new one", got)
	}
}
