//go:build bench

package bench

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

const (
	rounds = 15 // of one client
	bursts = 5  // of many
	size   = 64 << 20
)

// oneClient compares single calls with the commands that they cannot do without.
func (w *world) oneClient() []Row {
	progress("one client")
	w.run("zfs", "create", "-o", "mountpoint=legacy", w.bare(""))
	volume := w.createVolume("warm", "", "")
	props := w.datasetProperties(volume)
	w.children()
	b, o := interleave(rounds,
		func(i int) { w.bareCreate(props, fmt.Sprintf("one-%d", i)) },
		func(i int) { w.createVolume(fmt.Sprintf("one-%d", i), "", "") })
	rows := []Row{
		{What: "One client"},
		Compare("CreateVolume of a new dot / zfs create", b, o, 1.3),
		w.processesPerCall("CreateVolume", rounds+1),
	}

	w.createSnapshot("warm", volume.GetId())
	props = w.snapshotProperties(volume)
	w.children()
	b, o = interleave(rounds,
		func(i int) { w.bareSnapshot(props, fmt.Sprintf("one-1@s%d", i)) },
		func(i int) { w.createSnapshot(fmt.Sprintf("one-%d", i), volume.GetId()) })
	return append(rows,
		Compare("CreateSnapshot / zfs snapshot", b, o, 1.3),
		w.processesPerCall("CreateSnapshot", rounds+1))
}

// processesPerCall counts what the server has started since the last count.
func (w *world) processesPerCall(call string, calls int) Row {
	return Row{What: "processes started per " + call, Value: float64(w.children()) / float64(calls), Want: Want{"≤", 1}}
}

// manyClients compares 16 calls at once with 16 commands, at once for datasets
// and in a row for snapshots.
func (w *world) manyClients() []Row {
	progress("%d clients", clients)
	volumes := make([]*dotmeshv1.Volume, clients)
	atOnce(clients, clients, func(i int) { volumes[i] = w.createVolume(fmt.Sprintf("warm-%d", i), "", "") })
	props := w.datasetProperties(volumes[0])
	b, o := interleave(bursts,
		func(round int) {
			atOnce(clients, clients, func(i int) { w.bareCreate(props, fmt.Sprintf("many-%d-%d", round, i)) })
		},
		func(round int) {
			atOnce(clients, clients, func(i int) { w.createVolume(fmt.Sprintf("many-%d-%d", round, i), "", "") })
		})
	rows := []Row{
		{What: fmt.Sprintf("%d clients, throughput", clients)},
		Throughput("16 CreateVolume / 16 zfs create at once", b, o, 0.8),
	}

	atOnce(clients, clients, func(i int) { w.createSnapshot(fmt.Sprintf("warm-%d", i), volumes[i].GetId()) })
	props = w.snapshotProperties(volumes[0])
	w.children()
	b, o = interleave(bursts,
		func(round int) {
			for i := range clients {
				w.bareSnapshot(props, fmt.Sprintf("many-1-%d@s%d", i, round))
			}
		},
		func(round int) {
			atOnce(clients, clients, func(i int) { w.createSnapshot(fmt.Sprintf("many-%d-%d", round, i), volumes[i].GetId()) })
		})
	return append(rows,
		Throughput("16 CreateSnapshot / 16 zfs snapshot in a row", b, o, 3),
		Row{What: "processes started per 16 CreateSnapshot", Value: float64(w.children()) / (bursts + 1)})
}

// survive kills the server right after its answers, and looks for what it has
// answered: that is where the timings end.
func (w *world) survive() {
	progress("killing the server after its answers")
	volume := w.createVolume("survivor", "", "")
	kill(w.server)
	w.startServer()
	if _, err := w.api.Volumes.GetVolume(w.t.Context(), connect.NewRequest(&dotmeshv1.GetVolumeRequest{Volume: volume.GetId()})); err != nil {
		w.t.Errorf("a volume that was answered is lost with the server: %v", err)
	}
	w.run("zfs", "list", w.dataset(volume))
	snapshot := w.createSnapshot("survivor", volume.GetId())
	kill(w.server)
	w.startServer()
	if _, err := w.api.Volumes.GetSnapshot(w.t.Context(), connect.NewRequest(&dotmeshv1.GetSnapshotRequest{Handle: snapshot.GetHandle()})); err != nil {
		w.t.Errorf("a snapshot that was answered is lost with the server: %v", err)
	}
	w.snapshotProperties(volume)
}

// createVolume makes a volume of a new dot or, when named, of that dot's subdot.
func (w *world) createVolume(csiName, dotName, subdot string) *dotmeshv1.Volume {
	v, err := w.tryVolume(csiName, dotName, subdot)
	if err != nil {
		w.t.Errorf("CreateVolume %s: %v", csiName, err)
	}
	return v
}

func (w *world) tryVolume(csiName, dotName, subdot string) (*dotmeshv1.Volume, error) {
	res, err := w.api.Volumes.CreateVolume(w.t.Context(), connect.NewRequest(&dotmeshv1.CreateVolumeRequest{
		CsiName: csiName, RequiredBytes: size, KubernetesNamespace: "bench", PvcName: csiName, PvcUid: csiName,
		DotNamespace: "admin", DotName: dotName, Subdot: subdot, PreferredNodes: []string{nodeName},
	}))
	if err != nil {
		return nil, err
	}
	return res.Msg.GetVolume(), nil
}

func (w *world) createSnapshot(csiName, volume string) *dotmeshv1.Snapshot {
	s, err := w.trySnapshot(csiName, volume)
	if err != nil {
		w.t.Errorf("CreateSnapshot %s: %v", csiName, err)
	}
	return s
}

func (w *world) trySnapshot(csiName, volume string) (*dotmeshv1.Snapshot, error) {
	res, err := w.api.Volumes.CreateSnapshot(w.t.Context(), connect.NewRequest(&dotmeshv1.CreateSnapshotRequest{
		CsiName: csiName, Volume: volume, Metadata: map[string]string{"kubernetes.namespace": "bench"},
	}))
	if err != nil {
		return nil, err
	}
	return res.Msg.GetSnapshot(), nil
}

// dataset of a volume's branch.
func (w *world) dataset(v *dotmeshv1.Volume) string {
	return w.poolName + "/dotmesh/" + v.GetBranchId()
}

// bare is the name of a dataset that no server knows.
func (w *world) bare(name string) string { return strings.TrimSuffix(w.poolName+"/bare/"+name, "/") }

// datasetProperties are what a command has to be given to make the same dataset
// as a volume's, as -o arguments.
func (w *world) datasetProperties(v *dotmeshv1.Volume) []string {
	const quota = "projectquota@1048576" // a dot's first subdot; "all" leaves quotas out
	if got := strings.TrimSpace(string(w.run("zfs", "get", "-H", "-p", "-o", "value", quota, w.dataset(v)))); got != fmt.Sprint(size) {
		w.t.Fatalf("%s of a new volume is %q, want %d", quota, got, size)
	}
	return append(w.localProperties(w.dataset(v)), "-o", fmt.Sprintf("%s=%d", quota, size))
}

// snapshotProperties are those of a volume's first commit.
func (w *world) snapshotProperties(v *dotmeshv1.Volume) []string {
	out := w.run("zfs", "list", "-H", "-t", "snapshot", "-o", "name", "-s", "createtxg", w.dataset(v))
	var first string
	if _, err := fmt.Sscan(string(out), &first); err != nil {
		w.t.Fatalf("no commit on %s: %v", w.dataset(v), err)
	}
	return w.localProperties(first)
}

func (w *world) localProperties(name string) []string {
	var args []string
	out := w.run("zfs", "get", "-H", "-p", "-s", "local", "-o", "property,value", "all", name)
	for line := range strings.Lines(string(out)) {
		if property, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok {
			args = append(args, "-o", property+"="+value)
		}
	}
	return args
}

func (w *world) bareCreate(properties []string, name string) {
	w.run(append(append([]string{"zfs", "create"}, properties...), w.bare(name))...)
}

func (w *world) bareSnapshot(properties []string, name string) {
	w.run(append(append([]string{"zfs", "snapshot"}, properties...), w.bare(name))...)
}

func timed(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}

// interleave times bare and ours in turn, each first every other time, and
// leaves the first round out.
func interleave(rounds int, bare, ours func(i int)) (b, o []time.Duration) {
	for i := range rounds + 1 {
		var tb, to time.Duration
		if i%2 == 0 {
			tb, to = timed(func() { bare(i) }), timed(func() { ours(i) })
		} else {
			to, tb = timed(func() { ours(i) }), timed(func() { bare(i) })
		}
		if i > 0 {
			b, o = append(b, tb), append(o, to)
		}
	}
	return b, o
}

// atOnce runs f(0) … f(n-1), at most clients at a time.
func atOnce(n, clients int, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
