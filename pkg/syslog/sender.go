package syslog

import (
	"context"
	"time"

	"k8s.io/klog/v2"
)

// sender takes entries from a Sink's queue to the log server. It belongs to one
// goroutine.
type sender struct {
	sink *Sink
	to   Address
	link *link // nil while there is no connection

	waiting    *entry // was taken from the queue and is not sent
	failures   int    // since the last success
	again      time.Time
	complained time.Time
	refused    string // the problem of the address that is there, said once
}

func (s *sender) run(ctx context.Context) {
	defer func() { s.hangUp() }()
	reread := time.NewTicker(s.sink.timing.reread)
	defer reread.Stop()
	for {
		var queue <-chan entry
		var retry <-chan time.Time
		if s.waiting == nil {
			queue = s.sink.queue
		} else {
			retry = time.After(time.Until(s.again))
		}
		select {
		case <-ctx.Done():
			s.flush(ctx)
			return
		case <-reread.C:
			s.follow()
			continue
		case <-s.link.gone():
			s.hangUp()
			continue
		case e := <-queue:
			s.waiting = &e
		case <-retry:
		}
		if s.to.IsZero() {
			s.waiting = nil
			continue
		}
		s.deliver(ctx)
		s.tellLost()
	}
}

// follow takes the address that the settings have now. A bad one changes nothing.
func (s *sender) follow() {
	address, err := s.sink.address()
	if err != nil {
		if s.refused != err.Error() {
			s.refused = err.Error()
			klog.Background().Error(err, "the address of the log server is not used, the last one holds", "now", s.to.String())
		}
		return
	}
	s.refused = ""
	if address == s.to {
		return
	}
	was := s.to
	s.hangUp()
	s.to, s.failures, s.again, s.complained = address, 0, time.Time{}, time.Time{}
	s.sink.wanted.Store(!address.IsZero())
	klog.Background().Info("the log server is another one", "was", was.String(), "is", address.String())
}

// deliver tries once to send what waits.
func (s *sender) deliver(ctx context.Context) {
	if time.Now().Before(s.again) {
		return
	}
	if err := s.send(ctx, *s.waiting); err != nil {
		if s.hangUp(); ctx.Err() == nil {
			s.fail(err)
		}
		return
	}
	s.waiting, s.failures, s.again = nil, 0, time.Time{}
}

func (s *sender) send(ctx context.Context, e entry) error {
	if s.link.old(s.sink.timing.resolve) {
		s.hangUp()
	}
	if s.link == nil {
		l, err := dial(ctx, s.to, s.sink.timing.connect)
		if err != nil {
			return err
		}
		s.link = l
	}
	return s.link.send(ctx, s.sink.origin, e, s.sink.timing)
}

func (s *sender) fail(err error) {
	t := s.sink.timing
	s.again = time.Now().Add(min(t.retry<<min(s.failures, 16), t.retries))
	s.failures++
	if s.complained.IsZero() || time.Since(s.complained) > t.quiet {
		s.complained = time.Now()
		klog.Background().Error(err, "the log server does not take what is logged; trying again", "address", s.to.String())
	}
}

// tellLost says how much was lost, when what tells it will not be lost too.
func (s *sender) tellLost() {
	if s.waiting != nil || len(s.sink.queue) > queueLength/2 || s.sink.lost.Load() == 0 {
		return
	}
	klog.Background().Error(nil, "the log server did not take all that was logged", "lost", s.sink.lost.Swap(0), "address", s.to.String())
}

// flush sends what waits, unless the log server did not take the last.
func (s *sender) flush(ended context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ended), s.sink.timing.flush)
	defer cancel()
	for s.failures == 0 && ctx.Err() == nil && !s.to.IsZero() {
		if s.waiting == nil {
			select {
			case e := <-s.sink.queue:
				s.waiting = &e
			default:
				return
			}
		}
		s.deliver(ctx)
	}
}

func (s *sender) hangUp() {
	s.link.close()
	s.link = nil
}
