// Package zfstest makes throwaway pools for tests. Only tests import it.
package zfstest

import (
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// Pool is a pool that lives as long as one test.
type Pool struct {
	*zfs.Client
	Name zfs.PoolName
}

// New makes a pool of size bytes on a loop device over a file in a temporary
// directory and destroys all of it when the test ends, however it ends. It
// fails the test when there is no /dev/zfs. cfg is completed and used for the
// client (crash hook, observer).
func New(t testing.TB, size int64, cfg zfs.Config) *Pool {
	t.Helper()
	t.Fatal("not implemented")
	return nil
}
