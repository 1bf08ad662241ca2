//go:build zfs

package node

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func hostileSubdots(t *testing.T, s *site) {
	s.inside(t, s.first, func(root string) {
		must(t, os.Symlink("/etc", root+"/link"))
		must(t, os.Symlink("db", root+"/inner"))
		must(t, os.WriteFile(root+"/file", nil, 0o600))
		must(t, unix.Mknod(root+"/device", unix.S_IFBLK|0o666, int(unix.Mkdev(8, 0))))
		must(t, os.Mkdir(root+"/over", 0o777))
	})
	must(t, s.stageVolume(t))
	must(t, unix.Mount("tmpfs", headIn(s.staging)+"/over", "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(headIn(s.staging)+"/over", 0) })
	for _, subdot := range []string{"link", "inner", "file", "device", "over"} {
		s.server.answer.Subdot = subdot
		err := s.publishVolume(t, "t", false, writer)
		if err == nil || dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), subdot) {
			t.Errorf("%s: got %v", subdot, err)
		}
		nothingAt(t, s.target("t"))
	}
	for _, bad := range []string{"..", ".", "a/b", "-x", "__x"} {
		s.server.answer.Subdot = bad
		if err := s.publishVolume(t, "t", false, writer); err == nil {
			t.Errorf("%q was mounted", bad)
		}
	}
	s.server.answer.Subdot = "" // the root, over which nothing lies
	must(t, s.publishVolume(t, "t", false, writer))
	must(t, s.unpublishVolume(t, "t"))
}

func staleStaging(t *testing.T, s *site) {
	if err := s.publishVolume(t, "t", false, writer); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("nothing is staged: got %v", err)
	}
	must(t, s.stageVolume(t))
	second := s.branch(t, "second")
	s.server.answer.Dataset = second.String() // as after a reset
	if err := s.publishVolume(t, "t", false, writer); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("another dataset is staged: got %v", err)
	}
	nothingAt(t, s.target("t"))
	must(t, s.stageVolume(t))
	must(t, s.publishVolume(t, "t", false, writer))
	at, err := mountedAt(headIn(s.staging))
	if err != nil || at == nil || at.Source != second.String() {
		t.Errorf("got %+v, %v, want the second dataset", at, err)
	}
	// A head that is renamed while it is mounted is no longer the branch's.
	must(t, s.pool.Rename(t.Context(), second, dataset(t, second.String()+"-gone")))
	if err := s.publishVolume(t, "u", false, writer); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("the dataset was renamed: got %v", err)
	}
	s.server.err = dot.Precondition("not published to node n1")
	if err := s.publishVolume(t, "u", false, writer); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("the server refuses: got %v", err)
	}
}

// finalErrors meets a refusal after an earlier try has mounted without kubelet
// knowing: see final.go.
func finalErrors(t *testing.T, s *site) {
	must(t, s.stageVolume(t))
	must(t, s.publishVolume(t, "t", false, writer))
	s.server.err = dot.Precondition("not published to node n1")
	if err := s.publishVolume(t, "t", false, writer); dot.CodeOf(err) != dot.CodeUnavailable || !strings.Contains(err.Error(), "not published") {
		t.Errorf("publish where something is mounted: got %v, want an error that is not final", err)
	}
	if at, err := mountedAt(s.target("t")); err != nil || at == nil {
		t.Errorf("the target of a pod that may run was unmounted: %v", err)
	}
	s.server.err = dot.Unavailable("away")
	if err := s.stageVolume(t); dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("stage with the server away: got %v", err)
	}
	if at, err := mountedAt(headIn(s.staging)); err != nil || at == nil {
		t.Errorf("after an error that is not final: got %+v, %v, want the head mounted", at, err)
	}
	s.server.err = dot.Precondition("not published to node n1")
	busy, err := os.Open(headIn(s.staging))
	must(t, err)
	if err := s.stageVolume(t); dot.CodeOf(err) != dot.CodeUnavailable || !strings.Contains(err.Error(), "not published") {
		t.Errorf("stage that cannot be undone: got %v, want an error that is not final", err)
	}
	must(t, busy.Close())
	for range 2 {
		if err := s.stageVolume(t); dot.CodeOf(err) != dot.CodePrecondition {
			t.Errorf("stage: got %v, want the server's refusal", err)
		}
	}
	if left, err := os.ReadDir(s.staging); err != nil || len(left) > 0 {
		t.Errorf("in the staging path: got %v, %v, want nothing", left, err)
	}
	must(t, s.unpublishVolume(t, "t"))
	if err := s.publishVolume(t, "t", false, writer); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("publish where nothing is mounted: got %v, want the server's refusal", err)
	}
}

func unpublishRemovesMountsOnly(t *testing.T, s *site) {
	must(t, s.stageVolume(t))
	must(t, s.publishVolume(t, "t", false, writer))
	for range 3 { // mounts on top of each other, as after a race
		must(t, unix.Mount(headIn(s.staging)+"/db", s.target("t"), "", unix.MS_BIND, ""))
	}
	must(t, os.WriteFile(s.target("t")+"/file", []byte("data"), 0o600))
	must(t, s.unpublishVolume(t, "t"))
	nothingAt(t, s.target("t"))
	if got, err := os.ReadFile(headIn(s.staging) + "/db/file"); err != nil || string(got) != "data" {
		t.Errorf("got %q, %v: unmounting took data", got, err)
	}
	must(t, os.MkdirAll(s.target("t")+"/data", 0o700))
	if err := s.unpublishVolume(t, "t"); err == nil {
		t.Error("a directory with something in it was removed")
	}
	if _, err := os.Stat(s.target("t") + "/data"); err != nil {
		t.Error(err)
	}
	// In use: the mount stays, and so does the claim to it.
	must(t, s.publishVolume(t, "busy", false, writer))
	f, err := os.Open(s.target("busy") + "/file")
	must(t, err)
	if err := s.unpublishVolume(t, "busy"); err == nil {
		t.Error("unmounted under an open file")
	}
	f.Close()
	must(t, s.unpublishVolume(t, "busy"))
}
