package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

// taker is a zfs whose command takes as long as the test wants.
type taker struct {
	started chan int // how many snapshots a command has
	finish  chan error
}

func newTaker() *taker { return &taker{started: make(chan int, 100), finish: make(chan error)} }

func (k *taker) take(ctx context.Context, specs []zfs.SnapshotSpec) ([]zfs.SnapshotResult, error) {
	k.started <- len(specs)
	if err := <-k.finish; err != nil {
		return nil, err
	}
	results := make([]zfs.SnapshotResult, len(specs))
	for i, s := range specs {
		results[i] = zfs.SnapshotResult{Snapshot: s.Snapshot, GUID: zfs.GUID(i + 1)}
	}
	return results, ctx.Err()
}

func spec(n int) zfs.SnapshotSpec {
	d := must(zfs.ParseDataset(fmt.Sprintf("pool/a%d", n)))
	return zfs.SnapshotSpec{Snapshot: must(d.Snapshot("c"))}
}

// waitFor waits until n callers wait in the queue.
func (g *gatherer) waitFor(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		g.mu.Lock()
		got := len(g.waiting)
		g.mu.Unlock()
		if got == n {
			return
		}
	}
	t.Fatalf("never %d waiting", n)
}

func TestGatherTakesWaitersTogether(t *testing.T) {
	k := newTaker()
	g := &gatherer{take: k.take}
	var all sync.WaitGroup
	ask := func(n int) {
		all.Go(func() {
			if _, err := g.snapshot(t.Context(), spec(n)); err != nil {
				t.Errorf("%d: %v", n, err)
			}
		})
	}
	ask(0)
	if got := <-k.started; got != 1 {
		t.Fatalf("first command: got %d snapshots, want 1", got)
	}
	for n := 1; n < 50; n++ {
		ask(n)
	}
	ask(1) // of the same filesystem: never twice in one command
	g.waitFor(t, 50)
	k.finish <- nil
	if got := <-k.started; got != 49 {
		t.Errorf("second command: got %d snapshots, want 49", got)
	}
	k.finish <- nil
	if got := <-k.started; got != 1 {
		t.Errorf("third command: got %d snapshots, want 1", got)
	}
	k.finish <- nil
	all.Wait()
	for range 1000 {
		if g.mu.Lock(); !g.running {
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	t.Error("still running")
}

func TestGatherFailureReachesAll(t *testing.T) {
	k := newTaker()
	g := &gatherer{take: k.take}
	broken := errors.New("broken")
	done := make(chan error)
	go func() { _, err := g.snapshot(t.Context(), spec(1)); done <- err }()
	<-k.started
	k.finish <- broken
	if err := <-done; !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	go func() { _, err := g.snapshot(t.Context(), spec(2)); done <- err }()
	<-k.started
	k.finish <- nil
	if err := <-done; err != nil {
		t.Errorf("after a failure: %v", err)
	}
}

func TestGatherCallerGivesUp(t *testing.T) {
	k := newTaker()
	g := &gatherer{take: k.take}
	done := make(chan error)
	running, stopRunning := context.WithCancel(t.Context())
	go func() { _, err := g.snapshot(running, spec(1)); done <- err }()
	<-k.started
	waiting, stopWaiting := context.WithCancel(t.Context())
	go func() { _, err := g.snapshot(waiting, spec(2)); done <- err }()
	go func() { _, err := g.snapshot(t.Context(), spec(3)); done <- err }()
	g.waitFor(t, 2)
	for _, stop := range []func(){stopRunning, stopWaiting} {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
	}
	k.finish <- nil // the first command is not cut short by its caller's end
	if got := <-k.started; got != 1 {
		t.Errorf("got %d snapshots, want the one whose caller still waits", got)
	}
	k.finish <- nil
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestGatherBoundsACommand(t *testing.T) {
	k := newTaker()
	g := &gatherer{take: k.take, running: true}
	large := strings.Repeat("x", 8000)
	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() {
			s := spec(n)
			s.Props = zfs.Props{propMessage: large, propMetadata: large}
			if _, err := g.snapshot(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	g.waitFor(t, 100)
	go g.run()
	total := 0
	for total < 100 {
		got := <-k.started
		if got*2*len(large) > zfs.MaxSnapshotBytes {
			t.Errorf("a command of %d bytes", got*2*len(large))
		}
		total += got
		k.finish <- nil
	}
	all.Wait()
}
