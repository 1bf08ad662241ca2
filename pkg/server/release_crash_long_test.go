//go:build zfs && long

package server_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

// mover gives a disk to one server after another.
type mover struct {
	*disk
	generation uint64
	live       *child
	volume     string
}

// take has the next assignment's server serve the pool.
func (x *mover) take(t *testing.T) {
	t.Helper()
	x.generation++
	x.serve(t)
}

// serve has this assignment's server serve the pool, with all that is on it.
func (x *mover) serve(t *testing.T) {
	t.Helper()
	x.live = x.spawnWith(x.configOf(x.generation, nil), "")
	x.awaitReady(x.live.running)
	if x.volume != "" {
		must(t, x.live.Volumes.GetVolume, &v1.GetVolumeRequest{Volume: x.volume})
	}
}

// letGo releases the pool, whatever an earlier server of this assignment has done of
// that, and has another try by that assignment come to nothing.
func (x *mover) letGo(t *testing.T) {
	t.Helper()
	x.eventually("the release", func() string {
		res, err := call(x.live.Server.Release, &v1.ReleaseRequest{Generation: x.generation})
		switch {
		case err != nil:
			return err.Error()
		case !res.Released:
			return res.Reason
		}
		return ""
	})
	x.gone("none")
	x.live.kill()
}

// TestMoveCrashMatrix kills servers of a disk that moves at each point that the release
// of its pool passes, and the next one's start until it has it: whatever they left, the
// same assignment's server finishes it, no earlier one has the pool again, and what is
// on the pool is there.
func TestMoveCrashMatrix(t *testing.T) {
	x := &mover{disk: newDisk(t)}
	x.take(t)
	x.volume = must(t, x.live.Volumes.CreateVolume, pvc("first")).Volume.Id
	x.live.points(t)
	if res := release(t, x.live.running, x.generation); !res.Released {
		t.Fatalf("got %v", res)
	}
	releasing := namedOnce(x.live.points(t), "lease-grant", "lease-take", "lease-renew")
	x.live.kill()
	x.take(t)
	beginning := slices.DeleteFunc(namedOnce(x.live.points(t), "lease-"), func(p string) bool {
		return !strings.HasPrefix(p, "pool.") && !strings.HasPrefix(p, "zfs.import.") && !strings.HasPrefix(p, "store.txn.")
	})
	t.Logf("release: %v\nstart: %v", releasing, beginning)
	if len(releasing) < 10 || len(beginning) < 6 {
		t.Error("too few points were passed")
	}
	for _, at := range releasing {
		t.Run("release/"+at, func(t *testing.T) {
			x.live.tell(t, "arm "+at)
			answered := make(chan error, 1)
			go func() {
				_, err := call(x.live.Server.Release, &v1.ReleaseRequest{Generation: x.generation})
				answered <- err
			}()
			if !x.live.killedItself(2 * time.Minute) {
				t.Error("the point was not passed")
			}
			x.live.kill()
			<-answered
			x.live = x.spawnWith(x.configOf(x.generation, nil), "")
			x.letGo(t)
			x.refuses(x.configOf(x.generation-1, nil))
			x.take(t)
		})
	}
	for _, at := range beginning {
		t.Run("start/"+at, func(t *testing.T) {
			x.letGo(t)
			x.generation++
			dying := x.spawnWith(x.configOf(x.generation, nil), at)
			if !dying.killedItself(2 * time.Minute) {
				t.Error("the point was not passed")
			}
			dying.kill()
			if before, _, _ := strings.Cut(at, "#"); before != "store.txn.before" { // by then it has told
				x.refuses(x.configOf(x.generation-1, nil))
			}
			x.serve(t)
		})
	}
	x.live.kill()
}

// namedOnce leaves what was passed again out, but for a second transaction, and what
// comes when it likes.
func namedOnce(passed []string, without ...string) []string {
	return slices.DeleteFunc(passed, func(p string) bool {
		point, count, _ := strings.Cut(p, "#")
		return count != "1" && (count != "2" || !strings.HasPrefix(point, "store.txn.")) || slices.ContainsFunc(without, func(w string) bool { return strings.Contains(p, w) })
	})
}
