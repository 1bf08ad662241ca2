//go:build zfs

package server_test

import (
	"testing"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// TestSettingsOfANewDot: compression and recordsize of a StorageClass are of the
// dots that its claims make, and never change one that is there.
func TestSettingsOfANewDot(t *testing.T) {
	m := newMachine(t)
	r := m.start(nil)
	if err := m.pool.SetProperties(t.Context(), m.pool.Root(), zfs.Props{zfs.PropCompression: "lz4", zfs.PropRecordsize: "64K"}); err != nil {
		t.Fatal(err)
	}
	has := func(when, volume, compression, recordSize string) {
		t.Helper()
		values, err := m.pool.Get(t.Context(), m.headOf(t, volume), zfs.PropCompression, zfs.PropRecordsize)
		if err != nil {
			t.Fatal(err)
		}
		if got := values[zfs.PropCompression].Value; got != compression {
			t.Errorf("%s: compression is %q, want %q", when, got, compression)
		}
		if got := values[zfs.PropRecordsize].Value; got != recordSize {
			t.Errorf("%s: recordsize is %q, want %q", when, got, recordSize)
		}
	}
	with := func(req *v1.CreateVolumeRequest, compression, recordSize string) *v1.CreateVolumeRequest {
		req.Compression, req.RecordSize = compression, recordSize
		return req
	}
	must(t, r.Volumes.CreateVolume, pvc("plain"))
	has("neither", "plain", "lz4", "65536")
	must(t, r.Volumes.CreateVolume, with(pvc("one"), "off", ""))
	has("compression alone", "one", "off", "65536")
	must(t, r.Volumes.CreateVolume, with(part("a", ""), "gzip-3", "16K"))
	has("both", "a", "gzip-3", "16384")
	told := must(t, r.Dots.GetDot, &v1.GetDotRequest{Dot: "shared"}).Dot
	if told.Compression != "gzip-3" || told.RecordSize != 16<<10 {
		t.Errorf("the dot tells of compression %q and recordsize %d", told.Compression, told.RecordSize)
	}

	must(t, r.Volumes.CreateVolume, with(part("b", "b"), "off", "1M"))
	must(t, r.Volumes.CreateVolume, with(part("a", ""), "zstd", "512")) // a retry for a class that was made anew
	for _, v := range []string{"a", "b"} {
		must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volumeID(v), Node: node})
		must(t, r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volumeID(v), Node: node})
	}
	has("joined by a claim of another class", "a", "gzip-3", "16384")
	if told := must(t, r.Dots.GetDot, &v1.GetDotRequest{Dot: "shared"}).Dot; told.Compression != "gzip-3" || told.RecordSize != 16<<10 {
		t.Errorf("joined: the dot tells of compression %q and recordsize %d", told.Compression, told.RecordSize)
	}

	// A restore and a clone are new dots.
	snap := must(t, r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("a")}).Snapshot
	for name, c := range map[string]struct{ compression, recordSize, wantCompression, wantRecordSize string }{
		"own":  {"zstd-5", "32K", "zstd-5", "32768"},
		"none": {"", "", "lz4", "65536"},
	} {
		restore, clone := with(pvc("restore-"+name), c.compression, c.recordSize), with(pvc("clone-"+name), c.compression, c.recordSize)
		restore.SourceSnapshot, clone.SourceVolume = snap.Handle, volumeID("a")
		for _, req := range []*v1.CreateVolumeRequest{restore, clone} {
			must(t, r.Volumes.CreateVolume, req)
			has(req.PvcName, req.PvcName, c.wantCompression, c.wantRecordSize)
		}
	}
	must(t, r.Dots.CreateDot, &v1.CreateDotRequest{Dot: "mine", Compression: "zle", RecordSize: "8192"})
	mine := must(t, r.Dots.GetDot, &v1.GetDotRequest{Dot: "mine"}).Dot
	values, err := m.pool.Get(t.Context(), m.dataset(t, mine.Branches[0].Id), zfs.PropCompression, zfs.PropRecordsize)
	if err != nil || values[zfs.PropCompression].Value != "zle" || values[zfs.PropRecordsize].Value != "8192" {
		t.Errorf("a dot of dm's: got %v, %v", values, err)
	}
}
