package clouddisk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab/qmp"
)

// ejectAgain is how long a machine has to let a device go before it is asked
// again: one that boots does not hear the first time.
const ejectAgain = 5 * time.Second

// device is a disk as QEMU has it: a block node (-blockdev) and the virtio-blk
// device of the same id in front of it.
type device struct{ id, file string }

func (d *Disks) device(disk Disk) device { return device{id: disk.ID, file: d.File(disk.ID)} }

func (v device) arguments() []string {
	return []string{
		"-blockdev", "driver=raw,node-name=" + v.node() + ",file.driver=file,file.filename=" + v.file,
		"-device", "virtio-blk-pci,id=" + v.id + ",drive=" + v.node() + ",serial=" + v.id,
	}
}

// node is the block node's name.
func (v device) node() string { return "node-" + v.id }

// plugged says what of a device a machine has.
func (v device) plugged(ctx context.Context, q *qmp.Monitor) (device, node bool, err error) {
	var nodes []struct {
		Name string `json:"node-name"`
	}
	if err := q.Do(ctx, "query-named-block-nodes", map[string]any{"flat": true}, &nodes); err != nil {
		return false, false, err
	}
	for _, n := range nodes {
		node = node || n.Name == v.node()
	}
	var devices []struct {
		Name string `json:"name"`
	}
	if err := q.Do(ctx, "qom-list", map[string]any{"path": "/machine/peripheral"}, &devices); err != nil {
		return false, false, err
	}
	for _, p := range devices {
		device = device || p.Name == v.id
	}
	return device, node, nil
}

// plug puts the device into a running machine. The guest sees it a moment later.
func plug(ctx context.Context, m Machine, v device) error {
	q, err := qmp.Dial(ctx, m.Monitor())
	if err != nil {
		return err
	}
	defer q.Close()
	device, node, err := v.plugged(ctx, q)
	if err != nil || device {
		return err
	}
	if !node {
		err := q.Do(ctx, "blockdev-add", map[string]any{
			"driver": "raw", "node-name": v.node(), "file": map[string]any{"driver": "file", "filename": v.file},
		}, nil)
		if err != nil {
			return err
		}
	}
	return q.Do(ctx, "device_add", map[string]any{"driver": "virtio-blk-pci", "id": v.id, "drive": v.node(), "serial": v.id}, nil)
}

// unplug returns when the machine does not have the device any more, and QEMU not
// the file.
func unplug(ctx context.Context, m Machine, v device) error {
	q, err := qmp.Dial(ctx, m.Monitor())
	if err != nil {
		return err
	}
	defer q.Close()
	for {
		device, node, err := v.plugged(ctx, q)
		switch {
		case err != nil:
			return err
		case device:
			if err := eject(ctx, q, v); err != nil {
				return err
			}
		case node:
			return q.Do(ctx, "blockdev-del", map[string]any{"node-name": v.node()}, nil)
		default:
			return nil
		}
	}
}

// eject asks the guest to let a device go, and waits for a while.
func eject(ctx context.Context, q *qmp.Monitor, v device) error {
	err := q.Do(ctx, "device_del", map[string]any{"id": v.id}, nil)
	var refused *qmp.Error
	if err != nil && !errors.As(err, &refused) { // refused: asked already, or gone by now
		return err
	}
	for end := time.Now().Add(ejectAgain); time.Now().Before(end); {
		device, _, err := v.plugged(ctx, q)
		if err != nil || !device {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the guest does not let %s go: %w", v.id, context.Cause(ctx))
		}
	}
	return nil
}

func resize(ctx context.Context, m Machine, v device, size int64) error {
	q, err := qmp.Dial(ctx, m.Monitor())
	if err != nil {
		return err
	}
	defer q.Close()
	return q.Do(ctx, "block_resize", map[string]any{"node-name": v.node(), "size": size}, nil)
}
