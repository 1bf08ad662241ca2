package members

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestSnapshots(t *testing.T) {
	a := newAuthority(t)
	one := a.member("one")
	one.start(t)
	eventually(t, open(t, Config{Endpoints: []string{one.client.String()}, TLS: a.client(a.ca)}), "etcd", healthy(1))
	s := Snapshots{Endpoint: one.client.String(), TLS: func() (*tls.Config, error) { return a.client(a.ca), nil }, Dir: t.TempDir(), Keep: 2}
	if err := os.WriteFile(filepath.Join(s.Dir, "a-note"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := s.take(within(t, 20*time.Second), time.Date(2026, 1, 1, 12, 10*i, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"a-note", "etcd-20260101T121000Z.db", "etcd-20260101T122000Z.db"}
	if got := list(t, s.Dir); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	db, err := bbolt.Open(filepath.Join(s.Dir, want[2]), 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatalf("the snapshot is no database: %v", err)
	}
	db.Close()

	// The clock was ahead until now.
	for _, minute := range []int{0, 10} {
		if err := s.take(within(t, 20*time.Second), time.Date(2026, 1, 1, 11, minute, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
	}
	want = []string{"a-note", "etcd-20260101T110000Z.db", "etcd-20260101T111000Z.db"}
	if got := list(t, s.Dir); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}

	// What fails takes nothing away and leaves nothing half made.
	one.stop()
	if err := s.take(within(t, 2*time.Second), time.Date(2026, 1, 1, 12, 30, 0, 0, time.UTC)); err == nil {
		t.Error("a snapshot of nothing was taken")
	}
	s.TLS = func() (*tls.Config, error) { return nil, errors.New("no certificate") }
	if err := s.take(within(t, 2*time.Second), time.Now()); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("got %v", err)
	}
	if got := list(t, s.Dir); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSnapshotsRun(t *testing.T) {
	a := newAuthority(t)
	one := a.member("one")
	one.start(t)
	s := Snapshots{Endpoint: one.client.String(), TLS: func() (*tls.Config, error) { return a.client(a.ca), nil },
		Dir: filepath.Join(t.TempDir(), "new"), Every: 100 * time.Millisecond, Keep: 6}
	for _, bad := range []Snapshots{{Every: time.Second}, {Keep: 1}} {
		if err := bad.Run(t.Context()); dot.CodeOf(err) != dot.CodeInvalid {
			t.Errorf("%+v: got %v", bad, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for len(list(t, s.Dir)) == 0 && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Error("no snapshot was taken")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func list(t *testing.T, dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
