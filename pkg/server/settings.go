package server

import (
	"errors"
	"io/fs"
	"sync"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/mounted"
)

// The operator's settings that a server follows.
const (
	// newerVersionSetting tells of a version that can be had.
	newerVersionSetting = "newerVersion"
	// poolSizeSetting is the size of pool files, which may have been raised since this
	// server's flags were written.
	poolSizeSetting = "local.poolSizePerNode"
	// recoverSetting is leave to add pools to the registry that it does not know.
	recoverSetting = "recover"
)

// settings are the files, and what was last read of each.
type settings struct {
	dir string

	mu     sync.Mutex
	last   map[string]string
	failed map[string]string // why, of those that could not be read the last time
}

func newSettings(dir string) *settings {
	return &settings{dir: dir, last: map[string]string{}, failed: map[string]string{}}
}

// get reads a file each time: Kubernetes changes a mounted ConfigMap as it likes. "" where
// there is none; while it cannot be read the last value holds.
func (s *settings) get(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, err := mounted.Read(s.dir, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if s.failed[name] != err.Error() {
			klog.Background().Error(err, "a setting cannot be read, the last value holds", "setting", name, "value", s.last[name])
		}
		s.failed[name] = err.Error()
		return s.last[name]
	}
	delete(s.failed, name)
	s.last[name] = value
	return value
}

func (c Config) setting(name string) string {
	if c.settings == nil {
		return ""
	}
	return c.settings.get(name)
}

// poolSize is how many bytes the pool is to have by now: a pool file what the flag or
// the setting says, whichever is more, and 0, that it fits what it lies on, as it is. A
// value that is no size is the operator's to refuse.
func (c Config) poolSize() int64 {
	flag := c.Pool.SizeBytes
	size, err := dot.ParseSize(c.setting(poolSizeSetting))
	if flag == 0 || c.Pool.Device != "" || err != nil {
		return flag
	}
	return max(flag, size.Bytes())
}

// mayRecover: a pool that the registry does not know may be added to it.
func (c Config) mayRecover() bool { return c.Recover || c.rebuilding() }

// rebuilding: some pools may not be in the registry yet. --recover does not tell, as it
// may stay.
func (c Config) rebuilding() bool { return c.setting(recoverSetting) == "true" }
