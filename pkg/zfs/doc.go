// Package zfs is a typed, context-bound front of zfs(8), zpool(8) and channel
// programs (zfs-program(8)). It knows pools, filesystems, snapshots, bookmarks
// and streams; it knows nothing of what is kept in them.
//
// Names are types that cannot hold a bad value (names.go). Every process is
// started in one place (runner.go): without a shell, with LC_ALL=C, in a process
// group that is killed when the context ends, and with exit code and standard
// error kept in a *CommandError whose kind is one of this package's errors
// (errors.go is the only place that reads ZFS's English).
//
// Every mutating call passes two crash points, one before and one after it
// (points.go).
//
// What is not offered, on purpose: rollback, `receive -F`, `destroy -r|-R|-f`,
// `rename -f`, `clone -p`: none of them can be told from the destruction of data
// that somebody still wants.
//
// Streams (sendreceive.go, stream.go), bookmarks, holds and Rename are for
// replication and for a head that diverged; nothing else calls them.
//
// The vocabulary (kinds of datasets, pool states, what a dataset and a pool
// report about their space) is that of mistifyio/go-zfs. Its processes are not
// used: they take no context, inherit the caller's locale, and a create or a
// snapshot starts two of them.
package zfs
