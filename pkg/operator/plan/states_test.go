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
	n := Node{Name: name, UID: types.UID("uid-" + name), ResourceVersion: "1", Labels: map[string]string{}, Ready: true}
	for _, f := range is {
		f(&n)
	}
	return n
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
func terminating(s *Server) { s.Deleting = true }
func inUse(s *Server)       { s.Report.InUse, s.IdleSince = true, time.Time{} }
func released(s *Server)    { s.Report.Released, s.Ready, s.Report.Health = true, false, "" }

func idleFor(d time.Duration) func(*Server) {
	return func(s *Server) { s.IdleSince = now.Add(-d) }
}
