//go:build crash

package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

// crashHook kills the process, as SIGKILL does, at the point that
// DOTMESH_CRASH_AT names: "<point>", or "<point>#<n>" for the n-th time that it
// is passed. For tests; nil without the variable.
func crashHook() crash.Hook {
	at, nth, _ := strings.Cut(os.Getenv("DOTMESH_CRASH_AT"), "#")
	if at == "" {
		return nil
	}
	left := &atomic.Int64{}
	left.Store(1)
	if n, err := strconv.Atoi(nth); err == nil {
		left.Store(int64(n))
	}
	return func(_ context.Context, p crash.Point) {
		if string(p) == at && left.Add(-1) == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal may take a moment; nothing may happen in it
		}
	}
}
