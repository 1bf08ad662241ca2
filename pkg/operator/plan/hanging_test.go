package plan

import (
	"fmt"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// hung is a pod that was to be gone ten minutes ago.
func hung(p *Pod) { p.Deleting, p.GoneBy = true, now.Add(-10*time.Minute) }

func hungServer(s *Server) { hung(&s.Pod) }

func finalized(p *Pod) { p.Finalizers = []string{"example.com/a", "example.com/b"} }

func waitsFor(pod, node, do string) string {
	return fmt.Sprintf("PodStuck: Nothing more is done here until pod %s, which is being deleted, has gone from node %s: kubectl -n dotmesh describe pod %[1]s, and kubelet's log, tell why it does not. %[3]s", pod, node, do)
}

// A pod that does not go is told of, and no other node waits for its PVC.
func TestPodThatHangs(t *testing.T) {
	const (
		reboot   = "A process that hangs in the kernel ends with a reboot. If the machine is off, say so: kubectl taint node %s node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
		loosened = "It has finalizers (example.com/a, example.com/b): whoever put them there has to take them off."
		onPVC    = "warn on PersistentVolumeClaim p1: "
	)
	server := onPVC + waitsFor("server-p1-node-n1", "n1", fmt.Sprintf(reboot, "n1"))
	holds := onPVC + waitsFor("holder-p1-node-n1", "n1", fmt.Sprintf(reboot, "n1"))
	mine, done := []PVC{pvc("p1", of("n1", 1), pooled)}, []PVC{pvc("p1", of("n1", 1), wasReleased(1), pooled)}
	spare := []Node{node("n1", labelled, deselected), node("n2")}
	off := []Node{node("n1", labelled, outOfService), node("n2")}
	own := "create PVC " + made("n2", 0)
	run(t, map[string]scene{
		"a server that was released": {nodes: spare, pvcs: done, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1, released, hungServer)}, want: []string{server, own}},
		"for a while nobody is told": {nodes: spare, pvcs: done, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1, released, hungServer, func(s *Server) { s.GoneBy = s.GoneBy.Add(time.Second) })}},
		"its holder": {nodes: spare, pvcs: done, guards: n1Guard, holders: []Pod{holder("p1", "n1", hung)}, want: []string{holds, own}},
		"which has finalizers": {nodes: spare, pvcs: done, guards: n1Guard, holders: []Pod{holder("p1", "n1", hung, finalized)},
			want: []string{onPVC + waitsFor("holder-p1-node-n1", "n1", loosened), own}},
		"a holder of a PVC that is free": {nodes: spare, pvcs: []PVC{pvc("p1", free(1), wasReleased(1), pooled)}, guards: n1Guard, holders: []Pod{holder("p1", "n1", hung)},
			want: []string{holds, own}},
		"a server of an earlier generation": {nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 2), wasReleased(1), pooled)}, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1, silent, hungServer)}, want: []string{server}},
		"a server that somebody deleted": {nodes: n1, pvcs: mine, guards: n1Guard, holders: []Pod{holder("p1", "n1")},
			servers: []Server{on("p1", "n1", 1, hungServer)}, want: []string{server}},
		"a holder": {nodes: n1, pvcs: mine, guards: n1Guard, holders: []Pod{holder("p1", "n1", hung)},
			servers: []Server{on("p1", "n1", 1)}, want: []string{holds}},
		"one of a node that leaves, whose server is idle": {nodes: spare, pvcs: mine, guards: n1Guard, holders: []Pod{holder("p1", "n1", hung)},
			servers: []Server{on("p1", "n1", 1, idleFor(time.Hour))}, want: []string{holds, own}},
		"that of a dead machine goes by force": {nodes: off, pvcs: mine, guards: n1Guard, holders: []Pod{holder("p1", "n1", hung)},
			want: []string{"delete holder holder-p1-node-n1 by force"}},
		"unless it has finalizers": {nodes: off, pvcs: mine, guards: n1Guard, holders: []Pod{holder("p1", "n1", hung, finalized)},
			want: []string{onPVC + waitsFor("holder-p1-node-n1", "n1", loosened), own}},
	})
	s := state(t, nil)
	s.Nodes, s.Servers = []Node{node("n1", labelled)}, []Server{local("n1", hungServer)}
	check(t, "one in the storage mode local", s, []string{"warn on Node n1: " + waitsFor("server-n1", "n1", fmt.Sprintf(reboot, "n1"))})
}

// A volume that is not detached is told of, and the node that waits for it gets another.
func TestAttachmentThatStays(t *testing.T) {
	stays := func(freed time.Duration, is ...func(*PVC)) scene {
		p := pvc("p1", append([]func(*PVC){free(3), wasReleased(2), pooled, freedFor(freed)}, is...)...)
		return scene{nodes: []Node{node("n1", again)}, pvcs: []PVC{p}, attachments: append(attachedFor(time.Hour, "n1"), Attachment{Name: "va-other", Volume: "pv-other", Node: "n1"})}
	}
	const text = "warn on PersistentVolumeClaim p1: AttachmentStuck: It is free, and its volume pv-p1 is attached to node n1 still, so that no node of that name gets it, and another may wait for it: kubectl describe volumeattachment va-n1, and the log of the volume's CSI driver, tell why. If the disk is not attached there any more, delete that VolumeAttachment."
	run(t, map[string]scene{
		"for a while it is waited for": stays(10*time.Minute - time.Second),
		"then it is told of":           stays(10*time.Minute).wants(text, "create PVC "+specs.PVCName("n1", node("n1", again).UID, 0)),
		"by whoever it is waited for": func() scene {
			c := stays(time.Hour).wants(text)
			c.nodes = nil
			return c
		}(),
		"what is not free is attached": func() scene {
			c := scene{nodes: n1, attachments: attachedFor(time.Hour, "n1")}
			return c.served(pvc("p1", of("n1", 1), pooled))
		}(),
	})
}
