package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// slotDir is the same for every user of the lab on this host, whatever LAB_RUN says.
const slotDir = "/run/lock/dotmesh-lab"

// acquireSlots takes n of the host's machine slots, waiting until all n are free
// at the same moment (so that two clusters never hold half of what each needs).
// Each file is an flock that lasts as long as any process has it open: one process
// of the site inherits it, so the slot is free when the site is gone, however it went.
func (e Env) acquireSlots(ctx context.Context, n int) ([]*os.File, error) {
	if n > e.Slots {
		return nil, fmt.Errorf("%d machines asked for, but at most %d may run on this host; raise LAB_SLOTS if it has the memory", n, e.Slots)
	}
	if err := os.MkdirAll(slotDir, 0o755); err != nil {
		return nil, err
	}
	for waited := 0; ; waited++ {
		got, err := e.trySlots(n)
		if err != nil || len(got) == n {
			return got, err
		}
		if waited%60 == 0 {
			e.printf("all %d machine slots are in use, waiting for %d to be free (LAB_SLOTS)", e.Slots, n)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for a machine slot: %w", context.Cause(ctx))
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// trySlots returns n held slots, or none.
func (e Env) trySlots(n int) (got []*os.File, err error) {
	gate, err := lockFile(filepath.Join(slotDir, "gate"), unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	for i := 0; i < e.Slots && len(got) < n; i++ {
		f, err := lockFile(filepath.Join(slotDir, strconv.Itoa(i)), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			got = append(got, f)
		}
	}
	if len(got) < n {
		closeAll(got)
		return nil, nil
	}
	return got, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// lockFile opens (making it if needed) and flocks a file; closing it unlocks it.
func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}
