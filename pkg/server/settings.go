package server

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
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

// setting reads a file of the settings each time: Kubernetes changes a mounted ConfigMap
// as it likes. "" where there is none.
func (c Config) setting(name string) string {
	if c.SettingsDir == "" {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(c.SettingsDir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
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
