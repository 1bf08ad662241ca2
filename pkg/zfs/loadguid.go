package zfs

import (
	"context"
	"fmt"
	"strings"
)

// LoadGUID is made anew each time that a pool is imported and stays until it is
// exported (load_guid of zpoolprops(7)): it tells one import from another. One
// process.
func (c *Client) LoadGUID(ctx context.Context, p PoolName) (GUID, error) {
	if err := check(nil, p.Root()); err != nil {
		return 0, err
	}
	out, err := c.zpool(ctx, "get", "-H", "-p", "-o", "value", "load_guid", p.String())
	if err != nil {
		return 0, err
	}
	guid, err := ParseGUID(strings.TrimSpace(string(out)))
	if err != nil {
		return 0, fmt.Errorf("load_guid of pool %s: %w: %w", p, ErrUnexpectedOutput, err)
	}
	return guid, nil
}
