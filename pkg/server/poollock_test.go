package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestPoolLockKeepsOthersAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "7")
	first, err := lockPool(t.Context(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockPool(t.Context(), dir, 50*time.Millisecond)
	if dot.CodeOf(err) != dot.CodeUnavailable || !strings.Contains(err.Error(), fmt.Sprintf("pid %d)", os.Getpid())) {
		t.Errorf("got %v, want CodeUnavailable that names the holder", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lockPool(ctx, dir, time.Minute); err == nil || ctx.Err() == nil {
		t.Error("waited after the context had ended")
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = first.Close() })
	second, err := lockPool(t.Context(), dir, time.Minute)
	if err != nil {
		t.Fatalf("after the first had ended: %v", err)
	}
	_ = second.Close()
}
