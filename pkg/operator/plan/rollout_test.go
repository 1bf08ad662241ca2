package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func older(s *Server)         { s.Spec = "older" }
func notReady(s *Server)      { s.Ready = false }
func neverReady(s *Server)    { s.Ready, s.WasReady, s.Report = false, false, nil }
func neverWasReady(s *Server) { s.WasReady = false }
func starting(s *Server) {
	neverReady(s)
	s.Report, s.IdleSince = &Report{At: now, Generation: s.Generation, InUse: true}, time.Time{}
}
func cannotPull(s *Server) { neverReady(s); s.CannotPull, s.Phase = true, corev1.PodPending }
func degraded(s *Server)   { s.Report.Health = "DEGRADED" }
func sinceFor(d time.Duration) func(*Server) {
	return func(s *Server) { s.Created = now.Add(-d) }
}

func TestRollout(t *testing.T) {
	three := []Node{node("n1", labelled), node("n2", labelled), node("n3", labelled)}
	stopped := func(name, why string) string {
		return "warn on Pod " + name + ": RolloutStopped: " + why + ": 0 of 3 servers are as they should be, and no other is replaced until this one is well, or another image or configuration is given. One that is deleted or drained meanwhile is made as this one."
	}
	stuckLocal := func(node string) string {
		s := state(t, nil)
		return look(s).stuck(local(node).Pod, "kubectl label node "+node+" dotmesh.io/server-")[0].String()
	}
	for name, c := range map[string]struct {
		nodes   []Node
		servers []Server
		state   RolloutState
		want    []string
	}{
		"all are as they should be": {
			servers: []Server{local("n1"), local("n2"), local("n3")}, state: RolloutDone},
		"none is: the first goes": {
			servers: []Server{local("n1", older), local("n2", older), local("n3", older)}, state: RolloutRunning, want: []string{"delete server server-n1"}},
		"while it goes, no other": {
			servers: []Server{local("n1", older, terminating), local("n2", older), local("n3", older)}, state: RolloutRunning},
		"while it comes, no other": {
			servers: []Server{local("n1", neverReady, sinceFor(time.Minute)), local("n2", older), local("n3", older)}, state: RolloutRunning},
		"nor while it has told nothing": {
			servers: []Server{local("n1", silent), local("n2", older), local("n3", older)}, state: RolloutRunning},
		"nor while its pool is not well": {
			servers: []Server{local("n1", degraded), local("n2", older), local("n3", older)}, state: RolloutRunning},
		"then the next": {
			servers: []Server{local("n1"), local("n2", older), local("n3", older)}, state: RolloutRunning, want: []string{"delete server server-n2"}},
		"an operator that starts knows nothing yet": {
			servers: []Server{local("n1", older, silent), local("n2", older, silent), local("n3", older, silent)}, state: RolloutRunning},
		"it stops at one that does not come up in time": {
			servers: []Server{local("n1", neverReady, sinceFor(10*time.Minute)), local("n2", older), local("n3", older)},
			state:   RolloutStopped, want: []string{stopped("server-n1", "server-n1 is not ready")}},
		"but not where its node was away until now": {
			nodes:   []Node{node("n1", labelled, justReady), node("n2", labelled), node("n3", labelled)},
			servers: []Server{local("n1", neverReady, sinceFor(10*time.Minute)), local("n2", older), local("n3", older)}, state: RolloutRunning},
		"at once where the image cannot be had": {
			servers: []Server{local("n1", cannotPull, sinceFor(time.Second)), local("n2", older), local("n3", older)},
			state:   RolloutStopped, want: []string{stopped("server-n1", "the image of server-n1 cannot be had")}},
		"one that was well before stops nothing, but is waited for": {
			servers: []Server{local("n1", notReady, sinceFor(time.Hour)), local("n2", older), local("n3", older)}, state: RolloutRunning},
		"with another image it goes on, from what never came up": {
			servers: []Server{local("n1", neverReady, older), local("n2", older), local("n3", older)}, state: RolloutRunning, want: []string{"delete server server-n1"}},
		"though others are not well either": {
			servers: []Server{local("n1", older), local("n2", cannotPull, older), local("n3", notReady)}, state: RolloutRunning, want: []string{"delete server server-n2"}},
		"what is not well goes before what is": {
			servers: []Server{local("n1", older), local("n2", older, notReady), local("n3", older)}, state: RolloutRunning, want: []string{"delete server server-n2"}},
		"one at a time of those too": {
			servers: []Server{local("n1", older), local("n2", older, degraded), local("n3", older, notReady)}, state: RolloutRunning, want: []string{"delete server server-n2"}},
		"none while a node is not ready": {
			nodes:   []Node{node("n1", labelled), node("n2", labelled, unready), node("n3", labelled)},
			servers: []Server{local("n1", older), local("n2", older, notReady), local("n3", older)}, state: RolloutRunning},
		"unless that one leaves": {
			nodes:   []Node{node("n1", labelled), node("n2", labelled, unready, deselected), node("n3", labelled)},
			servers: []Server{local("n1", older), local("n2", older, silent), local("n3", older)}, state: RolloutRunning, want: []string{"delete server server-n1"}},
		"a released one is no matter": {
			nodes:   []Node{node("n1", deselected), node("n2", labelled), node("n3", labelled)},
			servers: []Server{local("n1", older, released), local("n2"), local("n3")}, state: RolloutDone, want: []string{"delete server server-n1"}},
		"nor one that is asked to release": {
			nodes:   []Node{node("n1", labelled, deselected), node("n2", labelled), node("n3", labelled)},
			servers: []Server{local("n1", older, idleFor(time.Hour)), local("n2"), local("n3")}, state: RolloutDone, want: []string{"ask server server-n1 to release generation 0"}},
		"one that cannot run on its node, which is leaving, stops nothing that another has come up with": {
			nodes:   []Node{node("n1", labelled, deselected), node("n2", labelled), node("n3", labelled)},
			servers: []Server{local("n1", cannotPull), local("n2"), local("n3", older)}, state: RolloutRunning, want: []string{stuckLocal("n1"), "delete server server-n3"}},
		"but what no other has": {
			nodes:   []Node{node("n1", labelled, deselected), node("n2", labelled), node("n3", labelled)},
			servers: []Server{local("n1", cannotPull), local("n2", older), local("n3", older)}, state: RolloutStopped,
			want: []string{stuckLocal("n1"), stopped("server-n1", "the image of server-n1 cannot be had")}},
		"another image is tried there too": {
			nodes:   []Node{node("n1", labelled, deselected), node("n2", labelled), node("n3", labelled)},
			servers: []Server{local("n1", cannotPull, older), local("n2"), local("n3")}, state: RolloutRunning, want: []string{stuckLocal("n1"), "delete server server-n1"}},
		"a server that is missing is waited for": {
			servers: []Server{local("n1"), local("n2", older)}, state: RolloutRunning, want: []string{"create server server-n3"}},
	} {
		s := state(t, map[string]string{"nodeSelector": "dotmesh!=no"})
		s.Nodes, s.Servers = three, c.servers
		if c.nodes != nil {
			s.Nodes = c.nodes
		}
		check(t, name, s, c.want)
		if got := RolloutOf(s); got != c.state {
			t.Errorf("%s: %s, want %s", name, got, c.state)
		}
	}
}

func TestRolloutOfPoolsOnPVCs(t *testing.T) {
	nodes := []Node{node("n1", labelled), node("n2", labelled)}
	both := func(first, second func(*Server)) scene {
		return scene{nodes: nodes}.served(pvc("p1", of("n1", 1), pooled), first).served(pvc("p2", of("n2", 1), pooled), second)
	}
	run(t, map[string]scene{
		"one at a time":      both(older, older).wants("delete server server-p1-node-n1"),
		"the next when well": both(idleFor(time.Second), older).wants("delete server server-p2-node-n2"),
		"and not before":     both(degraded, older),
		"a free one that nobody exported is no server's": both(older, older).plus(pvc("p3", free(1), pooled)).wants("delete server server-p1-node-n1"),
		"used pools no matter":                           both(inUse, func(s *Server) { older(s); inUse(s) }).wants("delete server server-p2-node-n2"),
		"one that never had a pool, on a node that leaves, stops nothing": func() scene {
			c := both(neverReady, older)
			c.nodes = []Node{node("n1", labelled, cordoned), node("n2", labelled)}
			c.pvcs[0].Assignment.Pool = ""
			warning := look(c.state(t)).stuck(c.servers[0].Pod, "kubectl -n dotmesh annotate --overwrite pvc p1 dotmesh.io/given-up=1")[0].String()
			return c.wants(warning, "delete server server-p2-node-n2")
		}(),
		"nor one that was given up": func() scene {
			c := both(neverReady, older)
			c.pvcs[0].Assignment.GivenUp = 1
			return c.wants("delete server server-p1-node-n1", "delete server server-p2-node-n2")
		}(),
		"one that had does": func() scene {
			c := both(neverReady, older)
			c.nodes = []Node{node("n1", labelled, cordoned), node("n2", labelled)}
			_, actions := look(c.state(t)).rollout()
			warning := look(c.state(t)).stuck(c.servers[0].Pod, "kubectl -n dotmesh annotate --overwrite pvc p1 dotmesh.io/given-up=1")[0].String()
			return c.wants(warning, actions[0].String())
		}(),
		"none that could not come back": func() scene {
			c := both(idleFor(time.Second), older)
			c.pvcs[1].Deleting = true
			warning := c.pvcs[1].deletingWarning().String()
			return c.wants(warning)
		}(),
	})
	image := both(idleFor(time.Second), idleFor(time.Second)).state(t)
	image.Cluster.Image = "dotmesh:2"
	if got := Next(image); len(got) != 1 || !strings.HasPrefix(got[0].String(), "delete server") {
		t.Errorf("a new image: %v", got)
	}
}

// TestServersCameUp: when the image of the servers may be that of others.
func TestServersCameUp(t *testing.T) {
	served := func(is ...func(*Server)) scene {
		c := scene{nodes: []Node{node("n1", labelled), node("n2", labelled), node("n3", labelled)}}
		for i, f := range is {
			c = c.served(pvc(fmt.Sprintf("p%d", i+1), of(fmt.Sprintf("n%d", i+1), 1), pooled), f)
		}
		return c
	}
	away := func(c scene) scene {
		c.nodes[len(c.pvcs)-1].Ready = false
		return c
	}
	well := idleFor(time.Second)
	comes := func(s *Server) { neverReady(s); sinceFor(time.Minute)(s) }
	for name, c := range map[string]struct {
		scene scene
		want  bool
	}{
		"all have it":                       {served(well, well, well), true},
		"there is none":                     {scene{nodes: []Node{node("n1")}}, true},
		"one has another":                   {served(well, well, older), false},
		"on a node that is away":            {away(served(well, well, older)), true},
		"the only server's node is away":    {away(served(well)), false},
		"one cannot have it":                {served(well, well, cannotPull), false},
		"one is starting":                   {served(well, well, comes), true},
		"none is ready yet":                 {served(comes), false},
		"one is being replaced":             {served(well, well, terminating), false},
		"one's pool is not well":            {served(degraded), true},
		"another node's disk never came":    {served(well, well).plus(pvc("p3", unbound, of("n3", 1))), true},
		"another node's server was deleted": {served(well, well).plus(pvc("p3", of("n3", 1), pooled)), false},
	} {
		if got := ServersCameUp(c.scene.state(t)); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// The order in which things were observed means nothing, and nothing is remembered.
func TestNextIsDeterministic(t *testing.T) {
	c := scene{nodes: []Node{node("n1", labelled), node("n2"), node("n3")}}.
		served(pvc("p1", of("n1", 1), pooled), older).plus(pvc("p2"), pvc("p3", free(1), pooled))
	s := c.state(t)
	var want []string
	for _, a := range Next(s) {
		want = append(want, a.String())
	}
	s.Nodes = []Node{s.Nodes[2], s.Nodes[0], s.Nodes[1]}
	s.PVCs = []PVC{s.PVCs[1], s.PVCs[2], s.PVCs[0]}
	for range 20 {
		check(t, "another order", s, want)
	}
}
