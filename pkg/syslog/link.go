package syslog

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"
)

// link is a connection to the log server. A nil one is none.
type link struct {
	net.Conn
	stream bool
	since  time.Time
	left   chan struct{} // closed when the log server has hung up
}

// maxDatagram is what receivers should take over UDP (RFC 5426), maxFrame what
// they do over TCP: the text, and a header with structured data.
const (
	maxDatagram = 2 << 10
	maxFrame    = maxText + 1<<10
)

func dial(ctx context.Context, to Address, limit time.Duration) (*link, error) {
	d := net.Dialer{Timeout: limit}
	conn, err := d.DialContext(ctx, to.Network(), to.HostPort())
	if err != nil {
		return nil, err
	}
	l := &link{Conn: conn, stream: to.Network() == "tcp", since: time.Now(), left: make(chan struct{})}
	if l.stream {
		// Without reading, that it hung up would be known one lost entry later.
		go func() {
			defer close(l.left)
			_, _ = io.Copy(io.Discard, conn)
		}()
	}
	return l, nil
}

// gone is closed when the log server has hung up.
func (l *link) gone() <-chan struct{} {
	if l == nil {
		return nil
	}
	return l.left
}

// old tells that the log server's name should be looked up again: nobody answers
// over UDP, so that otherwise one that has moved would never be found.
func (l *link) old(limit time.Duration) bool {
	return l != nil && !l.stream && time.Since(l.since) > limit
}

// send writes the entry, within the time for it, and for less once ctx has ended.
func (l *link) send(ctx context.Context, o Origin, e entry, t timing) error {
	until := time.Now().Add(t.write)
	if end, bounded := ctx.Deadline(); bounded {
		until = end
	}
	if err := l.SetWriteDeadline(until); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.SetWriteDeadline(time.Now().Add(t.flush)) })()
	message := o.format(e, maxDatagram)
	if l.stream {
		frame := o.format(e, maxFrame)
		message = fmt.Appendf(nil, "%d %s", len(frame), frame)
	}
	_, err := l.Write(message)
	return err
}

func (l *link) close() {
	if l != nil {
		_ = l.Close()
	}
}
