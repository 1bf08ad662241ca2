package pool

import (
	"context"
	"fmt"
	"os"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// end is how much of a device is looked at, at its beginning and its end, before it is
// called empty. It spans ZFS's four labels (two at each end, on multiples of 256 KiB),
// both partition tables, and the signatures of file systems, LUKS, LVM and RAID.
const end = 1 << 20

// openDevice opens the device, and marks it where it is empty.
func (c Config) openDevice(ctx context.Context, imported bool) (*os.File, error) {
	file, err := os.OpenFile(c.Device, os.O_RDWR, 0)
	if err != nil {
		return nil, dot.Errorf(dot.CodePrecondition, "opening the pool's device: %w", err)
	}
	if err := c.markEmpty(ctx, file, imported); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// markEmpty leaves all but an empty device as it is, for vet to judge.
func (c Config) markEmpty(ctx context.Context, file *os.File, imported bool) error {
	size, err := c.wanted(file)
	if err != nil {
		return err
	}
	empty, err := isEmpty(file, size)
	switch {
	case err != nil:
		return fmt.Errorf("looking at %s: %w", c.Device, err)
	case !empty:
		return nil
	case imported:
		return c.notOurs()
	}
	c.Hook.Pass(ctx, BeforeAllocate)
	if err := (marker{Pool: c.Name.String(), Size: size}).write(file); err != nil {
		return err
	}
	c.Hook.Pass(ctx, AfterAllocate)
	return nil
}

// isEmpty tells whether nothing but zeros is at both ends of a device.
func isEmpty(file *os.File, size int64) (bool, error) {
	page := make([]byte, end)
	for _, at := range []int64{0, size - end} {
		if _, err := file.ReadAt(page, at); err != nil {
			return false, err
		}
		for _, b := range page {
			if b != 0 {
				return false, nil
			}
		}
	}
	return true, nil
}
