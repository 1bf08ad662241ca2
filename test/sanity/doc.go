// Package sanity runs csi-sanity, the conformance suite of CSI, whole against
// the real controller, node service, server, etcd and ZFS. The parts run in the
// test's process and talk over their sockets as they do in a cluster. There is
// no Kubernetes: the suite tells of no PVC, so that defaults hold.
//
// It needs root and ZFS: `make test-sanity` runs it in a machine of test/lab.
package sanity
