package plan

import (
	"testing"
	"time"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestLocal(t *testing.T) {
	for name, c := range map[string]struct {
		nodes   []Node
		servers []Server
		missing time.Duration
		want    []string
	}{
		"a node that is selected is labelled first": {
			nodes: []Node{node("n1")}, want: []string{"label node n1"}},
		"then it gets a server": {
			nodes: []Node{node("n1", labelled)}, want: []string{"create server server-n1"}},
		"which is all": {
			nodes: []Node{node("n1", labelled)}, servers: []Server{local("n1")}},
		"every node does, for itself": {
			nodes: []Node{node("n2", labelled), node("n1")}, want: []string{"label node n1", "create server server-n2"}},
		"also one that is cordoned": {
			nodes: []Node{node("n1", labelled, cordoned)}, want: []string{"create server server-n1"}},
		"or not ready": {
			nodes: []Node{node("n1", labelled, unready)}, want: []string{"create server server-n1"}},
		"but none that the selector leaves out": {
			nodes: []Node{node("n1", deselected)}},
		"nor one that is being deleted": {
			nodes: []Node{node("n1", deleting)}},
		"a label that somebody took off is put on again": {
			nodes: []Node{node("n1")}, servers: []Server{local("n1")}, want: []string{"label node n1"}},

		"a server that ended makes room": {
			nodes: []Node{node("n1", labelled)}, servers: []Server{local("n1", failed)}, want: []string{"delete server server-n1"}},
		"for the next, once it is gone": {
			nodes: []Node{node("n1", labelled)}, servers: []Server{local("n1", failed, terminating)}},

		"a node that left keeps its server while it is used": {
			nodes: []Node{node("n1", labelled, deselected)}, servers: []Server{local("n1", inUse)}},
		"and for a minute after": {
			nodes: []Node{node("n1", labelled, deselected)}, servers: []Server{local("n1", idleFor(59*time.Second))}},
		"then its pool is released": {
			nodes: []Node{node("n1", labelled, deselected)}, servers: []Server{local("n1", idleFor(time.Minute))}, want: []string{"ask server server-n1 to release generation 0"}},
		"then it loses the label": {
			nodes: []Node{node("n1", labelled, deselected)}, servers: []Server{local("n1", released)}, want: []string{"take the label off node n1"}},
		"then the server": {
			nodes: []Node{node("n1", deselected)}, servers: []Server{local("n1", released)}, want: []string{"delete server server-n1"}},
		"a server that went before it could tell is made again, to tell": {
			nodes: []Node{node("n1", labelled, deselected)}, want: []string{"create server server-n1"}},
		"one that started again has the pool again": {
			nodes: []Node{node("n1", deselected)}, servers: []Server{local("n1", inUse)}, want: []string{"label node n1"}},
		"a node that comes back meanwhile gets a server that serves": {
			nodes: []Node{node("n1", labelled)}, servers: []Server{local("n1", released)}, want: []string{"delete server server-n1"}},

		"one that never comes up cannot tell whether there is a pool": {
			nodes: []Node{node("n1", labelled, deselected), node("n2", labelled)}, servers: []Server{local("n1", neverReady), local("n2")}, want: []string{
				"warn on Node n1: CannotLeave: Its pool can only be given up by a server, and server-n1 does not come up: kubectl -n dotmesh describe pod server-n1, and its log, tell why. If that cannot be mended, and there is no pool of dotmesh in zpool list on the node (without the module zfs there is none), say so: kubectl label node n1 dotmesh.io/server-"}},
		"nobody is told while it may yet": {
			nodes: []Node{node("n1", labelled, deselected)}, servers: []Server{local("n1", starting, sinceFor(time.Minute))}},
		"it goes when a person has taken the label off": {
			nodes: []Node{node("n1", deselected)}, servers: []Server{local("n1", starting)}, want: []string{"delete server server-n1"}},
		"but not where it may come up": {
			nodes: []Node{node("n1", deselected)}, servers: []Server{local("n1", starting, sinceFor(time.Minute))}, want: []string{"label node n1"}},
		"nor where it was up a while ago": {
			nodes: []Node{node("n1", deselected)}, servers: []Server{local("n1", notReady, silent, readySince(9*time.Minute))}, want: []string{"label node n1"}},
		"also where it was up before a boot": {
			nodes: []Node{node("n1", deselected)}, servers: []Server{local("n1", waitsAgain(10*time.Minute))}, want: []string{"delete server server-n1"}},
		"but not where it serves, as far as it told": {
			nodes: []Node{node("n1", deselected)}, servers: []Server{local("n1", notReady, neverWasReady)}, want: []string{"label node n1"}},
		"nor where the node registered anew, without labels": {
			nodes: []Node{node("n1", deselected, fresh)}, servers: []Server{local("n1", starting)}, want: []string{"label node n1"}},

		"a server on a node that is gone is deleted by force": {
			missing: 2 * time.Minute, servers: []Server{local("n1", terminating)}, want: []string{"delete server server-n1 by force"}},
		"but not where it may be made anew": {
			missing: 2*time.Minute - time.Second, servers: []Server{local("n1")}},
		"which gets a server again, if it has lost that meanwhile": {
			nodes: []Node{node("n1", anew)}, want: []string{"label node n1"}},
		"and on one that is out of service": {
			nodes: []Node{node("n1", labelled, outOfService)}, servers: []Server{local("n1")}, want: []string{"delete server server-n1 by force"}},
		"which gets none while it is": {
			nodes: []Node{node("n1", labelled, outOfService)}},
	} {
		s := state(t, map[string]string{"nodeSelector": "dotmesh!=no"})
		s.Nodes, s.Servers = c.nodes, c.servers
		s.Missing = missingFor(s, c.missing)
		check(t, name, s, c.want)
	}
}
