// Package pool makes, finds, imports, grows and exports the pool that a server
// keeps on a loop device over a file, and refuses what is not its own.
package pool

import (
	"context"
	"errors"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/host"
)

var errNotImplemented = errors.New("not implemented")

// Config says which pool, where.
type Config struct {
	ZFS  *zfs.Client
	Name zfs.PoolName
	// Location is the directory of the pool file (<Location>/<Name>.pool).
	Location string
	// SizeBytes is the pool file's size; at least MinSize.
	SizeBytes int64
	// Sparse files take room only as they fill; a full file system under one
	// hangs every writer.
	Sparse bool
	// ClusterID is the cluster that the pool must belong to; "" when it is not
	// known yet: engine.Open checks it then.
	ClusterID string
	// Force imports a pool that another machine used last. It destroys a pool
	// that is still in use there.
	Force bool
	Hook  crash.Hook
}

// MinSize is the smallest pool file.
const MinSize = 256 << 20

// Opened is an imported pool.
type Opened struct {
	Name   zfs.PoolName
	Root   zfs.Dataset
	Device string // /dev/loopN; "" for a root in a pool that is not ours
	// Imported: this call imported the pool, so the fence must be on until the
	// registry was asked. False when it was imported already (the server was
	// restarted) or made by this call.
	Imported, Created, Grown bool
}

// Ensure makes the pool imported, whatever it finds: nothing, a file that a
// crash left half-made, a pool that is not imported, or one that is. It refuses
// with CodePrecondition, and changes nothing, when the file, or a pool of that
// name, is not ours, or when SizeBytes is less than the file has.
func Ensure(ctx context.Context, cfg Config) (Opened, error) { return Opened{}, errNotImplemented }

// Adopt checks a root in a pool that somebody else made and imported.
func Adopt(ctx context.Context, client *zfs.Client, root zfs.Dataset) (Opened, error) {
	return Opened{}, errNotImplemented
}

// Export exports the pool and detaches its loop device; CodeAborted, with who
// mounts it, while it is in use. Exporting an exported one is nil.
func Export(ctx context.Context, cfg Config) error { return errNotImplemented }

// Points lists the crash points of this package.
func Points() []crash.Point { return nil }

// Prepared is what PrepareHost found.
type Prepared struct {
	// ZFS is the configuration of a client that fits the kernel module.
	ZFS              zfs.Config
	Module, Userland zfs.Version
	HostID           uint32
	ARCBytes         uint64
}

// PrepareHost loads the modules, picks a userland that fits, gives the kernel a
// hostid and caps the ARC.
func PrepareHost(ctx context.Context, h host.Host, base zfs.Config) (Prepared, error) {
	return Prepared{}, errNotImplemented
}
