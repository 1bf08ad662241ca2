//go:build bench

package bench

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/container-storage-interface/spec/lib/go/csi"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

const (
	rounds  = 12 // of one client
	bursts  = 3  // of many
	clients = 16
	subdots = 3 // of each dot
)

func TestBench(t *testing.T) {
	many := 1000
	if s := os.Getenv("BENCH_DOTS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 10 {
			t.Fatalf("BENCH_DOTS=%q: want a number of at least 10", s)
		}
		many = n
	}
	dots := min(100, many)
	w := newWorld(t)
	w.run("zfs", "create", "-o", "mountpoint=legacy", poolName+"/bare")
	var rows []Row
	rows = append(rows, w.oneClient()...)
	rows = append(rows, w.manyClients()...)
	volumes := w.fill(0, dots)
	rows = append(rows, w.mounts(volumes)...)
	first := w.idle(volumes, dots)
	rows = append(rows, first.rows()...)
	if many > dots {
		more := w.idle(append(volumes, w.fill(dots, many)...), many)
		rows = append(rows, more.rows()...)
		rows = append(rows, growth(first, more)...)
	}
	fmt.Println()
	if err := WriteTable(os.Stdout, rows); err != nil {
		t.Fatal(err)
	}
}

// oneClient compares single calls with single commands.
func (w *world) oneClient() []Row {
	w.logf("one client")
	volume := w.createVolume("warm", "", "")
	createProps := w.localProperties(dataset(volume))
	b, o := interleave(rounds,
		func(i int) { w.bareCreate(createProps, fmt.Sprintf("one-%d", i)) },
		func(i int) { w.createVolume(fmt.Sprintf("one-%d", i), "", "") })
	rows := []Row{Compare("CreateVolume of a new dot / zfs create, one client", b, o, 1.3)}

	w.createSnapshot("warm", volume.GetId())
	snapshotProps := w.snapshotProperties(dataset(volume))
	b, o = interleave(rounds,
		func(i int) { w.bareSnapshot(snapshotProps, fmt.Sprintf("%s/bare/one-1@s%d", poolName, i)) },
		func(i int) { w.createSnapshot(fmt.Sprintf("one-%d", i), volume.GetId()) })
	return append(rows, Compare("CreateSnapshot / zfs snapshot, one client", b, o, 1.3))
}

// snapshotProperties are those of a dataset's first commit.
func (w *world) snapshotProperties(name string) []string {
	out := w.run("zfs", "list", "-H", "-t", "snapshot", "-o", "name", "-s", "createtxg", name)
	var first string
	if _, err := fmt.Sscan(string(out), &first); err != nil {
		w.t.Fatalf("no commit on %s: %v", name, err)
	}
	return w.localProperties(first)
}

// manyClients compares 16 calls at once with 16 commands, at once for datasets
// and in a row for snapshots.
func (w *world) manyClients() []Row {
	w.logf("%d clients", clients)
	volumes := make([]*dotmeshv1.Volume, clients)
	atOnce(clients, clients, func(i int) { volumes[i] = w.createVolume(fmt.Sprintf("warm-%d", i), "", "") })
	createProps := w.localProperties(dataset(volumes[0]))
	b, o := interleave(bursts,
		func(round int) {
			atOnce(clients, clients, func(i int) { w.bareCreate(createProps, fmt.Sprintf("many-%d-%d", round, i)) })
		},
		func(round int) {
			atOnce(clients, clients, func(i int) { w.createVolume(fmt.Sprintf("many-%d-%d", round, i), "", "") })
		})
	rows := []Row{Throughput("16 × CreateVolume, throughput over 16 × zfs create at once", b, o, 0.8)}

	atOnce(clients, clients, func(i int) { w.createSnapshot(fmt.Sprintf("warm-%d", i), volumes[i].GetId()) })
	snapshotProps := w.snapshotProperties(dataset(volumes[0]))
	b, o = interleave(bursts,
		func(round int) {
			for i := range clients {
				w.bareSnapshot(snapshotProps, fmt.Sprintf("%s/bare/many-1-%d@s%d", poolName, i, round))
			}
		},
		func(round int) {
			atOnce(clients, clients, func(i int) { w.createSnapshot(fmt.Sprintf("many-%d-%d", round, i), volumes[i].GetId()) })
		})
	return append(rows, Throughput("16 × CreateSnapshot, throughput over 16 × zfs snapshot in a row", b, o, 3))
}

// fill makes dots numbered from…to-1, each with five commits, and gives a volume
// of each.
func (w *world) fill(from, to int) []*dotmeshv1.Volume {
	w.logf("making dots %d to %d with 5 commits each", from, to-1)
	volumes := make([]*dotmeshv1.Volume, to-from)
	atOnce(len(volumes), clients, func(i int) {
		name := fmt.Sprintf("dot-%d", from+i)
		volumes[i] = w.createVolume(name, name, "s0")
	})
	for round := range 5 {
		atOnce(len(volumes), 50, func(i int) {
			w.createSnapshot(fmt.Sprintf("dot-%d-%d", from+i, round), volumes[i].GetId())
		})
	}
	return volumes
}

// mounts stages and publishes subdots of the dots, the first ones of each, then
// the second ones and so on, and compares the last with the 10th.
func (w *world) mounts(firsts []*dotmeshv1.Volume) []Row {
	dots := len(firsts)
	w.logf("mounting %d subdots of %d dots", dots*subdots, dots)
	volumes := slices.Clone(firsts)
	more := make([]*dotmeshv1.Volume, dots*(subdots-1))
	atOnce(len(more), clients, func(i int) {
		name, subdot := fmt.Sprintf("dot-%d", i%dots), fmt.Sprintf("s%d", 1+i/dots)
		more[i] = w.createVolume(name+"-"+subdot, name, subdot)
	})
	volumes = append(volumes, more...)
	var took []time.Duration
	for i, v := range volumes {
		w.attach(v)
		took = append(took, timed(func() { w.mount(i, v) }))
	}
	// A single timing is noise: the five around the 10th (not the first mounts of
	// all), and the last five. All of the 10th are first mounts of their dot, so
	// the second ones and later, cheaper, are not compared with them.
	early := took[5:15]
	lateFirst, last := took[dots-10:dots], took[len(took)-10:]
	rows := []Row{
		{What: fmt.Sprintf("NodeStage + NodePublish, subdot %d (of %d dots) / 10", len(took), dots), Bare: short(Median(early)), Ours: short(Median(last)), Value: divide(Median(last), Median(early)), Want: Want{"≤", 1.5}},
		{What: fmt.Sprintf("NodeStage + NodePublish, first subdot of dot %d / 10", dots), Bare: short(Median(early)), Ours: short(Median(lateFirst)), Value: divide(Median(lateFirst), Median(early)), Want: Want{"≤", 1.5}},
	}
	for i, v := range volumes {
		w.unmount(i, v)
	}
	return rows
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
	for _, d := range []string{staging, target[:len(target)-len("/mount")]} { // kubelet makes both
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
