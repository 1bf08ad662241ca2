package store

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// proxy passes bytes to an etcd, or holds them while it is frozen, as a machine
// does that hangs: connections stay, and nothing answers.
type proxy struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	thawed chan struct{} // closed while bytes pass
	conns  []net.Conn
}

func newProxy(t *testing.T, endpoint string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: strings.TrimPrefix(endpoint, "unix://"), thawed: make(chan struct{})}
	close(p.thawed)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range p.conns {
			c.Close()
		}
	})
	go p.accept()
	return p
}

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("unix", p.target)
		if err != nil {
			near.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, near, far)
		p.mu.Unlock()
		go p.pass(near, far)
		go p.pass(far, near)
	}
}

func (p *proxy) pass(to io.WriteCloser, from io.Reader) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		thawed := p.thawed
		p.mu.Unlock()
		<-thawed
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thawed = make(chan struct{})
}

func (p *proxy) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.thawed)
}

func TestEtcdThatHangsIsUnavailableInTime(t *testing.T) {
	t.Parallel()
	endpoint, _, _ := ownEtcd(t)
	p := newProxy(t, endpoint)
	s := openAt(t, Config{Endpoints: []string{"http://" + p.listener.Addr().String()}, RequestTimeout: time.Second})
	l := acquire(t, s, Instance{"server-1", "boot-1"})
	events := s.Watch(within(t, time.Minute), Of(KindPools), 0)
	wantResync(t, next(t, events))

	p.freeze()
	time.Sleep(200 * time.Millisecond)
	held := l.LastRenewal()
	began := time.Now()
	wantCode(t, s.Txn().PutPool(dot.Pool{ID: dot.PoolIDOf(1)}).Commit(context.Background()), dot.CodeUnavailable)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	time.Sleep(testTTL)
	if isDone(l) || l.LastRenewal() != held {
		t.Errorf("a lease that cannot be renewed: done %v, renewed at %v, before %v", isDone(l), l.LastRenewal(), held)
	}
	p.thaw()
	// etcd was running, so the lease may have ended meanwhile.
	eventually(t, 20*time.Second, "the lease is renewed or known to be lost", func() bool { return isDone(l) || l.LastRenewal() > held })
	eventually(t, 20*time.Second, "the store works again", func() bool { return s.Ping(context.Background()) == nil })
	putPool(t, s, 2, "two")
	for {
		if e := next(t, events); !e.Resync && e.Key == PoolKey(dot.PoolIDOf(2)) {
			break
		}
	}
}
