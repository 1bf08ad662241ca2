package engine

import (
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

func TestFenceIsRememberedForOneImport(t *testing.T) {
	dir := t.TempDir()
	load := func(guid uint64) *mountedSince {
		m := &mountedSince{dir: dir}
		if err := m.load(zfs.GUID(guid)); err != nil {
			t.Fatal(err)
		}
		return m
	}
	head := dot.NewBranchID()
	m := load(1)
	if m.fenced {
		t.Error("a new import counts as fenced")
	}
	m.mark(t.Context(), head)
	if m = load(1); m.fenced || !m.has(head) {
		t.Error("what was imported, and not fenced when a crash came, counts as fenced")
	}
	if err := m.rememberFence(); err != nil {
		t.Fatal(err)
	}
	if m = load(1); !m.fenced || !m.has(head) {
		t.Error("a restart of the server forgot the fence")
	}
	if m = load(2); m.fenced || m.has(head) {
		t.Error("another import counts as fenced")
	}
}
