//go:build zfs

package server_test

import (
	"strings"
	"testing"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestWithoutEtcdNothingIsDone(t *testing.T) {
	m := newMachine(t)
	var c recorder
	r := m.start(c.pass)
	must(t, r.Volumes.CreateVolume, pvc("a"))
	must(t, r.Volumes.PublishVolume, &v1.PublishVolumeRequest{Volume: volumeID("a"), Node: node})
	m.stopEtcd()
	c.points()
	for what, err := range map[string]error{
		"create":   onlyError(call(r.Volumes.CreateVolume, pvc("b"))),
		"snapshot": onlyError(call(r.Volumes.CreateSnapshot, &v1.CreateSnapshotRequest{CsiName: "s", Volume: volumeID("a")})),
		"delete":   onlyError(call(r.Volumes.DeleteVolume, &v1.DeleteVolumeRequest{Volume: volumeID("a")})),
		"prepare":  onlyError(call(r.node.PrepareVolume, &v1.PrepareVolumeRequest{Volume: volumeID("a"), Node: node})),
		"list":     onlyError(call(r.Dots.ListDots, &v1.ListDotsRequest{})),
	} {
		if dot.CodeOf(err) != dot.CodeUnavailable {
			t.Errorf("%s: got %v, want CodeUnavailable", what, err)
		}
	}
	for _, p := range c.points() {
		if !strings.HasPrefix(string(p), "store.") {
			t.Errorf("the pool was changed: %s", p)
		}
	}
	m.startEtcd()
	m.eventually("the server does not recover", func() string {
		if _, err := call(r.Volumes.CreateVolume, pvc("b")); err != nil {
			return err.Error()
		}
		return ""
	})
}

func onlyError[T any](_ T, err error) error { return err }
