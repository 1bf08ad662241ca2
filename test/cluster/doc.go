// Package cluster runs several servers, each with a pool of its own, on one
// registry: real etcd, real ZFS, and every server in the test's process.
//
// It needs root and ZFS: `make test-cluster` runs it in a machine of test/lab.
package cluster
