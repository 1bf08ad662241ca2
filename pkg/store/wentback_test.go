package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// TestRegistryThatWentBack restores etcd from a backup that has the lease in it,
// under a store that stays open.
func TestRegistryThatWentBack(t *testing.T) {
	t.Parallel()
	endpoint, stop, start := ownEtcd(t)
	s, ctx := openAt(t, Config{Endpoints: []string{endpoint}}), within(t, time.Minute)
	l := acquire(t, s, Instance{"server-1", "boot-1"})
	known := dot.ID{}
	put := func(n int) {
		for range n {
			known = dot.NewID()
			commit(t, s.Txn().Held(l).PutDot(dot.Dot{ID: known, FullName: fullName(t, "a", "b"), State: dot.Ready}))
		}
	}
	put(1)
	if l.Breaks() != 0 {
		t.Errorf("the connection was lost %d times", l.Breaks())
	}
	data := filepath.Join(filepath.Dir(strings.TrimPrefix(endpoint, "unix://")), "data")
	backup := filepath.Join(t.TempDir(), "backup")
	stop()
	if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	start()
	put(5)
	eventually(t, testTTL, "it is known that the connection was lost", func() bool { return l.Breaks() == 1 })
	stop()
	if err := errors.Join(os.RemoveAll(data), os.CopyFS(data, os.DirFS(backup)), os.Chmod(data, 0o700)); err != nil {
		t.Fatal(err)
	}
	start()
	_, err := s.GetDot(ctx, known)
	if !errors.Is(err, ErrWentBack) || dot.CodeOf(err) != dot.CodeUnavailable {
		t.Fatalf("got %v, want ErrWentBack of CodeUnavailable", err)
	}
	eventually(t, 2*testTTL, "the lease is lost", func() bool { return isDone(l) })
	l = acquire(t, s, Instance{"server-1", "boot-1"})
	_, err = s.GetDot(ctx, known)
	wantCode(t, err, dot.CodeNotFound)
	put(1)
}
