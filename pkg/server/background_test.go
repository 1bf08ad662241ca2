package server

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWorkerTriesUntilItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.run(ctx)
		var ran atomic.Int64
		w.soon(job{key: "a", run: func(context.Context) error {
			if ran.Add(1) < 4 {
				return errors.New("busy")
			}
			return nil
		}})
		synctest.Wait()
		if ran.Load() != 1 || w.length() != 1 {
			t.Errorf("ran %d times, %d jobs left", ran.Load(), w.length())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if ran.Load() != 4 || w.length() != 0 {
			t.Errorf("ran %d times, %d jobs left", ran.Load(), w.length())
		}
		time.Sleep(time.Hour)
		if ran.Load() != 4 {
			t.Error("a done job ran again")
		}
	})
}

func TestWorkerRunsAtOnceWhatIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.run(ctx)
		ran := 0
		var j job
		j = job{key: "a", run: func(context.Context) error {
			if ran++; ran == 2 {
				w.soon(j) // asked for while it runs: once more
				return nil
			}
			if ran == 1 {
				return errors.New("busy")
			}
			return nil
		}}
		w.soon(j)
		synctest.Wait()
		w.soon(j)
		synctest.Wait()
		if ran != 3 || w.length() != 0 {
			t.Errorf("ran %d times, %d jobs left", ran, w.length())
		}
	})
}

func TestWorkerDoesWhatWasAskedForLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.run(ctx)
		last := ""
		asked := func(what string, err error) job {
			return job{key: "a", run: func(context.Context) error { last = what; return err }}
		}
		w.soon(asked("record it", errors.New("etcd is away")))
		synctest.Wait()
		w.soon(asked("undo it", nil))
		synctest.Wait()
		if last != "undo it" || w.length() != 0 {
			t.Errorf("did %q, %d jobs left", last, w.length())
		}
	})
}

// TestWorkerIsAskedWhileItRuns is for the race detector.
func TestWorkerIsAskedWhileItRuns(t *testing.T) {
	w := newWorker()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go w.run(ctx)
	for i := range 100_000 {
		w.soon(job{key: strconv.Itoa(i % 3), run: func(context.Context) error { return nil }})
	}
}
