package engine

import "github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"

// The crash points of what this package does without a process of ZFS.
const (
	BeforeReplay       crash.Point = "engine.replay.before"
	AfterReplay        crash.Point = "engine.replay.after"
	BeforeMakeSubdot   crash.Point = "engine.make-subdot.before"
	AfterMakeSubdot    crash.Point = "engine.make-subdot.after"
	BeforePlaceSubdot  crash.Point = "engine.place-subdot.before"
	AfterPlaceSubdot   crash.Point = "engine.place-subdot.after"
	BeforeAdoptSubdot  crash.Point = "engine.adopt-subdot.before"
	AfterAdoptSubdot   crash.Point = "engine.adopt-subdot.after"
	BeforeRemoveSubdot crash.Point = "engine.remove-subdot.before"
	DuringRemoveSubdot crash.Point = "engine.remove-subdot.during"
	AfterRemoveSubdot  crash.Point = "engine.remove-subdot.after"
)

// Points lists the crash points of this package; those of pkg/zfs are passed too.
func Points() []crash.Point {
	return []crash.Point{
		BeforeReplay, AfterReplay,
		BeforeMakeSubdot, AfterMakeSubdot, BeforePlaceSubdot, AfterPlaceSubdot,
		BeforeAdoptSubdot, AfterAdoptSubdot,
		BeforeRemoveSubdot, DuringRemoveSubdot, AfterRemoveSubdot,
	}
}
