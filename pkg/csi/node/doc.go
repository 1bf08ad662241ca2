// Package node is the CSI node service. It asks the server of a branch's pool,
// over a root-only unix socket, to prepare a volume, mounts the branch's dataset
// in the staging path and binds the volume's subdot to where kubelet wants it.
// Unmounting needs nobody.
//
// A pod may write anything into a dot, symbolic links included, so a subdot is
// opened from the dataset's root without leaving it, mounted through that
// descriptor, and compared afterwards (subdot.go, bind.go). Nothing is ever
// removed but an empty directory on which nothing is mounted (unmount.go).
//
// Beside the calls one goroutine watches the deadlines of the pools' fences and
// sets the fence when a server has not (fence.go).
package node
