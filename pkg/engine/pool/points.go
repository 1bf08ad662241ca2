package pool

import "github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"

// The crash points of what this package does without a process of ZFS.
const (
	BeforeAllocate crash.Point = "pool.allocate.before"
	AfterAllocate  crash.Point = "pool.allocate.after"
	AfterAttach    crash.Point = "pool.attach.after"
	BeforeMark     crash.Point = "pool.mark.before"
	AfterMark      crash.Point = "pool.mark.after"
	BeforeExtend   crash.Point = "pool.extend.before"
	AfterExtend    crash.Point = "pool.extend.after"
	BeforeDetach   crash.Point = "pool.detach.before"
	AfterDetach    crash.Point = "pool.detach.after"
)

// Points lists the crash points of this package.
func Points() []crash.Point {
	return []crash.Point{
		BeforeAllocate, AfterAllocate, AfterAttach, BeforeMark, AfterMark,
		BeforeExtend, AfterExtend, BeforeDetach, AfterDetach,
	}
}
