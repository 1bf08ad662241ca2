package zfs

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	gozfs "github.com/mistifyio/go-zfs/v4"
)

// Pool states, as in zpoolconcepts(7), and SUSPENDED.
const (
	HealthOnline    = gozfs.ZpoolOnline
	HealthDegraded  = gozfs.ZpoolDegraded
	HealthFaulted   = gozfs.ZpoolFaulted
	HealthOffline   = gozfs.ZpoolOffline
	HealthUnavail   = gozfs.ZpoolUnavail
	HealthRemoved   = gozfs.ZpoolRemoved
	HealthSuspended = "SUSPENDED"
)

// Pool is one imported pool. Its Name, Health, Size, Allocated, Free,
// Fragmentation (percent) … are those of go-zfs, sizes in bytes.
type Pool struct {
	gozfs.Zpool
	GUID     GUID
	Capacity uint64 // percent used
	// Multihost: ZFS keeps it from being imported by two machines at once.
	Multihost bool
}

// PoolSpec describes a pool to create on whole devices or files, unmirrored.
type PoolSpec struct {
	Name    PoolName
	Devices []string // absolute paths
	// Props are pool properties (ashift, multihost …). `compatibility` and
	// `cachefile=none` are set unless named here.
	Props Props
	// RootProps are properties of the root filesystem; mountpoint=none unless
	// named here.
	RootProps Props
}

// LowestCompatibility is the feature set of pools that this package creates:
// a file of zpool-features(7)'s compatibility.d.
const LowestCompatibility = "openzfs-2.1-linux"

// CreatePool never forces (-f): a device with another pool's or file system's
// label is refused with ErrBusy or ErrExists. One process.
func (c *Client) CreatePool(ctx context.Context, spec PoolSpec) error {
	args, err := createPoolArgs(spec)
	if err != nil {
		return err
	}
	return c.mutateZpool(ctx, operation{BeforeCreatePool, AfterCreatePool}, args...)
}

func createPoolArgs(spec PoolSpec) ([]string, error) {
	if err := check(spec.RootProps, spec.Name.Root()); err != nil {
		return nil, err
	}
	if err := checkDevices(spec.Devices); err != nil {
		return nil, err
	}
	props := withDefaults(spec.Props, Props{"cachefile": "none", "compatibility": LowestCompatibility})
	if err := props.Check(); err != nil {
		return nil, err
	}
	root := withDefaults(spec.RootProps, Props{PropMountpoint: "none"})
	args := append([]string{"create"}, props.args("-o")...)
	args = append(args, root.args("-O")...)
	args = append(args, spec.Name.String())
	return append(args, spec.Devices...), nil
}

func withDefaults(props, defaults Props) Props {
	merged := Props{}
	for name, value := range defaults {
		merged[name] = value
	}
	for name, value := range props {
		merged[name] = value
	}
	return merged
}

func checkDevices(devices []string) error {
	if len(devices) == 0 {
		return fmt.Errorf("no device: %w", ErrInvalidValue)
	}
	for _, device := range devices {
		if err := checkPath(device); err != nil {
			return err
		}
	}
	return nil
}

// checkPath refuses what zpool(8) would look up in its own directories.
func checkPath(path string) error {
	if !filepath.IsAbs(path) || strings.ContainsAny(path, "\x00\n\t") {
		return fmt.Errorf("device %q: %w: it must be an absolute path", path, ErrInvalidValue)
	}
	return nil
}

// Export exports a pool without force. ErrBusy while anything of it is mounted
// with files open, in any mount namespace.
func (c *Client) Export(ctx context.Context, p PoolName) error {
	if err := check(nil, p.Root()); err != nil {
		return err
	}
	return c.mutateZpool(ctx, operation{BeforeExport, AfterExport}, "export", p.String())
}

// DestroyPool destroys a pool and all in it. For tests and for undoing a
// creation; never called on a pool with data.
func (c *Client) DestroyPool(ctx context.Context, p PoolName) error {
	if err := check(nil, p.Root()); err != nil {
		return err
	}
	return c.mutateZpool(ctx, operation{BeforeDestroyPool, AfterDestroyPool}, "destroy", p.String())
}

// poolColumns are what Pools reads, in this order.
const poolColumns = "name,guid,size,allocated,free,fragmentation,capacity,health,freeing,leaked,dedupratio,readonly,multihost"

// Pools lists imported pools, in one process.
func (c *Client) Pools(ctx context.Context) ([]Pool, error) {
	out, err := c.zpool(ctx, "list", "-H", "-p", "-o", poolColumns)
	if err != nil {
		return nil, err
	}
	return parsePools(string(out))
}

// Pool reads one. ErrNoSuchPool.
func (c *Client) Pool(ctx context.Context, p PoolName) (Pool, error) {
	if err := check(nil, p.Root()); err != nil {
		return Pool{}, err
	}
	out, err := c.zpool(ctx, "list", "-H", "-p", "-o", poolColumns, p.String())
	if err != nil {
		return Pool{}, err
	}
	pools, err := parsePools(string(out))
	if err == nil && len(pools) != 1 {
		err = fmt.Errorf("%d lines on pool %s: %w", len(pools), p, ErrUnexpectedOutput)
	}
	if err != nil {
		return Pool{}, err
	}
	return pools[0], nil
}

func parsePools(out string) ([]Pool, error) {
	var pools []Pool
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if line == "no pools available" {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != strings.Count(poolColumns, ",")+1 {
			return nil, fmt.Errorf("line %q of zpool list: %w", shorten(line), ErrUnexpectedOutput)
		}
		p := Pool{Zpool: gozfs.Zpool{Name: fields[0], Health: fields[7], ReadOnly: fields[11] == "on"}, Multihost: fields[12] == "on"}
		var guid uint64
		for i, number := range map[int]*uint64{
			1: &guid, 2: &p.Size, 3: &p.Allocated, 4: &p.Free,
			5: &p.Fragmentation, 6: &p.Capacity, 8: &p.Freeing, 9: &p.Leaked,
		} {
			if fields[i] == "-" {
				continue // a pool that cannot be opened
			}
			var err error
			if *number, err = strconv.ParseUint(strings.TrimSuffix(fields[i], "%"), 10, 64); err != nil {
				return nil, fmt.Errorf("line %q of zpool list: %w", shorten(line), ErrUnexpectedOutput)
			}
		}
		p.GUID = GUID(guid)
		if ratio, err := strconv.ParseFloat(strings.TrimSuffix(fields[10], "x"), 64); err == nil {
			p.DedupRatio = ratio
		}
		pools = append(pools, p)
	}
	return pools, nil
}

// Sync waits until a txg of the pool is on stable storage. On a suspended pool
// it ends with the context: health is that this call returns nil.
func (c *Client) Sync(ctx context.Context, p PoolName) error {
	if err := check(nil, p.Root()); err != nil {
		return err
	}
	_, err := c.zpool(ctx, "sync", p.String())
	return err
}

// PropMultihost is the pool property, "on" or "off", that has ZFS keep two machines
// from importing a pool at once. It needs a hostid that is not 0.
const PropMultihost Property = "multihost"

// SetMultihost sets it on an imported pool.
func (c *Client) SetMultihost(ctx context.Context, p PoolName) error {
	if err := check(nil, p.Root()); err != nil {
		return err
	}
	return c.mutateZpool(ctx, operation{BeforeSetPool, AfterSetPool}, "set", string(PropMultihost)+"=on", p.String())
}

// ExpandDevice makes the pool use a device that has grown.
func (c *Client) ExpandDevice(ctx context.Context, p PoolName, device string) error {
	if err := check(nil, p.Root()); err != nil {
		return err
	}
	if err := checkPath(device); err != nil {
		return err
	}
	return c.mutateZpool(ctx, operation{BeforeExpandDevice, AfterExpandDevice}, "online", "-e", p.String(), device)
}
