//go:build zfs

package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	mount "k8s.io/mount-utils"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

func volumeLife(t *testing.T, s *site) {
	must(t, s.pool.SetProperties(t.Context(), s.first, zfs.Props{zfs.ProjectQuotaProperty(project): strconv.Itoa(testQuota)}))
	for range 2 { // each step twice: a retry is no error
		must(t, s.stageVolume(t))
		must(t, s.publishVolume(t, "a", false, writer))
	}
	if got := s.server.asked; got.GetVolume() != volumeID || got.GetNode() != "n1" {
		t.Errorf("asked the server for %v", got)
	}
	must(t, os.WriteFile(s.target("a")+"/file", []byte("data"), 0o600))
	if got, err := os.ReadFile(headIn(s.staging) + "/db/file"); err != nil || string(got) != "data" {
		t.Errorf("in the dataset: got %q, %v", got, err)
	}
	at, err := mountedAt(s.target("a"))
	must(t, err)
	for _, want := range []string{"rw", "nodev", "noatime", "noexec"} {
		if !slices.Contains(at.MountOptions, want) {
			t.Errorf("got mount options %v, want %s", at.MountOptions, want)
		}
	}
	t.Run("stats", func(t *testing.T) { statsAndQuota(t, s) })
	t.Run("read-only", func(t *testing.T) { readOnlyTarget(t, s) })
	t.Run("expand", func(t *testing.T) {
		res, err := s.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: volumeID, VolumePath: s.target("a")})
		if err != nil || res.GetCapacityBytes() != 2*testQuota {
			t.Errorf("got %v, %v", res, err)
		}
		_, err = s.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: "a81d4fae-7dec-81d0-a765-00a0c91e6bf6", VolumePath: s.target("a")})
		if dot.CodeOf(err) != dot.CodeNotFound {
			t.Errorf("a volume that no server knows: got %v", err)
		}
	})
	s.server.err = dot.Unavailable("no etcd") // unmounting asks nobody
	for range 2 {
		must(t, s.unpublishVolume(t, "a"))
		_, err := s.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: volumeID, StagingTargetPath: s.staging})
		must(t, err)
	}
	if left, err := os.ReadDir(s.staging); err != nil || len(left) > 0 {
		t.Errorf("in the staging path: got %v, %v, want nothing", left, err)
	}
	if _, err := os.Lstat(s.target("a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the target is still there: %v", err)
	}
	s.inside(t, s.first, func(root string) {
		if got, err := os.ReadFile(root + "/db/file"); err != nil || string(got) != "data" {
			t.Errorf("after all: got %q, %v", got, err)
		}
	})
}

// sharedDataset stages a dot's dataset for two volumes. kubelet has a volume
// unstaged only when what is at its staging path is mounted nowhere else.
func sharedDataset(t *testing.T, s *site) {
	other := filepath.Join(filepath.Dir(s.staging), "other")
	must(t, s.stageVolume(t))
	_, err := s.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: "a81d4fae-7dec-81d0-a765-00a0c91e6bf6", StagingTargetPath: other, PublishContext: attached,
		VolumeCapability: capability(csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER),
	})
	must(t, err)
	t.Cleanup(func() { _ = s.unmount(context.Background(), headIn(other)) })
	must(t, s.publishVolume(t, "a", false, writer))
	for _, path := range []string{s.staging, other} {
		refs, err := mount.New("").GetMountRefs(path)
		if err != nil || len(refs) > 0 {
			t.Errorf("kubelet would not have %s unstaged: mounted too at %v, %v", path, refs, err)
		}
	}
}

func statsAndQuota(t *testing.T, s *site) {
	filler := s.target("a") + "/filler"
	f, err := os.Create(filler)
	must(t, err)
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i*7 + i>>8)
	}
	var full error
	for range 3 * testQuota >> 20 {
		if _, full = f.Write(block); full != nil {
			break
		}
		must(t, f.Sync())
	}
	f.Close()
	if !errors.Is(full, unix.EDQUOT) {
		t.Errorf("writing past the quota: got %v, want EDQUOT", full)
	}
	res, err := s.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: s.target("a")})
	must(t, err)
	for _, u := range res.GetUsage() {
		t.Logf("%v", u)
		switch u.GetUnit() {
		case csi.VolumeUsage_BYTES:
			if u.GetTotal() != testQuota || u.GetUsed() < testQuota/2 || u.GetAvailable() > testQuota/2 {
				t.Errorf("got %v, want the quota of the subdot and what is in it", u)
			}
		case csi.VolumeUsage_INODES:
			if u.GetUsed() < 2 || u.GetUsed() > 50 || u.GetTotal() <= u.GetUsed() {
				t.Errorf("got %v, want the few files of the subdot", u)
			}
		}
	}
	must(t, os.Remove(filler))
	for range 100 { // what was removed counts until it was written to the disk
		if err = os.WriteFile(s.target("a")+"/again", nil, 0o600); err == nil {
			return
		}
		time.Sleep(300 * time.Millisecond)
	}
	t.Errorf("after making room: %v", err)
}

func readOnlyTarget(t *testing.T, s *site) {
	for range 2 {
		must(t, s.publishVolume(t, "ro", true, writer))
	}
	if err := os.WriteFile(s.target("ro")+"/file", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to a read-only target: got %v", err)
	}
	must(t, os.WriteFile(s.target("a")+"/other", nil, 0o600)) // and the first stays writable
	if err := s.publishVolume(t, "ro", false, writer); dot.CodeOf(err) != dot.CodeExists {
		t.Errorf("making it writable: got %v", err)
	}
	at, err := mountedAt(s.target("ro"))
	must(t, err)
	for _, want := range []string{"ro", "nodev", "noatime", "noexec"} {
		if !slices.Contains(at.MountOptions, want) {
			t.Errorf("got mount options %v, want %s", at.MountOptions, want)
		}
	}
	// A crash between bind and remount leaves a writable mount.
	must(t, s.unpublishVolume(t, "ro"))
	must(t, os.Mkdir(s.target("ro"), 0o700))
	must(t, unix.Mount(headIn(s.staging)+"/db", s.target("ro"), "", unix.MS_BIND, ""))
	must(t, s.publishVolume(t, "ro", true, writer))
	if err := os.WriteFile(s.target("ro")+"/file", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("after a crash: got %v, want read-only", err)
	}
	must(t, s.unpublishVolume(t, "ro"))
}

func onePod(t *testing.T, s *site) {
	const one = csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	must(t, s.stageVolume(t))
	for range 2 {
		must(t, s.publishVolume(t, "a", false, one))
	}
	if err := s.publishVolume(t, "b", false, one); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("a second target: got %v", err)
	}
	must(t, s.unpublishVolume(t, "a"))
	must(t, s.publishVolume(t, "b", false, one))
}

func readOnlyDataset(t *testing.T, s *site) {
	s.server.answer.ReadOnly = true
	must(t, s.pool.SetReadonly(t.Context(), s.first, true))
	for range 2 {
		must(t, s.stageVolume(t))
		must(t, s.publishVolume(t, "t", false, writer))
	}
	if err := os.WriteFile(s.target("t")+"/file", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("got %v, want a read-only file system", err)
	}
}
