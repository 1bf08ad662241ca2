//go:build zfs

package server_test

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

const mib = int64(1) << 20

// sized is a claim on a subdot of the dot "shared".
func sized(name, subdot string, size int64) *v1.CreateVolumeRequest {
	req := part(name, subdot)
	req.RequiredBytes = size
	return req
}

// headLimit is what a dot may hold whose claims were promised so much
// (docs/configuration.md).
func headLimit(promised int64) int64 { return promised + promised/8 + 16*mib }

// shared is a dot with a volume that is mounted.
type shared struct {
	m       *machine
	r       *running
	path    string
	head    zfs.Dataset
	project uint32
}

// pod starts a pod that uses a volume, and tells where its dot's head is.
func pod(t *testing.T, m *machine, r *running, volume string) (s shared, end func()) {
	t.Helper()
	must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volumeID(volume), Node: node})
	prepared := must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volumeID(volume), Node: node})
	path, unmount := mount(t, prepared)
	head, err := zfs.ParseDataset(prepared.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	return shared{m, r, path, head, prepared.ProjectId}, func() {
		unmount()
		must(t, r.Volumes.UnpublishVolume, &v1.UnpublishVolumeRequest{Volume: volumeID(volume), Node: node})
	}
}

// limits checks the quota of the subdot, on the pool and as a pod sees it, and the
// limit of the whole head.
func (s shared) limits(t *testing.T, when string, subdot, head int64) {
	t.Helper()
	quota := zfs.ProjectQuotaProperty(s.project)
	values, err := s.m.pool.Get(t.Context(), s.head, quota, zfs.PropRefquota)
	if err != nil {
		t.Fatal(err)
	}
	gotSubdot, err1 := values.Uint(quota)
	gotHead, err2 := values.Uint(zfs.PropRefquota)
	if err := errors.Join(err1, err2); err != nil || int64(gotSubdot) != subdot || int64(gotHead) != head {
		t.Errorf("%s: the subdot may hold %d and the head %d bytes, %v; want %d and %d", when, gotSubdot, gotHead, err, subdot, head)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.path, &st); err != nil || int64(st.Blocks)*st.Bsize != subdot {
		t.Errorf("%s: df shows %d bytes, %v; want %d", when, int64(st.Blocks)*st.Bsize, err, subdot)
	}
}

// fill writes until the quota is met and gives how much was written; ZFS knows what
// is used only when a txg has finished, so that each piece waits for one.
func (s shared) fill(t *testing.T, file string) int64 {
	t.Helper()
	f, err := os.Create(filepath.Join(s.path, file))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	piece, total := make([]byte, 4*mib), int64(0)
	_, _ = rand.Read(piece)
	for total < 256*mib {
		n, err := f.Write(piece)
		total += int64(n)
		switch {
		case errors.Is(err, unix.EDQUOT):
			return total
		case err != nil:
			t.Fatalf("writing %s after %d bytes: got %v, want EDQUOT in the end", file, total, err)
		}
		if err := s.m.pool.Sync(t.Context(), s.m.pool.Name); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("%s: %d bytes were written and nothing stopped it", file, total)
	return 0
}

// TestTheLargestClaimOnASubdotHolds: two claims on one subdot, of which the larger
// comes later, goes, comes back, and is outgrown.
func TestTheLargestClaimOnASubdotHolds(t *testing.T) {
	m := newMachine(t)
	r := m.start(nil)
	must(t, r.Volumes.CreateVolume, sized("small", "data", 24*mib))
	must(t, r.Volumes.CreateVolume, sized("beside", "beside", 16*mib))
	s, end := pod(t, m, r, "small")
	s.limits(t, "alone", 24*mib, headLimit(40*mib))
	end()
	must(t, r.Volumes.CreateVolume, sized("large", "data", 48*mib))
	s, end = pod(t, m, r, "small") // no pod has used the larger one
	s.limits(t, "with a larger one", 48*mib, headLimit(64*mib))
	if got := s.fill(t, "full"); got < 40*mib || got > 60*mib {
		t.Errorf("the smaller of two claims could write %d MiB, want about 48", got/mib)
	}

	// The larger goes while a pod uses the smaller: nothing of what is there is lost.
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("large")})
	s.limits(t, "after the larger has gone", 24*mib, headLimit(64*mib))
	if err := os.WriteFile(filepath.Join(s.path, "more"), make([]byte, mib), 0o600); !errors.Is(err, unix.EDQUOT) {
		t.Errorf("writing past the smaller claim: got %v, want EDQUOT", err)
	}
	if info, err := os.Stat(filepath.Join(s.path, "full")); err != nil || info.Size() < 40*mib {
		t.Errorf("what was written: got %v, %v", info, err)
	}
	end()
	s, end = pod(t, m, r, "small")
	s.limits(t, "mounted again", 24*mib, headLimit(40*mib))
	if err := os.Remove(filepath.Join(s.path, "full")); err != nil {
		t.Fatal(err)
	}
	if err := m.pool.Sync(t.Context(), m.pool.Name); err != nil {
		t.Fatal(err)
	}
	if got := s.fill(t, "again"); got < 16*mib || got > 36*mib {
		t.Errorf("the claim that is left could write %d MiB, want about 24", got/mib)
	}

	// The smaller outgrows a larger one, while a pod uses it.
	must(t, r.Volumes.CreateVolume, sized("large", "data", 48*mib))
	if got := must(t, r.Volumes.ExpandVolume, &v1.ExpandVolumeRequest{Volume: volumeID("small"), RequiredBytes: 32 * mib}).SizeBytes; got != 32*mib {
		t.Errorf("expanded to %d, want 32 MiB", got)
	}
	must(t, r.node.ResizeVolume, &v1.ResizeVolumeRequest{Volume: volumeID("small")})
	s.limits(t, "expanded, and still the smaller", 48*mib, headLimit(64*mib))
	must(t, r.Volumes.ExpandVolume, &v1.ExpandVolumeRequest{Volume: volumeID("small"), RequiredBytes: 80 * mib})
	must(t, r.node.ResizeVolume, &v1.ResizeVolumeRequest{Volume: volumeID("small")})
	s.limits(t, "expanded beyond the larger", 80*mib, headLimit(96*mib))
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("large")})
	s.limits(t, "after the one that is smaller now has gone", 80*mib, headLimit(96*mib))
	end()

	// A server that knows of no quota sets the same.
	r.stop()
	r = m.start(nil)
	s, end = pod(t, m, r, "small")
	s.limits(t, "after a restart", 80*mib, headLimit(96*mib))
	end()
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("beside")})
	s, end = pod(t, m, r, "small")
	s.limits(t, "with a subdot that has lost its last claim", 80*mib, 0)
	end()
}
