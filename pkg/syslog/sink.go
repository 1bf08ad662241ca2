package syslog

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/mounted"
)

// AddressFile is the file of the settings that names the log server.
const AddressFile = "logAddress"

// queueLength is some seconds of a server that logs every call.
const queueLength = 1024

// timing is how long things may take.
type timing struct {
	reread  time.Duration // between two looks at the address
	connect time.Duration
	write   time.Duration
	retry   time.Duration // after a first failure; doubled with each
	retries time.Duration // at most
	resolve time.Duration // how long a UDP address is not looked up again
	quiet   time.Duration // between two complaints
	flush   time.Duration // at the end
}

// Sink is an io.Writer for klog's text.
type Sink struct {
	origin Origin
	dir    string // of the settings
	timing timing

	// wanted: there is a log server, so that entries are to be kept.
	wanted   atomic.Bool
	queue    chan entry
	sequence atomic.Uint32
	lost     atomic.Int64
	sent     chan struct{} // closed when sending has ended
	stop     context.CancelFunc
}

// Start sends what is written to the log server that settingsDir names, until
// Close.
func Start(origin Origin, settingsDir string) *Sink {
	return start(origin, settingsDir, timing{
		reread: 5 * time.Second, connect: 5 * time.Second, write: 5 * time.Second,
		retry: time.Second, retries: 30 * time.Second, resolve: 5 * time.Minute,
		quiet: time.Minute, flush: time.Second / 2,
	})
}

func start(origin Origin, settingsDir string, t timing) *Sink {
	ctx, stop := context.WithCancel(context.Background())
	s := &Sink{
		origin: origin, dir: settingsDir, timing: t,
		queue: make(chan entry, queueLength), sent: make(chan struct{}), stop: stop,
	}
	address, err := s.address()
	s.wanted.Store(!address.IsZero())
	go func() {
		defer close(s.sent)
		if err != nil {
			klog.Background().Error(err, "the address of the log server is not used")
		}
		(&sender{sink: s, to: address}).run(ctx)
	}()
	return s
}

// Write takes one entry. It never waits and never fails.
func (s *Sink) Write(text []byte) (int, error) {
	if !s.wanted.Load() {
		return len(text), nil
	}
	e := parseEntry(text)
	e.at, e.sequence = time.Now(), s.sequence.Add(1)-1
	select {
	case s.queue <- e:
	default:
		s.lost.Add(1)
	}
	return len(text), nil
}

// Close sends what waits, for a second at most, and nothing where the log server
// did not answer just before.
func (s *Sink) Close() {
	s.stop()
	<-s.sent
}

// address reads the file; where there is none, there is no log server.
func (s *Sink) address() (Address, error) {
	content, err := mounted.Read(s.dir, AddressFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Address{}, nil
	}
	if err != nil {
		return Address{}, err
	}
	return ParseAddress(content)
}
