// Package pools has a server run for every pool, and pools where they are wanted:
// again and again it observes the cluster, asks the servers how they are, has
// pkg/operator/plan say what can be done, and does that.
//
// It decides nothing itself and keeps nothing but what servers last said, and since when
// it has not seen nodes that something is for. Each action is small and idempotent, and
// changes only what is as it was observed: PVCs and nodes by resourceVersion, pods by
// UID. So an operator may be killed after any of them, and two may run at once.
package pools
