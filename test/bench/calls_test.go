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

const size = 64 << 20

// createVolume makes a volume of a new dot or, when named, of that dot's subdot.
func (w *world) createVolume(csiName, dotName, subdot string) *dotmeshv1.Volume {
	res, err := w.api.Volumes.CreateVolume(w.t.Context(), connect.NewRequest(&dotmeshv1.CreateVolumeRequest{
		CsiName: csiName, RequiredBytes: size, KubernetesNamespace: "bench", PvcName: csiName, PvcUid: csiName,
		DotNamespace: "admin", DotName: dotName, Subdot: subdot, PreferredNodes: []string{nodeName},
	}))
	if err != nil {
		w.t.Errorf("CreateVolume %s: %v", csiName, err)
		return &dotmeshv1.Volume{}
	}
	return res.Msg.GetVolume()
}

func (w *world) createSnapshot(csiName, volume string) {
	_, err := w.api.Volumes.CreateSnapshot(w.t.Context(), connect.NewRequest(&dotmeshv1.CreateSnapshotRequest{
		CsiName: csiName, Volume: volume, Metadata: map[string]string{"kubernetes.namespace": "bench"},
	}))
	if err != nil {
		w.t.Errorf("CreateSnapshot %s: %v", csiName, err)
	}
}

// dataset of a volume's branch.
func dataset(v *dotmeshv1.Volume) string { return poolName + "/dotmesh/" + v.GetBranchId() }

// localProperties are those that a command would have to be given to make the
// same dataset or snapshot, as -o arguments.
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
	w.run(append(append([]string{"zfs", "create"}, properties...), poolName+"/bare/"+name)...)
}

func (w *world) bareSnapshot(properties []string, name string) {
	w.run(append(append([]string{"zfs", "snapshot"}, properties...), name)...)
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

func (w *world) logf(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
