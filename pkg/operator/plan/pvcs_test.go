package plan

import (
	"cmp"
	"maps"
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
	dots        map[string]bool   // nodes that have some attached
	data        map[string]string // of the configuration
	// missing is for how long nodes that are not there were not; an hour, if it is not set.
	missing time.Duration
	want    []string
}

func (c scene) state(t *testing.T) State {
	t.Helper()
	data := map[string]string{"storageMode": "pvcPerNode", "nodeSelector": "dotmesh!=no"}
	for key, value := range c.data {
		data[key] = value
	}
	s := state(t, data)
	s.Nodes, s.PVCs, s.Servers, s.Holders, s.Guards, s.Attachments = c.nodes, c.pvcs, c.servers, c.holders, c.guards, c.attachments
	s.DotsAttached = c.dots
	s.Missing = missingFor(s, cmp.Or(c.missing, time.Hour))
	return s
}

// missingFor has nodes that are not there be seen so for a while.
func missingFor(s State, d time.Duration) map[string]time.Time {
	s.Now = s.Now.Add(-d)
	return s.MissingSince(nil)
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
	seen.ResourceVersion = "7"
	s := scene{nodes: []Node{node("n1", labelled)}, pvcs: []PVC{pvc("p1", of("n1", 1))}, guards: []string{seen.Name}, holders: []Pod{seen}}
	if got := Next(s.state(t)); len(got) == 0 || got[0].(DeleteHolder).ResourceVersion != "7" {
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
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1))}, guards: n1Guard, holders: []Pod{holder("p1", "n1", pending, madeAgo(9*time.Minute))}},
		"while its volume is made, for up to ten minutes": {
			nodes: n1, pvcs: []PVC{pvc("p1", unbound, aged(9*time.Minute), of("n1", 1))}, guards: n1Guard, holders: []Pod{holder("p1", "n1", pending)}},
		"which a person is told of then": {
			nodes: n1, pvcs: []PVC{pvc("p1", unbound, aged(10*time.Minute), of("n1", 1))}, guards: n1Guard, holders: []Pod{holder("p1", "n1", pending)},
			want: []string{"warn on PersistentVolumeClaim p1: Unbound: It has got no volume: kubectl -n dotmesh describe pvc p1 tells why. If it cannot have one of its class and size, set pvcPerNode.storageClass or pvcPerNode.pvSizePerNode, and delete it: its node gets one of the class and size of then."}},
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
		"one that asks for more than it should, and has it not yet, is told of": {
			nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled, func(p *PVC) { p.Requested = 100 << 30 })}, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1)},
			want:    []string{"warn on PersistentVolumeClaim p1: AsksForMore: It asks for 107374182400 bytes and has 10737418240, while pvcPerNode.pvSizePerNode is 10Gi: it may grow yet. Ask for less of it, if it is not to: from version 1.34 on Kubernetes allows what is more than it has."}},
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
	stuck := func(pod string) []string {
		return []string{"warn on Node n1: CannotLeave: Its pool can only be given up by a server, and " + pod + " does not come up: kubectl -n dotmesh describe pod " + pod + ", and its log, tell why. If that cannot be mended, and there is no pool of dotmesh in zpool list on the node (without the module zfs there is none), say so: kubectl -n dotmesh annotate --overwrite pvc p1 dotmesh.io/given-up=1"}
	}
	bare := func(is ...func(*Server)) scene {
		s := serving(n1Left[0], is...)
		s.pvcs[0].Assignment.Pool = ""
		return s
	}
	waiting := func(ago time.Duration) scene {
		s := serving(n1Left[0])
		s.servers, s.holders = nil, []Pod{holder("p1", "n1", pending, func(p *Pod) { p.Created = now.Add(-ago) })}
		return s
	}
	for name, c := range map[string]struct {
		scene scene
		want  []string
	}{
		"its node is out of touch": {serving(node("n1", labelled, cordoned, unready), neverReady), []string{
			"warn on Node n1: CannotLeave: Its pool can only be given up by a server, and the node is not ready, so that server-p1-node-n1 does not come up. If its machine is off, say so: kubectl taint node n1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"}},
		"used, and nobody knows by what": {serving(n1Left[0], inUse), nil},
		"used": {serving(n1Left[0], inUse, users("claim default/db", "agent (process 7 of pod 0d3c1f0e-0000-4000-8000-000000000001) at /host")),
			[]string{"warn on Node n1: PoolInUse: The pool of server-p1-node-n1 is given up once nothing has used it for 1m0s. It is used by claim default/db, agent (process 7 of pod 0d3c1f0e-0000-4000-8000-000000000001) at /host. Which pod has a UID: kubectl get pods -A -o custom-columns=UID:.metadata.uid,NAMESPACE:.metadata.namespace,POD:.metadata.name"}},
		"used by no pod": {serving(n1Left[0], inUse, users("sh (process 7) at /mnt")),
			[]string{"warn on Node n1: PoolInUse: The pool of server-p1-node-n1 is given up once nothing has used it for 1m0s. It is used by sh (process 7) at /mnt."}},
		"not yet idle for long enough":             {serving(n1Left[0], idleFor(59*time.Second)), nil},
		"idle, and out of the selector":            {serving(n1Left[0], idleFor(time.Minute)), release},
		"idle, and cordoned":                       {serving(node("n1", labelled, cordoned), idleFor(time.Minute)), release},
		"idle, and tainted":                        {serving(node("n1", labelled, tainted), idleFor(time.Minute)), release},
		"idle, and being deleted":                  {serving(node("n1", labelled, deleting), idleFor(time.Minute)), release},
		"idle, on a node that stays":               {serving(n1[0], idleFor(time.Hour)), nil},
		"idle, but a pod waits for it":             {serving(n1Left[0], idleFor(time.Hour), wants("pool-p1")), nil},
		"the operator has just started":            {serving(n1Left[0], func(s *Server) { s.IdleSince = time.Time{} }), nil},
		"the server does not answer":               {serving(n1Left[0], silent), nil},
		"released":                                 {serving(n1Left[0], released), []string{"PVC p1 was released by generation 1"}},
		"released, and the node comes back":        {serving(n1[0], released), []string{"PVC p1 was released by generation 1"}},
		"the server never came up":                 {bare(neverReady), stuck("server-p1-node-n1")},
		"or waits for something for ever":          {bare(starting), stuck("server-p1-node-n1")},
		"or its image cannot be had":               {bare(cannotPull, sinceFor(time.Second)), stuck("server-p1-node-n1")},
		"but may come up yet":                      {serving(n1Left[0], neverReady, sinceFor(9*time.Minute)), nil},
		"it was up before a boot":                  {serving(n1Left[0], waitsAgain(10*time.Minute)), stuck("server-p1-node-n1")},
		"or its pod cannot run since, and is mute": {serving(n1Left[0], notReady, readySince(10*time.Minute), told(10*time.Minute)), stuck("server-p1-node-n1")},
		"or its node was away until now":           {serving(node("n1", labelled, deselected, justReady), waitsAgain(10*time.Minute)), nil},
		"which may be again yet":                   {serving(n1Left[0], waitsAgain(9*time.Minute)), nil},
		"or still has what it told of a while ago": {serving(n1Left[0], inUse, notReady, readySince(10*time.Minute), told(9*time.Minute)), nil},
		"and stays, where the node does":           {serving(n1[0], waitsAgain(time.Hour)), nil},
		"or is only slow to be told ready":         {serving(n1Left[0], notReady, neverWasReady, idleFor(time.Minute)), release},
		"the holder never ran":                     {waiting(10 * time.Minute), stuck("holder-p1-node-n1")},
		"but may run yet":                          {waiting(9 * time.Minute), nil},
		"the server is being deleted":              {serving(n1Left[0], terminating, idleFor(time.Minute)), nil},
		"told of another generation's server":      {serving(n1[0], released, func(s *Server) { s.Report.Generation = 7 }), nil},
	} {
		check(t, name, c.scene.state(t), c.want)
	}
}

// TestPersonSaysThatThereIsNoPool: what the warning of a server that never came up asks
// for has the same end as a release.
func TestPersonSaysThatThereIsNoPool(t *testing.T) {
	const givenUpWaits = "warn on PersistentVolumeClaim p1: GivenUpWaits: An annotation (dotmesh.io/given-up) says that its pool is not imported on node n1, which is not ready: nobody can know that yet. It counts when the node is ready. If its machine is off, say so instead: kubectl taint node n1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
	const usedMaybe = "warn on PersistentVolumeClaim p1: GivenUpWaits: An annotation (dotmesh.io/given-up) says that its pool is not imported on node n1, and volumes of dotmesh are attached there, which may be on that pool: kubectl get volumeattachments names them. It counts when the pods that use them are gone."
	said := []PVC{pvc("p1", of("n1", 1), saidNotImported(1))}
	run(t, map[string]scene{
		"the server goes": {nodes: n1Left, pvcs: said, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1, neverReady)}, want: []string{"delete server server-p1-node-n1"}},
		"also one that was up before a boot": {nodes: n1Left, pvcs: said, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1, waitsAgain(readyWithin))}, want: []string{"delete server server-p1-node-n1"}},
		"one that has just been started may be about to serve": {nodes: n1Left, pvcs: said, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1, waitsAgain(readyWithin-time.Second))}},
		"on a node that is out of touch nobody can know": {nodes: []Node{node("n1", labelled, cordoned, unready)}, pvcs: said, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1, neverReady)}, want: []string{givenUpWaits}},
		"nor when the server is gone": {nodes: []Node{node("n1", labelled, cordoned, unready)}, pvcs: said, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			want: []string{givenUpWaits}},
		"nor while pods may use it": {nodes: n1Left, pvcs: said, guards: n1Guard, holders: []Pod{holder("p1", "n1")}, dots: map[string]bool{"n1": true},
			servers: []Server{on("p1", "n1", 1, neverReady)}, want: []string{usedMaybe}},
		"nor then without its server": {nodes: n1Left, pvcs: said, guards: n1Guard, holders: []Pod{holder("p1", "n1")}, dots: map[string]bool{"n1": true},
			want: []string{usedMaybe}},
		"those of another node are no matter": {nodes: n1Left, pvcs: said, guards: n1Guard, dots: map[string]bool{"n2": true}, want: []string{"free PVC p1"}},
		"or whose pod has not run since": {nodes: n1Left, pvcs: said, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1, notReady, readySince(10*time.Minute), told(10*time.Minute))}, want: []string{"delete server server-p1-node-n1"}},
		"what was said of an earlier generation is no matter": {nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 2), wasReleased(1), saidNotImported(1), pooled)}, guards: n1Guard,
			holders: []Pod{holder("p1", "n1")}, servers: []Server{on("p1", "n1", 2)}},
		"then the holder, whose budget kept a drain waiting": {nodes: n1Left, pvcs: said, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			want: []string{"delete holder holder-p1-node-n1"}},
		"and the PVC is free": {nodes: n1Left, pvcs: said, guards: n1Guard, want: []string{"free PVC p1"}},
		"a spare node waits for it": {nodes: append([]Node{node("n2")}, n1Left...), pvcs: said, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			want: []string{"delete holder holder-p1-node-n1"}},
	})
	freed := scene{nodes: n1Left, pvcs: said, guards: n1Guard}.state(t)
	if got := Next(freed)[0].(FreePVC).To.To("n2", machine("n2"), ""); !got.NeedsTakeOver() {
		t.Errorf("nobody exported the pool, and the next node may not take it over: %+v", got)
	}
}

// TestPersonIsWrong: the command of an old Event, or one for another PVC, takes no pool from
// under its pods.
func TestPersonIsWrong(t *testing.T) {
	for annotation, p := range map[string]PVC{
		"given up":            pvc("p1", of("n1", 2), wasReleased(1), saidNotImported(2), pooled),
		"released, by a hand": pvc("p1", of("n1", 2), wasReleased(2), pooled),
	} {
		kept := []string{
			"warn on PersistentVolumeClaim p1: PoolImported: An annotation (dotmesh.io/given-up, or dotmesh.io/released) says that its pool is not imported on node n1, and server-p1-node-n1 has it imported: it is kept, and the annotation taken back. The node can give it up by itself.",
			"PVC p1 has its pool imported"}
		serving := func(is ...func(*Server)) scene {
			return scene{nodes: n1Left, pvcs: []PVC{p}, guards: n1Guard, holders: []Pod{holder("p1", "n1")}, servers: []Server{on("p1", "n1", 2, is...)}}
		}
		for name, c := range map[string]scene{
			"used":                            serving(inUse).wants(kept...),
			"idle":                            serving(idleFor(time.Hour)).wants(kept...),
			"being replaced":                  serving(inUse, terminating).wants(kept...),
			"it has crashed a while ago":      serving(inUse, notReady, readySince(9*time.Minute), told(9*time.Minute)).wants(kept...),
			"started again, and yet to serve": serving(waitsAgain(time.Hour), func(s *Server) { s.Report.Imported = true }).wants(kept...),
			"ready, and yet to tell":          serving(silent),
			"started again, and mute":         serving(silent, notReady, readySince(9*time.Minute)),
			"of a node that stays":            func() scene { s := serving(inUse).wants(kept...); s.nodes = n1; return s }(),
			"and a spare node does not wait for": func() scene {
				s := serving(inUse).wants(append(kept, "create PVC "+made("n2", 0))...)
				s.nodes = []Node{n1Left[0], node("n2")}
				return s
			}(),
		} {
			check(t, annotation+", "+name, c.state(t), c.want)
		}
		a := Next(serving(inUse).state(t))[1].(MarkImported).To
		if a.GivenUp != 0 || a.Released != 1 || a.Generation != 2 || a.Node != "n1" {
			t.Errorf("%s: it becomes %+v", annotation, a)
		}
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
	unknown := scene{pvcs: mine}.state(t)
	unknown.Missing = nil
	check(t, "an operator that starts has seen nothing yet", unknown, nil)
	for _, a := range Next(scene{pvcs: mine}.state(t)) {
		if f, ok := a.(FreePVC); !ok || f.Dead != (Machine{"n1", machine("n1")}) || f.To.IsReleased() || !f.To.Freed.Equal(now) {
			t.Errorf("a dead node's PVC: %+v", a)
		}
	}
}

// TestMissingNode: the kubelet of a machine that goes on makes its Node anew, and may do so
// after Kubernetes has deleted its pods.
func TestMissingNode(t *testing.T) {
	const almost = 2*time.Minute - time.Second
	n2, mine := []Node{node("n2")}, []PVC{pvc("p1", of("n1", 1), pooled)}
	well := []Server{on("p1", "n1", 1, idleFor(time.Hour))}
	back := func(is ...func(*Node)) []Node { return []Node{node("n1", append(is, anew)...)} }
	run(t, map[string]scene{
		"for a while it keeps everything": {missing: almost, pvcs: mine, guards: n1Guard, holders: []Pod{holder("p1", "n1")}, servers: well},
		"also without its pods":           {missing: almost, pvcs: mine, guards: n1Guard},
		"or with pods that are ending": {missing: almost, pvcs: mine, guards: n1Guard,
			holders: []Pod{holder("p1", "n1", going)}, servers: []Server{on("p1", "n1", 1, silent, terminating)}},
		"or what somebody deleted, or was never bound": {missing: almost, pvcs: []PVC{pvc("p1", of("n1", 1), unbound), pvc("p2", of("n1", 1), unbound, beingDeleted)},
			guards: []string{"holder-p1-node-n1", "holder-p2-node-n1"}},
		"a spare node waits":                {missing: almost, nodes: n2, pvcs: mine, guards: n1Guard},
		"and has it when the other is dead": {missing: almost + time.Second, nodes: n2, pvcs: mine, want: []string{"free PVC p1"}},
		"which is when its pods go": {missing: almost + time.Second, nodes: n2, pvcs: mine, guards: n1Guard, holders: []Pod{holder("p1", "n1")}, servers: well,
			want: []string{"delete server server-p1-node-n1 by force"}},
		"what was exported is let go of": {missing: time.Second, pvcs: []PVC{pvc("p1", of("n1", 1), wasReleased(1), pooled)}, want: []string{"free PVC p1"}},
		"as does a holder that lost its annotation": {missing: almost, holders: []Pod{holder("p1", "n1", func(p *Pod) { p.PVC = "" })},
			want: []string{"warn on Pod holder-p1-node-n1: NoPVC: It does not say which PVC it keeps, and pods may use the pool on that: annotate it with dotmesh.io/pvc-name=, and the name of the PVC in its spec."}},
		"pods that were for a PVC which is gone stay too": {missing: almost, holders: []Pod{holder("p1", "n1")}, servers: well,
			want: []string{"warn on Pod holder-p1-node-n1: NoPVC: There is no PVC p1 with the label dotmesh.io/role=pool. Label it, if it exists; if not, delete this pod."}},
		"back, it is known by its boot": {nodes: back(), pvcs: mine, guards: n1Guard, want: []string{"PVC p1 is assigned to node n1 of UID another-uid-n1 and boot boot-n1"}},
		"then served again, in the same generation": {nodes: back(labelled), guards: n1Guard,
			pvcs: []PVC{pvc("p1", of("n1", 1), pooled, func(p *PVC) { p.Assignment.Machine.UID = "another-uid-n1" })}, want: []string{"create holder holder-p1-node-n1"}},
	})
	rollout := func(missing time.Duration) State {
		return scene{missing: missing, nodes: []Node{node("n2", labelled)}}.served(mine[0]).served(pvc("p2", of("n2", 1), pooled), older).state(t)
	}
	check(t, "no server is replaced meanwhile", rollout(almost), nil)
	if got := RolloutOf(rollout(almost)); got != RolloutRunning {
		t.Errorf("the rollout is %s", got)
	}
	check(t, "but then", rollout(almost+time.Second), []string{"delete server server-p1-node-n1 by force", "delete server server-p2-node-n2"})
}

func TestMissingSince(t *testing.T) {
	s := scene{nodes: []Node{node("n4", labelled)}, pvcs: []PVC{pvc("p1", of("n1", 1)), pvc("p4", of("n4", 1)), pvc("p5", free(1))},
		servers: []Server{on("p2", "n2", 1)}, holders: []Pod{holder("p3", "n3")}}.state(t)
	before := map[string]time.Time{"n1": now.Add(-time.Minute), "n4": now.Add(-time.Hour), "n9": now.Add(-time.Hour)}
	want := map[string]time.Time{"n1": now.Add(-time.Minute), "n2": now, "n3": now}
	if got := s.MissingSince(before); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
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
		"and nobody is told to give up what the right node has, where it is mute": with(well([]Server{on("p1", "n2", 3, inUse, notReady, readySince(10*time.Minute), told(10*time.Minute))}, holder("p1", "n1"), holder("p1", "n2")), two, fresh),
		"and not deleted while it is used":                                        with(well([]Server{on("p1", "n2", 3, inUse)}, holder("p1", "n1"), holder("p1", "n2")), two, fresh),
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
		"given up, and free: it is deleted": {pvcs: []PVC{pvc("p1", free(1), wasReleased(1), toBeDeleted)}, want: []string{"delete PVC p1"}},
		"once":                              {pvcs: []PVC{pvc("p1", free(1), wasReleased(1), toBeDeleted, beingDeleted)}},
		"given up, and served: it stays":    with(served(pvc("p1", of("n1", 1), pooled, toBeDeleted), idleFor(time.Hour))),
		"not given up: it stays":            {pvcs: []PVC{pvc("p1", free(1), wasReleased(1))}},
		"deleted, and served: it is served": with(served(pvc("p1", of("n1", 1), pooled, beingDeleted)), saved),
		"and on a node that is drained: it stays": func() scene {
			s := served(pvc("p1", of("n1", 1), pooled, beingDeleted), idleFor(time.Hour))
			s.nodes = []Node{node("n1", labelled, cordoned)}
			return with(s, saved)
		}(),
		"a server of it cannot come back": {nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled, beingDeleted)}, guards: n1Guard, holders: []Pod{holder("p1", "n1")}, want: []string{saved}},
		"a server of what is given up cannot, either": {nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled, beingDeleted, toBeDeleted)}, guards: n1Guard, holders: []Pod{holder("p1", "n1")}, want: []string{
			"warn on PersistentVolumeClaim p1: BeingDeleted: Somebody deleted it, and no server can be started any more that would export its pool. If there is no pool of dotmesh in zpool list on node n1, say so, and it goes: kubectl -n dotmesh annotate --overwrite pvc p1 dotmesh.io/given-up=1"}},
		"deleted and given up: it is released": with(served(pvc("p1", of("n1", 1), pooled, beingDeleted, toBeDeleted), idleFor(time.Minute)),
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
