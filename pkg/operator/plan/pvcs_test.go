package plan

import (
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// scene is a state in the words of states_test.go.
type scene struct {
	nodes       []Node
	pvcs        []PVC
	servers     []Server
	holders     []Pod
	guards      []string
	attachments []Attachment
	data        map[string]string // of the configuration
	want        []string
}

func (c scene) state(t *testing.T) State {
	t.Helper()
	data := map[string]string{"storageMode": "pvcPerNode", "nodeSelector": "dotmesh!=no"}
	for key, value := range c.data {
		data[key] = value
	}
	s := state(t, data)
	s.Nodes, s.PVCs, s.Servers, s.Holders, s.Guards, s.Attachments = c.nodes, c.pvcs, c.servers, c.holders, c.guards, c.attachments
	return s
}

func run(t *testing.T, scenes map[string]scene) {
	t.Helper()
	for name, c := range scenes {
		check(t, name, c.state(t), c.want)
	}
}

var (
	n1      = []Node{node("n1", labelled)}
	n1Guard = []string{"holder-p1-node-n1"}
	n1Left  = []Node{node("n1", labelled, deselected)}
)

// TestHolderThatBeginsToRun: the server may import the pool as soon as the holder runs.
func TestHolderThatBeginsToRun(t *testing.T) {
	seen := holder("p1", "n1", pending, outdated)
	seen.Version = "7"
	s := scene{nodes: []Node{node("n1", labelled)}, pvcs: []PVC{pvc("p1", of("n1", 1))}, guards: []string{seen.Name}, holders: []Pod{seen}}
	if got := Next(s.state(t)); len(got) == 0 || got[0].(DeleteHolder).Version != "7" {
		t.Errorf("got %v, want a deletion of the holder as it was seen", got)
	}
}

func TestServing(t *testing.T) {
	run(t, map[string]scene{
		"a node without a PVC gets one": {
			nodes: []Node{node("n1")}, want: []string{"create PVC " + specs.PVCName("n1", "uid-n1", 0)}},
		"it is assigned in its first generation": {
			nodes: []Node{node("n1")}, pvcs: []PVC{pvc("p1", unbound)}, want: []string{"assign PVC p1 to node n1, generation 1"}},
		"then the node is labelled": {
			nodes: []Node{node("n1")}, pvcs: []PVC{pvc("p1", unbound, of("n1", 1))}, want: []string{"label node n1"}},
		"then the budget comes": {
			nodes: n1, pvcs: []PVC{pvc("p1", unbound, of("n1", 1))}, want: []string{"create PodDisruptionBudget holder-p1-node-n1"}},
		"then the holder": {
			nodes: n1, pvcs: []PVC{pvc("p1", unbound, of("n1", 1))}, guards: n1Guard, want: []string{"create holder holder-p1-node-n1"}},
		"which the server waits for": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1))}, guards: n1Guard, holders: []Pod{holder("p1", "n1", pending)}},
		"and follows": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1))}, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			want: []string{"create server server-p1-node-n1"}},
		"the pool is written down": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1))}, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1)}, want: []string{"PVC p1 holds pool pool-p1"}},
		"which is all": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled)}, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1)}},

		"another pool is not": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), func(p *PVC) { p.Assignment.Pool = "42" })}, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1)},
			want:    []string{"warn on PersistentVolumeClaim p1: AnotherPool: It held pool 42, and now holds pool-p1: if that is meant, remove the annotation dotmesh.io/pool."}},
		"a server that ended makes room": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled)}, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1, failed)}, want: []string{"delete server server-p1-node-n1"}},
		"one that is gone is made again, in its generation": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 3), wasReleased(2), pooled)}, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			want: []string{"create server server-p1-node-n1"}},
		"a holder that is gone is made again under the server": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled)}, guards: n1Guard, servers: []Server{on("p1", "n1", 1, inUse)},
			want: []string{"create holder holder-p1-node-n1"}},
		"one that ended makes room": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled)}, guards: n1Guard, holders: []Pod{holder("p1", "n1", ended)},
			want: []string{"delete holder holder-p1-node-n1"}},
		"one that never ran is made as it should be now": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1))}, guards: n1Guard, holders: []Pod{holder("p1", "n1", pending, outdated)},
			want: []string{"delete holder holder-p1-node-n1"}},
		"one that runs is left as it is": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled)}, guards: n1Guard, holders: []Pod{holder("p1", "n1", outdated)},
			servers: []Server{on("p1", "n1", 1)}},
		"a label that somebody took off is put on again": {
			nodes: []Node{node("n1")}, pvcs: []PVC{pvc("p1", of("n1", 1), pooled)}, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1)}, want: []string{"label node n1"}},
		"a PVC grows with the configuration": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled)}, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1)}, data: map[string]string{"pvcPerNode.pvSizePerNode": "20G"}, want: []string{"grow PVC p1 to 21474836480 bytes"}},
		"and never shrinks": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled)}, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1)}, data: map[string]string{"pvcPerNode.pvSizePerNode": "5G"}},
	})
}

func TestTakeOver(t *testing.T) {
	dead := pvc("p1", of("n1", 2), pooled) // generation 1 was never released
	attached := func(nodes ...string) (all []Attachment) {
		for _, n := range nodes {
			all = append(all, Attachment{Volume: "pv-p1", Node: n})
		}
		return append(all, Attachment{Volume: "pv-other", Node: "n9"})
	}
	waiting := func(on ...string) scene {
		return scene{nodes: n1, pvcs: []PVC{dead}, guards: n1Guard, holders: []Pod{holder("p1", "n1")}, attachments: attached(on...)}
	}
	const text = "warn on PersistentVolumeClaim p1: TakeOverWaits: Its last server did not export the pool, so that it is only imported when volume pv-p1 is attached to node n1 alone; it is attached "
	for name, c := range map[string]struct {
		scene scene
		want  string
	}{
		"attached here alone":     {waiting("n1"), "create server server-p1-node-n1"},
		"attached elsewhere":      {waiting("n2"), text + "to n2."},
		"attached elsewhere too":  {waiting("n1", "n2"), text + "to n1, n2."},
		"attached nowhere at all": {waiting(), text + "nowhere, as far as VolumeAttachments tell."},
	} {
		c.scene.want = []string{c.want}
		check(t, name, c.scene.state(t), c.scene.want)
		for _, a := range Next(c.scene.state(t)) {
			if create, ok := a.(CreateServer); ok && !create.Claim.TakeOver {
				t.Errorf("%s: the server may not take over", name)
			}
		}
	}
	just := waiting("n2")
	just.holders[0].Created = now.Add(-time.Second)
	check(t, "nobody is told of what may be just so for a moment", just.state(t), nil)

	clean := waiting("n1", "n2")
	clean.pvcs = []PVC{pvc("p1", of("n1", 2), wasReleased(1))}
	for _, a := range Next(clean.state(t)) {
		if create, ok := a.(CreateServer); !ok || create.Claim.TakeOver {
			t.Errorf("a pool that was exported: %s", a)
		}
	}
}

func TestLeaving(t *testing.T) {
	serving := func(n Node, is ...func(*Server)) scene {
		return scene{nodes: []Node{n}, pvcs: []PVC{pvc("p1", of("n1", 1), pooled)}, guards: n1Guard,
			holders: []Pod{holder("p1", "n1")}, servers: []Server{on("p1", "n1", 1, is...)}}
	}
	release := []string{"ask server server-p1-node-n1 to release generation 1"}
	for name, c := range map[string]struct {
		scene scene
		want  []string
	}{
		"used, and nobody knows by what": {serving(n1Left[0], inUse), nil},
		"used": {serving(n1Left[0], inUse, users("pod default/db", "pid 7 of pod default/agent")),
			[]string{"warn on Node n1: PoolInUse: The pool of server-p1-node-n1 is given up once nothing has used it for 1m0s. It is used by pod default/db, pid 7 of pod default/agent."}},
		"not yet idle for long enough":        {serving(n1Left[0], idleFor(59*time.Second)), nil},
		"idle, and out of the selector":       {serving(n1Left[0], idleFor(time.Minute)), release},
		"idle, and cordoned":                  {serving(node("n1", labelled, cordoned), idleFor(time.Minute)), release},
		"idle, and tainted":                   {serving(node("n1", labelled, tainted), idleFor(time.Minute)), release},
		"idle, and being deleted":             {serving(node("n1", labelled, deleting), idleFor(time.Minute)), release},
		"idle, on a node that stays":          {serving(n1[0], idleFor(time.Hour)), nil},
		"idle, but a pod waits for it":        {serving(n1Left[0], idleFor(time.Hour), wants("pool-p1")), nil},
		"the operator has just started":       {serving(n1Left[0], func(s *Server) { s.IdleSince = time.Time{} }), nil},
		"the server does not answer":          {serving(n1Left[0], silent), nil},
		"released":                            {serving(n1Left[0], released), []string{"PVC p1 was released by generation 1"}},
		"released, and the node comes back":   {serving(n1[0], released), []string{"PVC p1 was released by generation 1"}},
		"the server is being deleted":         {serving(n1Left[0], terminating, idleFor(time.Minute)), nil},
		"told of another generation's server": {serving(n1[0], released, func(s *Server) { s.Report.Generation = 7 }), nil},
	} {
		check(t, name, c.scene.state(t), c.want)
	}
}

// What is left of a release is found again at each step.
func TestReleaseStepByStep(t *testing.T) {
	done := []PVC{pvc("p1", of("n1", 1), wasReleased(1), pooled)}
	freed := []PVC{pvc("p1", free(1), wasReleased(1), pooled)}
	run(t, map[string]scene{
		"written down, the server goes": {nodes: n1Left, pvcs: done, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1, released)}, want: []string{"delete server server-p1-node-n1"}},
		"while it does, nothing else": {nodes: n1Left, pvcs: done, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1, released, terminating)}},
		"then the holder": {nodes: n1Left, pvcs: done, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			want: []string{"delete holder holder-p1-node-n1"}},
		"while it does, neither": {nodes: n1Left, pvcs: done, guards: n1Guard, holders: []Pod{holder("p1", "n1", going)}},
		"then the PVC is free":   {nodes: n1Left, pvcs: done, guards: n1Guard, want: []string{"free PVC p1"}},
		"then budget and label go": {nodes: n1Left, pvcs: freed, guards: n1Guard,
			want: []string{"delete PodDisruptionBudget holder-p1-node-n1", "take the label off node n1"}},
		"and that is all": {nodes: []Node{node("n1", deselected)}, pvcs: freed},
		"also on a node that is back, which takes it in another generation": {nodes: n1, pvcs: freed,
			want: []string{"assign PVC p1 to node n1, generation 2"}},
		"the label stays while another pool is there": {nodes: n1Left, pvcs: append(freed, pvc("p2", of("n1", 1), pooled)), guards: []string{"holder-p2-node-n1"},
			holders: []Pod{holder("p2", "n1")}, servers: []Server{on("p2", "n1", 1, inUse)}},
		"or a pod that was for one": {nodes: n1Left, pvcs: freed, holders: []Pod{holder("p1", "n1", going)}},
		"or a PVC that nobody understands": {nodes: n1Left, pvcs: []PVC{pvc("p2", malformed)},
			want: []string{"warn on PersistentVolumeClaim p2: Malformed: It is left alone: so it is."}},
		"what was never bound is given up at once": {nodes: n1Left, pvcs: []PVC{pvc("p1", unbound, of("n1", 1))}, guards: n1Guard,
			holders: []Pod{holder("p1", "n1", pending)}, want: []string{"free PVC p1"}},
		"and its holder taken away": {nodes: n1Left, pvcs: []PVC{pvc("p1", unbound, free(1))}, guards: n1Guard,
			holders: []Pod{holder("p1", "n1", pending)}, want: []string{"delete holder holder-p1-node-n1"}},
	})
}

func TestDeadNodes(t *testing.T) {
	mine := []PVC{pvc("p1", of("n1", 1), pooled)}
	off := []Node{node("n1", labelled, outOfService)}
	run(t, map[string]scene{
		"one that is only not ready keeps everything": {nodes: []Node{node("n1", labelled, unready)}, pvcs: mine, guards: n1Guard,
			holders: []Pod{holder("p1", "n1")}, servers: []Server{on("p1", "n1", 1, silent)}},
		"out of service: its server goes by force": {nodes: off, pvcs: mine, guards: n1Guard,
			holders: []Pod{holder("p1", "n1")}, servers: []Server{on("p1", "n1", 1)}, want: []string{"delete server server-p1-node-n1 by force"}},
		"then the holder, though it is going": {nodes: off, pvcs: mine, guards: n1Guard,
			holders: []Pod{holder("p1", "n1", going)}, want: []string{"delete holder holder-p1-node-n1 by force"}},
		"gone: the same": {pvcs: mine, guards: n1Guard,
			holders: []Pod{holder("p1", "n1")}, servers: []Server{on("p1", "n1", 1)}, want: []string{"delete server server-p1-node-n1 by force"}},
		"then the PVC is free, but not released": {pvcs: mine, guards: n1Guard, want: []string{"free PVC p1"}},
		"a label stays on a machine that is off": {nodes: off},
		"pods without a PVC go too": {holders: []Pod{holder("p1", "n1")}, servers: []Server{on("p1", "n1", 1)},
			want: []string{"delete server server-p1-node-n1 by force", "delete holder holder-p1-node-n1 by force"}},
	})
	for _, a := range Next(scene{pvcs: mine}.state(t)) {
		if f, ok := a.(FreePVC); !ok || f.Dead != (Machine{"n1", "uid-n1"}) || f.To.IsReleased() || !f.To.Freed.Equal(now) {
			t.Errorf("a dead node's PVC: %+v", a)
		}
	}
}

// Pods that the assignment does not allow are those of an operator that was behind.
func TestStrays(t *testing.T) {
	two := []Node{node("n1", labelled), node("n2", labelled)}
	mine := []PVC{pvc("p1", of("n1", 3), pooled)}
	well := func(servers []Server, holders ...Pod) scene {
		return scene{nodes: n1, pvcs: mine, guards: append([]string{"holder-p1-node-n2"}, n1Guard...), servers: servers, holders: holders}
	}
	with := func(s scene, nodes []Node, want ...string) scene {
		s.nodes, s.want = nodes, want
		return s
	}
	fresh := "create PVC " + specs.PVCName("n2", "uid-n2", 0)
	run(t, map[string]scene{
		"a server of an earlier generation goes": with(well([]Server{on("p1", "n1", 2, silent)}, holder("p1", "n1")), n1,
			"delete server server-p1-node-n1", "delete PodDisruptionBudget holder-p1-node-n2"),
		"one on another node before its holder": with(well([]Server{on("p1", "n2", 3, silent)}, holder("p1", "n1"), holder("p1", "n2")), two,
			"delete server server-p1-node-n2", fresh),
		"then that": with(well(nil, holder("p1", "n1"), holder("p1", "n2")), two,
			"delete holder holder-p1-node-n2", fresh),
		"should one serve, it is asked to release": with(well([]Server{on("p1", "n2", 3, idleFor(time.Minute))}, holder("p1", "n1"), holder("p1", "n2")), two,
			"ask server server-p1-node-n2 to release generation 3", fresh),
		"and not deleted while it is used": with(well([]Server{on("p1", "n2", 3, inUse)}, holder("p1", "n1"), holder("p1", "n2")), two, fresh),
	})
}

func TestPVCsThatPersonsTouch(t *testing.T) {
	served := func(p PVC, is ...func(*Server)) scene {
		return scene{nodes: n1, pvcs: []PVC{p}, guards: n1Guard, holders: []Pod{holder("p1", "n1")}, servers: []Server{on("p1", "n1", 1, is...)}}
	}
	with := func(s scene, want ...string) scene {
		s.want = want
		return s
	}
	const saved = "warn on PersistentVolumeClaim p1: BeingDeleted: Somebody deleted it. Its pool goes with its last pod: save its dots. Annotate it with dotmesh.io/delete=true and it is given up once nothing uses it."
	run(t, map[string]scene{
		"given up, and free: it is deleted": {pvcs: []PVC{pvc("p1", free(1), wasReleased(1), givenUp)}, want: []string{"delete PVC p1"}},
		"once":                              {pvcs: []PVC{pvc("p1", free(1), wasReleased(1), givenUp, beingDeleted)}},
		"given up, and served: it stays":    with(served(pvc("p1", of("n1", 1), pooled, givenUp), idleFor(time.Hour))),
		"not given up: it stays":            {pvcs: []PVC{pvc("p1", free(1), wasReleased(1))}},
		"deleted, and served: it is served": with(served(pvc("p1", of("n1", 1), pooled, beingDeleted)), saved),
		"and on a node that is drained: it stays": func() scene {
			s := served(pvc("p1", of("n1", 1), pooled, beingDeleted), idleFor(time.Hour))
			s.nodes = []Node{node("n1", labelled, cordoned)}
			return with(s, saved)
		}(),
		"a server of it cannot come back": {nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled, beingDeleted)}, guards: n1Guard, holders: []Pod{holder("p1", "n1")}, want: []string{saved}},
		"deleted and given up: it is released": with(served(pvc("p1", of("n1", 1), pooled, beingDeleted, givenUp), idleFor(time.Minute)),
			"ask server server-p1-node-n1 to release generation 1"),
		"deleted before it was bound: it is let go": {nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), unbound, beingDeleted)}, guards: n1Guard,
			holders: []Pod{holder("p1", "n1", pending)}, want: []string{"free PVC p1"}},
		"its volume is gone": {nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled, lost)},
			want: []string{"warn on PersistentVolumeClaim p1: Lost: Its PersistentVolume is gone, and the pool on it. Delete the PVC, and its node gets another."}},
		"it lost its label": {nodes: n1, guards: n1Guard, holders: []Pod{holder("p1", "n1")}, servers: []Server{on("p1", "n1", 1)},
			want: []string{
				"warn on Pod holder-p1-node-n1: NoPVC: There is no PVC p1 with the label dotmesh.io/role=pool. Label it, if it exists; if not, delete this pod.",
				"create PVC " + specs.PVCName("n1", "uid-n1", 0)}},
	})
}
