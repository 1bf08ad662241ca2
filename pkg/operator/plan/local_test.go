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

		"a server on a node that is gone is deleted by force": {
			servers: []Server{local("n1", terminating)}, want: []string{"delete server server-n1 by force"}},
		"and on one that is out of service": {
			nodes: []Node{node("n1", labelled, outOfService)}, servers: []Server{local("n1")}, want: []string{"delete server server-n1 by force"}},
		"which gets none while it is": {
			nodes: []Node{node("n1", labelled, outOfService)}},
	} {
		s := state(t, map[string]string{"nodeSelector": "dotmesh!=no"})
		s.Nodes, s.Servers = c.nodes, c.servers
		check(t, name, s, c.want)
	}
}
