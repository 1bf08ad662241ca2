package pools

import (
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/plan"
)

// One point after each kind of action. None is needed before: that is after another action,
// or where nothing was done yet.
const (
	pointLabelNode    crash.Point = "pools.label-node.after"
	pointUnlabelNode  crash.Point = "pools.unlabel-node.after"
	pointCreatePVC    crash.Point = "pools.create-pvc.after"
	pointAssignPVC    crash.Point = "pools.assign-pvc.after"
	pointRecordPool   crash.Point = "pools.record-pool.after"
	pointRecordNode   crash.Point = "pools.record-node.after"
	pointMarkReleased crash.Point = "pools.mark-released.after"
	pointMarkImported crash.Point = "pools.mark-imported.after"
	pointFreePVC      crash.Point = "pools.free-pvc.after"
	pointDeletePVC    crash.Point = "pools.delete-pvc.after"
	pointGrowPVC      crash.Point = "pools.grow-pvc.after"
	pointCreateGuard  crash.Point = "pools.create-guard.after"
	pointDeleteGuard  crash.Point = "pools.delete-guard.after"
	pointCreateHolder crash.Point = "pools.create-holder.after"
	pointDeleteHolder crash.Point = "pools.delete-holder.after"
	pointCreateServer crash.Point = "pools.create-server.after"
	pointDeleteServer crash.Point = "pools.delete-server.after"
	pointRelease      crash.Point = "pools.release.after"
	pointWarn         crash.Point = "pools.warn.after"
)

// Points are all that the package passes.
func Points() []crash.Point {
	return []crash.Point{
		pointLabelNode, pointUnlabelNode, pointCreatePVC, pointAssignPVC, pointRecordPool, pointRecordNode, pointMarkReleased,
		pointMarkImported, pointFreePVC, pointDeletePVC, pointGrowPVC, pointCreateGuard, pointDeleteGuard, pointCreateHolder,
		pointDeleteHolder, pointCreateServer, pointDeleteServer, pointRelease, pointWarn,
	}
}

func pointOf(action plan.Action) crash.Point {
	switch action.(type) {
	case plan.LabelNode:
		return pointLabelNode
	case plan.UnlabelNode:
		return pointUnlabelNode
	case plan.CreatePVC:
		return pointCreatePVC
	case plan.AssignPVC:
		return pointAssignPVC
	case plan.RecordPool:
		return pointRecordPool
	case plan.RecordNode:
		return pointRecordNode
	case plan.MarkReleased:
		return pointMarkReleased
	case plan.MarkImported:
		return pointMarkImported
	case plan.FreePVC:
		return pointFreePVC
	case plan.DeletePVC:
		return pointDeletePVC
	case plan.GrowPVC:
		return pointGrowPVC
	case plan.CreateGuard:
		return pointCreateGuard
	case plan.DeleteGuard:
		return pointDeleteGuard
	case plan.CreateHolder:
		return pointCreateHolder
	case plan.DeleteHolder:
		return pointDeleteHolder
	case plan.CreateServer:
		return pointCreateServer
	case plan.DeleteServer:
		return pointDeleteServer
	case plan.Release:
		return pointRelease
	}
	return pointWarn
}
