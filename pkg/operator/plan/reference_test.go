package plan

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

func TestReference(t *testing.T) {
	s := State{
		Cluster: specs.Cluster{Namespace: "dotmesh"},
		Nodes:   []Node{{Name: "other"}, {Name: "n", Machine: specs.Machine{UID: "of-node"}}},
		PVCs:    []PVC{{Name: "p", UID: "of-pvc"}},
		Holders: []Pod{{Name: "h", UID: "of-holder"}},
		Servers: []Server{{Pod: Pod{Name: "s", UID: "of-server"}}},
	}
	for o, want := range map[Object]struct {
		namespace string
		uid       types.UID
	}{
		{"Node", "n"}:                    {"", "of-node"},
		{"PersistentVolumeClaim", "p"}:   {"dotmesh", "of-pvc"},
		{"Pod", "h"}:                     {"dotmesh", "of-holder"},
		{"Pod", "s"}:                     {"dotmesh", "of-server"},
		{"Node", "unseen"}:               {"", ""},
		{"PersistentVolumeClaim", "pod"}: {"dotmesh", ""},
	} {
		got := s.Reference(o)
		if got.APIVersion != "v1" || got.Kind != o.Kind || got.Name != o.Name || got.Namespace != want.namespace || got.UID != want.uid {
			t.Errorf("%v: %+v", o, got)
		}
	}
}
