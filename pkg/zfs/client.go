package zfs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

// Config says how processes are started. The zero value runs zfs and zpool from
// PATH.
type Config struct {
	// ZFS and Zpool are the programs; default: found in PATH, or under Chroot in
	// the usual system directories.
	ZFS, Zpool string
	// Chroot, if set, is the directory that becomes the programs' root: the
	// host's file system as this container sees it, to use the host's userland.
	// Paths given to commands (devices, directories) are then the host's.
	Chroot string
	// Timeout bounds every command but Send and Receive, which only their
	// context bounds, and List, which has five times as long. Default 2 min.
	Timeout time.Duration
	// Crash is called at the points that Points lists.
	Crash crash.Hook
	// Observe is called after every process, on the caller's goroutine.
	Observe Observer
}

// Observer hears of every process that was started: its arguments (args[0] is
// "zfs" or "zpool"), how long it ran and the error that the call returned.
// It may be called from several goroutines at once.
type Observer func(args []string, d time.Duration, err error)

// Client runs ZFS commands. It is safe for use by several goroutines.
type Client struct {
	cfg  Config
	held *os.File // nil: none
	// changing: what runs changes something, so that it has held open.
	changing bool
	// unfinished counts the processes of ErrStuck that change something. Clients
	// that come from one of New's share it.
	unfinished *atomic.Int64
}

// Unfinished is how many processes that change something were killed and have not
// ended: what they were started for may still happen.
func (c *Client) Unfinished() int64 { return c.unfinished.Load() }

// Holding gives a client of the same programs whose processes that change something
// have file open too, while they run: a flock(2) of it lasts until the last of them
// has ended, also when who started them was killed.
func (c *Client) Holding(file *os.File) *Client {
	holding := *c
	holding.held = file
	return &holding
}

// New resolves the programs; it starts nothing.
func New(cfg Config) (*Client, error) {
	var err error
	if cfg.ZFS, err = resolve(cfg.Chroot, cfg.ZFS, "zfs"); err != nil {
		return nil, err
	}
	if cfg.Zpool, err = resolve(cfg.Chroot, cfg.Zpool, "zpool"); err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 2 * time.Minute
	}
	return &Client{cfg: cfg, unfinished: new(atomic.Int64)}, nil
}

// resolve finds a program as the process will see it, that is inside root.
func resolve(root, path, name string) (string, error) {
	switch {
	case path != "" && !filepath.IsAbs(path):
		return "", fmt.Errorf("path of %s is %q: it must be absolute", name, path)
	case path != "":
		return path, nil
	case root == "":
		found, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("no %s program: install zfsutils-linux: %w", name, err)
		}
		return filepath.Abs(found)
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"} {
		candidate := filepath.Join(dir, name)
		if info, err := os.Stat(filepath.Join(root, candidate)); err == nil && info.Mode().IsRegular() {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("no %s program under %s: install zfsutils-linux on the host", name, root)
}
