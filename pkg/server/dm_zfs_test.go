//go:build zfs

package server_test

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestDotsOfDM(t *testing.T) {
	m := newMachine(t)
	r := m.start(nil)
	empty := m.state()
	d := must(t, r.Dots.CreateDot, &v1.CreateDotRequest{Dot: "mine"}).Dot
	if _, err := call(r.Dots.CreateDot, &v1.CreateDotRequest{Dot: "admin/mine"}); dot.CodeOf(err) != dot.CodeExists {
		t.Errorf("a taken name: got %v", err)
	}
	named := pvc("x")
	named.DotName = "mine"
	if _, err := call(r.Volumes.CreateVolume, named); dot.CodeOf(err) != dot.CodePermission || !strings.Contains(err.Error(), "dm dot share admin/mine default") {
		t.Errorf("a dot that is not shared: got %v", err)
	}
	must(t, r.Dots.ShareDot, &v1.ShareDotRequest{Dot: d.Id, Share: []string{"default"}})
	must(t, r.Volumes.CreateVolume, named)
	first := must(t, r.Dots.Commit, &v1.CommitRequest{Dot: "mine", Message: "one", Metadata: map[string]string{"k": "v"}, IdempotencyKey: "x"}).Commit
	retry := must(t, r.Dots.Commit, &v1.CommitRequest{Dot: "mine", Message: "one", IdempotencyKey: "x"}).Commit
	if first.Id != retry.Id || first.Author != "admin" || first.Sequence != 1 {
		t.Errorf("got %v and %v", first, retry)
	}
	second := must(t, r.Dots.Commit, &v1.CommitRequest{Dot: "mine", Message: "two"}).Commit
	if second.Parent != first.Id || second.Sequence != 2 {
		t.Errorf("got %v", second)
	}
	if _, err := call(r.Dots.Commit, &v1.CommitRequest{Dot: "mine", Message: strings.Repeat("x", 8192)}); dot.CodeOf(err) != dot.CodeInvalid {
		t.Errorf("a long message: got %v", err)
	}
	must(t, r.Dots.CreateBranch, &v1.CreateBranchRequest{Dot: "mine", Name: "side", Commit: first.Id})
	log := must(t, r.Dots.ListCommits, &v1.ListCommitsRequest{Dot: "mine", Branch: "side"}).Commits
	if len(log) != 1 || log[0].Id != first.Id || log[0].Metadata["k"] != "v" {
		t.Errorf("got %v", log)
	}
	// A commit of dm's is restored by its handle.
	restored := pvc("y")
	restored.SourceSnapshot = first.Handle
	must(t, r.Volumes.CreateVolume, restored)
	if got := must(t, r.Volumes.GetSnapshot, &v1.GetSnapshotRequest{Handle: "admin/mine/" + first.Id}).Snapshot; got.Handle != first.Handle {
		t.Errorf("got %v", got)
	}
	// A PersistentVolume written by hand.
	must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: "admin/mine@side.sub", Node: node})
	_, unmount := mount(t, must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: "admin/mine@side.sub", Node: node}))
	unmount()
	if _, err := call(r.Dots.DeleteDot, &v1.DeleteDotRequest{Dot: "mine"}); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("deleting a dot in use: got %v", err)
	}
	must(t, r.Volumes.UnpublishVolume, &v1.UnpublishVolumeRequest{Volume: "admin/mine@side.sub", Node: node})
	must(t, r.Dots.ResetBranch, &v1.ResetBranchRequest{Dot: "mine", Branch: "master", Commit: first.Id})
	if log := must(t, r.Dots.ListCommits, &v1.ListCommitsRequest{Dot: "mine"}).Commits; len(log) != 1 {
		t.Errorf("after the reset: %v", log)
	}
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("x")})
	if got := must(t, r.Dots.GetDot, &v1.GetDotRequest{Dot: "mine"}).Dot; !got.Released {
		t.Error("a dot that dm made stays, released")
	}
	must(t, r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("y")})
	m.eventually("the dot cannot be deleted", func() string {
		if _, err := call(r.Dots.DeleteDot, &v1.DeleteDotRequest{Dot: "mine"}); err != nil && dot.CodeOf(err) != dot.CodeNotFound {
			return err.Error()
		}
		return ""
	})
	m.eventually("something is left", func() string {
		if got := m.state(); got != empty {
			return got
		}
		return ""
	})
	if _, err := r.Server.GetVersion(t.Context(), connect.NewRequest(&v1.GetVersionRequest{})); err != nil {
		t.Error(err)
	}
}
