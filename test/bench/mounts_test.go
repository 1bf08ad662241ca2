//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect"
	"github.com/container-storage-interface/spec/lib/go/csi"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

// mounts makes, stages and publishes the subdots of dots, dot by dot, and
// compares the last with the 10th. One timing would be noise: each stands for
// those of five whole dots, which are first and later mounts of a dot in equal
// parts.
func (w *world) mounts(dots int) []Row {
	const perDot, around = 3, 5
	progress("mounting %d subdots of %d dots", dots*perDot, dots)
	var volumes []*dotmeshv1.Volume
	var took []time.Duration
	for i := range dots * perDot {
		name, subdot := fmt.Sprintf("mounted-%d", i/perDot), fmt.Sprintf("s%d", i%perDot)
		v := w.createVolume(name+"-"+subdot, name, subdot)
		w.attach(v)
		took = append(took, timed(func() { w.mount(i, v) }))
		volumes = append(volumes, v)
	}
	early, last := took[perDot:perDot*(1+around)], took[len(took)-perDot*around:]
	for i, v := range volumes {
		w.unmount(i, v)
	}
	what := fmt.Sprintf("subdot %d (of %d dots) / the 10th", len(took), dots)
	return []Row{{What: "NodeStage + NodePublish"}, Compare(what, early, last, 1.5)}
}

func (w *world) attach(v *dotmeshv1.Volume) {
	_, err := w.api.Volumes.PublishVolume(w.t.Context(), connect.NewRequest(&dotmeshv1.PublishVolumeRequest{Volume: v.GetId(), Node: nodeName}))
	if err != nil {
		w.t.Errorf("PublishVolume: %v", err)
	}
}

func (w *world) paths(i int) (staging, target string) {
	return w.path(fmt.Sprintf("kubelet/staging/%d", i)), w.path(fmt.Sprintf("kubelet/pods/%d/mount", i))
}

func (w *world) mount(i int, v *dotmeshv1.Volume) {
	staging, target := w.paths(i)
	capability := &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
	}
	published := map[string]string{"pool": w.pool}
	for _, d := range []string{staging, filepath.Dir(target)} { // kubelet makes both
		if err := os.MkdirAll(d, 0o750); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := w.node.NodeStageVolume(w.t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: v.GetId(), PublishContext: published, StagingTargetPath: staging, VolumeCapability: capability,
	}); err != nil {
		w.t.Errorf("NodeStageVolume: %v", err)
		return
	}
	if _, err := w.node.NodePublishVolume(w.t.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: v.GetId(), PublishContext: published, StagingTargetPath: staging, TargetPath: target, VolumeCapability: capability,
	}); err != nil {
		w.t.Errorf("NodePublishVolume: %v", err)
	}
}

func (w *world) unmount(i int, v *dotmeshv1.Volume) {
	staging, target := w.paths(i)
	if _, err := w.node.NodeUnpublishVolume(w.t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.GetId(), TargetPath: target}); err != nil {
		w.t.Errorf("NodeUnpublishVolume: %v", err)
	}
	if _, err := w.node.NodeUnstageVolume(w.t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: v.GetId(), StagingTargetPath: staging}); err != nil {
		w.t.Errorf("NodeUnstageVolume: %v", err)
	}
	if _, err := w.api.Volumes.UnpublishVolume(w.t.Context(), connect.NewRequest(&dotmeshv1.UnpublishVolumeRequest{Volume: v.GetId(), Node: nodeName})); err != nil {
		w.t.Errorf("UnpublishVolume: %v", err)
	}
}
