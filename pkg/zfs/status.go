package zfs

import (
	"context"
	"fmt"
	"strings"
)

// PoolStatus is what zpool-status(8) says.
type PoolStatus struct {
	State   string   // HealthOnline …
	Status  string   // "" when all is well
	Errors  string   // "No known data errors" when all is well
	Devices []Device // leaves, in order
}

// Device is one leaf vdev.
type Device struct{ Path, State string }

// Status reads a pool's state and its devices'. One process. It
// may hang, until the context ends, on a pool whose devices hang.
func (c *Client) Status(ctx context.Context, p PoolName) (PoolStatus, error) {
	if err := check(nil, p.Root()); err != nil {
		return PoolStatus{}, err
	}
	out, err := c.zpool(ctx, "status", "-P", "-p", p.String())
	if err != nil {
		return PoolStatus{}, err
	}
	return parseStatus(string(out))
}

func parseStatus(out string) (PoolStatus, error) {
	var status PoolStatus
	err := eachField(out, func(key, value string) error {
		switch key {
		case "state":
			status.State = value
		case "status":
			status.Status = value
		case "errors":
			status.Errors = value
		case "config":
			status.Devices = parseDevices(value)
		}
		return nil
	})
	if err == nil && status.State == "" {
		err = fmt.Errorf("zpool status has no state: %w", ErrUnexpectedOutput)
	}
	return status, err
}

// parseDevices reads the table; leaves are the lines whose name is a path. Error
// counts follow, and perhaps a remark.
func parseDevices(table string) []Device {
	var devices []Device
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[0], "/") {
			continue
		}
		devices = append(devices, Device{Path: fields[0], State: fields[1]})
	}
	return devices
}
