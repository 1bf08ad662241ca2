package server

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

const (
	firstRetry = time.Second
	lastRetry  = time.Minute
	jobTimeout = 10 * time.Minute
)

// job is work that may take long or may have to wait: it is tried until it
// succeeds. Jobs of one key are one job, which does what was asked for last.
type job struct {
	key string
	run func(context.Context) error
}

// worker runs jobs one after another. It sleeps when it has none; one that fails
// is tried again after a delay that grows, and at once when somebody asks for it
// again.
type worker struct {
	mu   sync.Mutex
	jobs map[string]*waiting
	wake chan struct{}
}

type waiting struct {
	job
	due   time.Time
	delay time.Duration
	again bool // asked for while it ran
}

func newWorker() *worker {
	return &worker{jobs: map[string]*waiting{}, wake: make(chan struct{}, 1)}
}

// soon asks for a job.
func (w *worker) soon(j job) {
	w.mu.Lock()
	if old, ok := w.jobs[j.key]; ok {
		old.run, old.due, old.delay, old.again = j.run, time.Time{}, 0, true // do reads the key meanwhile
	} else {
		w.jobs[j.key] = &waiting{job: j}
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// length is how many jobs are not done.
func (w *worker) length() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.jobs)
}

// run works until ctx ends.
func (w *worker) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, wait := w.pick(time.Now())
		if next != nil {
			w.do(ctx, next)
			if ctx.Err() != nil {
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// pick gives the job that is due for longest or, with none due, how long the next
// one is to be waited for.
func (w *worker) pick(now time.Time) (*waiting, time.Duration) {
	const forever = 24 * time.Hour
	w.mu.Lock()
	defer w.mu.Unlock()
	var first *waiting
	for _, j := range w.jobs {
		if first == nil || j.due.Before(first.due) {
			first = j
		}
	}
	switch {
	case first == nil:
		return nil, forever
	case first.due.After(now):
		return nil, first.due.Sub(now)
	}
	first.again = false
	return first, 0
}

func (w *worker) do(ctx context.Context, j *waiting) {
	logger := klog.FromContext(ctx).WithValues("job", j.key)
	bounded, cancel := context.WithTimeout(ctx, jobTimeout)
	w.mu.Lock()
	run := j.run
	w.mu.Unlock()
	err := run(klog.NewContext(bounded, logger))
	cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case j.again:
		j.due = time.Time{}
	case err == nil:
		delete(w.jobs, j.key)
	default:
		j.delay = min(max(2*j.delay, firstRetry), lastRetry)
		j.due = time.Now().Add(j.delay/2 + rand.N(j.delay/2))
		if ctx.Err() == nil {
			logger.Info("not done yet, trying again", "in", j.delay, "because", err)
		}
	}
}
