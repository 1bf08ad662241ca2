package driver

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	dotmesh "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/test/lab/clouddisk"
)

func TestSizeIn(t *testing.T) {
	for _, c := range []struct {
		required, limit int64
		want            int64 // 0: refused
	}{
		{0, 0, 1 << 30},
		{1, 0, 1 << 20},
		{1 << 20, 1 << 20, 1 << 20},
		{1<<20 + 1, 0, 2 << 20},
		{1<<20 + 1, 2<<20 - 1, 0},
		{-1, 0, 0},
		{1, -1, 0},
	} {
		got, err := sizeIn(&csi.CapacityRange{RequiredBytes: c.required, LimitBytes: c.limit})
		if got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%d to %d: got %d, %v; want %d", c.required, c.limit, got, err, c.want)
		}
	}
}

func TestCheckCapability(t *testing.T) {
	const one, many = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	mounted := func(m csi.VolumeCapability_AccessMode_Mode, fs string) *csi.VolumeCapability {
		return &csi.VolumeCapability{
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: m},
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fs}},
		}
	}
	block := func(m csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
		return &csi.VolumeCapability{
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: m},
			AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
		}
	}
	for name, c := range map[string]struct {
		in   *csi.VolumeCapability
		want bool
	}{
		"files":         {mounted(one, ""), true},
		"ext4":          {mounted(one, "ext4"), true},
		"block":         {block(one), true},
		"one pod":       {block(csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER), true},
		"zfs":           {mounted(one, "zfs"), false},
		"files of many": {mounted(many, ""), false},
		"block of many": {block(many), false},
		"no type":       {&csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: one}}, false},
		"nothing":       {nil, false},
	} {
		if err := checkCapability(c.in); (err == nil) != c.want {
			t.Errorf("%s: got %v, want accepted: %v", name, err, c.want)
		}
	}
}

func TestCodes(t *testing.T) {
	for err, want := range map[error]dot.Code{
		clouddisk.ErrNoDisk: dot.CodeNotFound, clouddisk.ErrNoNode: dot.CodeNotFound,
		clouddisk.ErrAttached: dot.CodePrecondition, clouddisk.ErrSize: dot.CodeExists,
	} {
		if got := dot.CodeOf(coded(err)); got != want {
			t.Errorf("%v: got %v, want %v", err, got, want)
		}
	}
	if err := coded(nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

func TestKubeletIsToldOurName(t *testing.T) {
	info, err := plugin{dotmesh.NewRegistration("/s")}.GetInfo(t.Context(), &registration.InfoRequest{})
	if err != nil || info.GetName() != clouddisk.DriverName || info.GetEndpoint() != "/s" {
		t.Errorf("got %v, %v", info, err)
	}
}
