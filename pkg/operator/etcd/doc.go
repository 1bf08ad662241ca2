// Package etcd runs the registry's etcd: the StatefulSet dotmesh-etcd-cluster, one
// member on one or two nodes, three from three on.
//
// What is to be done next is decided by Next, which is pure and gives one step at a
// time from what is there, so that an operator that is killed goes on where it was:
//
//   - A member joins as a learner. etcd is told of it first, then the ConfigMap that
//     its pod takes --initial-cluster from, then its pod and its volume are made, and
//     it votes when it has caught up. Members that have data do not look at that
//     ConfigMap, so that a restart needs nothing.
//   - A member whose node is gone is removed, if the others are a quorum without it;
//     its volume goes, and the place is filled by a new member on another node. So is one
//     that has lost its data, and waits instead of starting.
//   - The ConfigMap also says that the cluster was begun, and so does each volume or claim
//     that tells its member: while one of these is there, a member that lost its data can
//     never begin another, empty one.
//
// In local mode each member has a PersistentVolume of the operator's, a directory of
// one node that is used for this member only; in pvcPerNode mode the class's
// provisioner makes it, and members go where it can follow; its claim is deleted with the
// member, for what that left on it would keep the next from starting.
package etcd
