package zfs

import (
	"fmt"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs/names"
)

// PoolName is the name of a pool as zpool(8) accepts it. The zero value is no
// pool; every other value came from ParsePoolName.
type PoolName struct{ name string }

// ParsePoolName accepts what names.CheckPool does.
func ParsePoolName(s string) (PoolName, error) {
	if err := names.CheckPool(s); err != nil {
		return PoolName{}, fmt.Errorf("pool name %q: %w: %w", s, ErrInvalidName, err)
	}
	return PoolName{s}, nil
}

// String is the bare name, "" for the zero value.
func (p PoolName) String() string { return p.name }

// IsZero reports whether p names no pool.
func (p PoolName) IsZero() bool { return p.name == "" }

// Root is the pool's root filesystem.
func (p PoolName) Root() Dataset { return Dataset{p.name} }

// Dataset is the path of a filesystem: "pool" or "pool/a/b". The zero value is
// no dataset; every other value came from ParseDataset or from another Dataset.
// Comparable with ==.
type Dataset struct{ path string }

// ParseDataset parses "pool/a/b". Snapshots, bookmarks, "..", spaces, leading
// "-" and "/" at either end are refused with ErrInvalidName.
func ParseDataset(s string) (Dataset, error) {
	if len(s) > names.Max {
		return Dataset{}, fmt.Errorf("dataset name of %d bytes: %w: at most %d are allowed", len(s), ErrInvalidName, names.Max)
	}
	pool, rest, nested := strings.Cut(s, "/")
	if _, err := ParsePoolName(pool); err != nil {
		return Dataset{}, fmt.Errorf("dataset %q: %w", s, err)
	}
	if !nested {
		return Dataset{s}, nil
	}
	for component := range strings.SplitSeq(rest, "/") {
		if err := names.CheckComponent(component); err != nil {
			return Dataset{}, fmt.Errorf("dataset %q: %w: %w", s, ErrInvalidName, err)
		}
	}
	return Dataset{s}, nil
}

// String is the full path, "" for the zero value.
func (d Dataset) String() string { return d.path }

// IsZero reports whether d names no dataset.
func (d Dataset) IsZero() bool { return d.path == "" }

// Child is the filesystem of that name directly below d. component is one
// component: a "/" in it is refused.
func (d Dataset) Child(component string) (Dataset, error) {
	if err := names.CheckComponent(component); err != nil {
		return Dataset{}, fmt.Errorf("dataset component %q: %w: %w", component, ErrInvalidName, err)
	}
	return ParseDataset(d.path + "/" + component)
}

// Parent is the filesystem that holds d; false for a pool's root.
func (d Dataset) Parent() (Dataset, bool) {
	i := strings.LastIndexByte(d.path, '/')
	if i < 0 {
		return Dataset{}, false
	}
	return Dataset{d.path[:i]}, true
}

// Base is the last component.
func (d Dataset) Base() string { return d.path[strings.LastIndexByte(d.path, '/')+1:] }

// Pool is the pool that d lies in.
func (d Dataset) Pool() PoolName {
	name, _, _ := strings.Cut(d.path, "/")
	return PoolName{name}
}

// Contains reports whether other is d or lies below it.
func (d Dataset) Contains(other Dataset) bool {
	return d == other || strings.HasPrefix(other.path, d.path+"/")
}

// Snapshot names the snapshot of d called name.
func (d Dataset) Snapshot(name string) (Snapshot, error) {
	if err := checkLeaf(d, '@', name); err != nil {
		return Snapshot{}, err
	}
	return Snapshot{d, name}, nil
}

// Bookmark names the bookmark of d called name.
func (d Dataset) Bookmark(name string) (Bookmark, error) {
	if err := checkLeaf(d, '#', name); err != nil {
		return Bookmark{}, err
	}
	return Bookmark{d, name}, nil
}

// Snapshot is "dataset@name". Comparable with ==.
type Snapshot struct {
	dataset Dataset
	name    string
}

// Dataset is the filesystem that the snapshot is of.
func (s Snapshot) Dataset() Dataset { return s.dataset }

// Name is what follows the "@".
func (s Snapshot) Name() string { return s.name }

// IsZero reports whether s names no snapshot.
func (s Snapshot) IsZero() bool { return s == Snapshot{} }

func (s Snapshot) String() string { return leafString(s.dataset, '@', s.name) }

// Bookmark is "dataset#name". Comparable with ==.
type Bookmark struct {
	dataset Dataset
	name    string
}

// Dataset is the filesystem that the bookmark belongs to.
func (b Bookmark) Dataset() Dataset { return b.dataset }

// Name is what follows the "#".
func (b Bookmark) Name() string { return b.name }

// IsZero reports whether b names no bookmark.
func (b Bookmark) IsZero() bool { return b == Bookmark{} }

func (b Bookmark) String() string { return leafString(b.dataset, '#', b.name) }

// Target is what properties can be read from and set on: a Dataset, a Snapshot
// or a Bookmark, and nothing else.
type Target interface {
	String() string
	IsZero() bool
	target()
}

func (Dataset) target()  {}
func (Snapshot) target() {}
func (Bookmark) target() {}

// Origin is where an incremental stream may start: a Snapshot or a Bookmark.
type Origin interface {
	Target
	origin()
}

func (Snapshot) origin() {}
func (Bookmark) origin() {}

func leafString(d Dataset, sep byte, name string) string {
	if name == "" {
		return ""
	}
	return d.path + string(sep) + name
}

func checkLeaf(d Dataset, sep byte, leaf string) error {
	if d.IsZero() {
		return fmt.Errorf("name %q: %w: it belongs to no dataset", leaf, ErrInvalidName)
	}
	if err := names.CheckComponent(leaf); err != nil {
		return fmt.Errorf("%s%c%s: %w: %w", d, sep, leaf, ErrInvalidName, err)
	}
	if n := len(d.path) + 1 + len(leaf); n > names.Max {
		return fmt.Errorf("%s%c%s: %w: %d bytes, at most %d are allowed", d, sep, leaf, ErrInvalidName, n, names.Max)
	}
	return nil
}
