package plan

import (
	"testing"
	"time"
)

// TestHolderDoesNotRun: a person is told what keeps a PVC from being served; a server that
// is there goes on, and can give its pool up.
func TestHolderDoesNotRun(t *testing.T) {
	const (
		waits   = "warn on PersistentVolumeClaim p1: HolderWaits: Pod holder-p1-node-n1, which keeps its disk on node n1, does not run. Until it does no server of this PVC is started"
		look    = ": kubectl -n dotmesh describe pod holder-p1-node-n1 tells why."
		warning = waits + ", and no other server that is well is replaced" + look
	)
	late := []Pod{holder("p1", "n1", pending, madeAgo(10*time.Minute))}
	p1 := []PVC{pvc("p1", of("n1", 1), pooled)}
	run(t, map[string]scene{
		"after ten minutes": {nodes: n1, pvcs: p1, guards: n1Guard, holders: late, want: []string{warning}},
		"its disk is elsewhere": {nodes: n1, pvcs: p1, guards: n1Guard, holders: late,
			attachments: []Attachment{{Volume: "pv-p1", Node: "n2"}, {Volume: "pv-p1", Node: "n1"}},
			want:        []string{warning + " Its volume pv-p1 is attached to n2 still: see to the CSI driver of the volume."}},
		"made anew beside a server": {nodes: n1, pvcs: p1, guards: n1Guard, holders: late, servers: []Server{on("p1", "n1", 1, inUse)}, want: []string{waits + look}},
		"which leaves": {nodes: n1Left, pvcs: p1, guards: n1Guard, holders: late, servers: []Server{on("p1", "n1", 1, idleFor(time.Minute))},
			want: []string{waits + look, "ask server server-p1-node-n1 to release generation 1"}},
	})
}

// TestServerIsSilent: a server that is ready and cannot be asked holds up rollouts and drains.
func TestServerIsSilent(t *testing.T) {
	serving := func(is ...func(*Server)) scene {
		return scene{nodes: n1, pvcs: []PVC{pvc("p1", of("n1", 1), pooled)}, guards: n1Guard, holders: []Pod{holder("p1", "n1")}, servers: []Server{on("p1", "n1", 1, is...)}}
	}
	told2m := []string{"warn on Node n1: ServerSilent: server-p1-node-n1 is ready and does not answer the operator, so that no other server is replaced, and no pool given up by this node. Do NetworkPolicies let pod dotmesh-operator reach it, and is the Secret dotmesh-operator-client signed by the CA that servers believe? The log of the operator, with -v=2, tells."}
	away := serving(silent, readySince(2*time.Minute))
	away.nodes = []Node{node("n1", labelled, unready)}
	run(t, map[string]scene{
		"it never answered":                  serving(silent, readySince(2*time.Minute)).wants(told2m...),
		"it may yet":                         serving(silent, readySince(2*time.Minute-time.Second)),
		"it does not any more":               serving(readySince(time.Hour), told(2*time.Minute)).wants(told2m...),
		"it answered a while ago":            serving(readySince(time.Hour), told(2*time.Minute-time.Second)),
		"what is not ready is told of so":    serving(silent, notReady, readySince(2*time.Minute)),
		"so is a node that is out of touch":  away,
		"one that is being deleted may well": serving(silent, terminating, readySince(2*time.Minute)),
	})
}
