package server

import (
	"strings"
	"testing"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestWhoUsesADotThatIsNotDeleted(t *testing.T) {
	p := testPlane(t)
	for name, c := range map[string]struct {
		change func(*dot.Volume)
		want   string
	}{
		"claimed":   {func(v *dot.Volume) { v.KubernetesNamespace, v.PVCName = "shop", "data" }, "the PersistentVolumeClaim shop/data:"},
		"by-hand":   {func(v *dot.Volume) { v.CSIName = "" }, "the PersistentVolume with the handle admin/by-hand@master.__default__:"},
		"without-k": {func(*dot.Volume) {}, "the PersistentVolume with the handle " + dot.VolumeIDOf("without-k").String() + ":"},
	} {
		v := add(t, p, name, p.pool).volume
		c.change(&v)
		if err := p.store.Txn().PutVolume(v).Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := p.deleteDot(t.Context(), &v1.DeleteDotRequest{Dot: name})
		if err == nil || dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
