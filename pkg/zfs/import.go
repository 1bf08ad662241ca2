package zfs

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ImportSpec says which pool to import from which devices.
type ImportSpec struct {
	// Devices are paths of devices or directories to search; nothing else is.
	Devices []string
	// GUID or Name names the pool; GUID wins.
	GUID GUID
	Name PoolName
	// Props are pool properties for this import; cachefile=none always.
	Props Props
	// Force imports a pool that another system used last (-f). It destroys a
	// pool that is in use elsewhere: the caller must know that it is not.
	Force bool
}

// Import imports a pool without mounting anything (-N). ErrPoolForeign,
// ErrNoSuchPool, ErrExists, ErrPoolDamaged. The intent logs are not replayed
// yet: that happens when a filesystem is mounted.
func (c *Client) Import(ctx context.Context, spec ImportSpec) error {
	args, err := importArgs(spec)
	if err != nil {
		return err
	}
	return c.mutateZpool(ctx, operation{BeforeImport, AfterImport}, args...)
}

func importArgs(spec ImportSpec) ([]string, error) {
	if err := checkDevices(spec.Devices); err != nil {
		return nil, err
	}
	if err := spec.Props.Check(); err != nil {
		return nil, err
	}
	pool := spec.Name.String()
	if spec.GUID != 0 {
		pool = spec.GUID.String()
	}
	if pool == "" {
		return nil, fmt.Errorf("import of no pool: %w", ErrInvalidName)
	}
	args := []string{"import", "-N"}
	if spec.Force {
		args = append(args, "-f")
	}
	args = append(args, withDefaults(spec.Props, Props{"cachefile": "none"}).args("-o")...)
	for _, device := range spec.Devices {
		args = append(args, "-d", device)
	}
	return append(args, pool), nil
}

// Importable is a pool that could be imported. Destroyed pools are not listed.
type Importable struct {
	// Name is as it is on disk, perhaps made by other software: not a PoolName.
	Name   string
	GUID   GUID
	State  string // ONLINE, DEGRADED, UNAVAIL …
	Status string // one line or "", e.g. that another system used it last
	Action string
	// Foreign: the pool was last used by another system.
	Foreign bool
}

// ListImportable searches these devices or directories, and nothing else.
func (c *Client) ListImportable(ctx context.Context, devices ...string) ([]Importable, error) {
	if err := checkDevices(devices); err != nil {
		return nil, err
	}
	args := []string{"import"}
	for _, device := range devices {
		args = append(args, "-d", device)
	}
	out, err := c.zpool(ctx, args...)
	if errors.Is(err, ErrNoSuchPool) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseImportable(string(out))
}

// parseImportable reads the blocks of `zpool import`, which begin with "pool:".
func parseImportable(out string) ([]Importable, error) {
	var pools []Importable
	var destroyed bool
	err := eachField(out, func(key, value string) error {
		if key == "pool" {
			pools = append(pools, Importable{Name: value})
			return nil
		}
		if len(pools) == 0 {
			return fmt.Errorf("zpool import begins with %q: %w", key, ErrUnexpectedOutput)
		}
		p := &pools[len(pools)-1]
		switch key {
		case "id":
			guid, err := ParseGUID(value)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrUnexpectedOutput, err)
			}
			p.GUID = guid
		case "state":
			p.State, _, destroyed = strings.Cut(value, " (DESTROYED)")
			if destroyed {
				pools = pools[:len(pools)-1]
			}
		case "status":
			p.Status = value
			_, kind := classify(value)
			p.Foreign = errors.Is(kind, ErrPoolForeign)
		case "action":
			p.Action = value
		}
		return nil
	})
	return pools, err
}

// eachField parses "  key: value" with continuation lines that begin with a
// tab, as zpool-import(8) and zpool-status(8) print them. What follows
// "config:" and is indented by a tab is one value with its newlines.
func eachField(out string, yield func(key, value string) error) error {
	var key string
	var value []string
	flush := func() error {
		if key == "" {
			return nil
		}
		separator := " "
		if key == "config" {
			separator = "\n"
		}
		return yield(key, strings.Trim(strings.Join(value, separator), separator))
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if continued, ok := strings.CutPrefix(line, "\t"); ok {
			if key == "config" {
				value = append(value, continued)
			} else {
				value = append(value, strings.TrimSpace(continued))
			}
			continue
		}
		name, rest, ok := strings.Cut(strings.TrimLeft(line, " "), ":")
		if !ok || strings.ContainsAny(name, " \t") {
			continue // free text between the blocks
		}
		if err := flush(); err != nil {
			return err
		}
		key, value = name, []string{strings.TrimSpace(rest)}
	}
	return flush()
}
