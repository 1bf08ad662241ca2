//go:build zfs && long

package server_test

import (
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// TestFenceAfterAnImportThatACrashInterrupted kills a server between an import and
// the fence, which then has to be set by the next one.
func TestFenceAfterAnImportThatACrashInterrupted(t *testing.T) {
	m := newMachine(t)
	fences := func(r *recorder) int {
		n := 0
		for _, p := range r.points() {
			if p == zfs.AfterFence {
				n++
			}
		}
		return n
	}
	restart := func() int {
		c := &recorder{}
		m.start(c.pass).stop()
		return fences(c)
	}
	m.start(nil).stop()
	if got := restart(); got != 1 {
		t.Errorf("a restart set the fence %d times, want 1: it is lifted alone", got)
	}
	m.forgetMounts(t) // as after an import
	for _, at := range []crash.Point{zfs.BeforeFence, zfs.AfterFence} {
		dying := m.spawn(false, string(at)+"#1")
		if !dying.killedItself(2 * time.Minute) {
			t.Fatalf("%s was not passed", at)
		}
		dying.kill()
	}
	if got := restart(); got != 2 {
		t.Errorf("the fence was set %d times, want 2: on, and lifted", got)
	}
	if got := restart(); got != 1 {
		t.Errorf("a restart set the fence %d times, want 1: it is lifted alone", got)
	}
}
