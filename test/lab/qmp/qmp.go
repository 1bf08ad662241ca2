// Package qmp speaks QEMU's machine protocol to a machine that runs
// (https://www.qemu.org/docs/master/interop/qmp-spec.html).
package qmp

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// Monitor is a connection to one machine. QEMU serves one at a time: who comes
// next waits in [Dial]. It is for one goroutine.
type Monitor struct {
	conn net.Conn
	in   *json.Decoder
}

// Error is QEMU's refusal of a command.
type Error struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *Error) Error() string { return e.Desc }

// message is whatever QEMU sends: a greeting, an answer or an event.
type message struct {
	Event    string          `json:"event"`
	Greeting json.RawMessage `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Error    *Error          `json:"error"`
}

// Dial connects to the monitor on a unix socket.
func Dial(ctx context.Context, socket string) (*Monitor, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	m := &Monitor{conn: conn, in: json.NewDecoder(conn)}
	err = m.bounded(ctx, func() error {
		greeting, err := m.read()
		if err == nil && greeting.Greeting == nil {
			err = fmt.Errorf("%s is no QMP monitor", socket)
		}
		return err
	})
	if err == nil {
		err = m.Do(ctx, "qmp_capabilities", nil, nil)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return m, nil
}

// Close ends the connection, not the machine.
func (m *Monitor) Close() error { return m.conn.Close() }

// Do runs a command; result may be nil. A refusal is an *[Error].
func (m *Monitor) Do(ctx context.Context, command string, args, result any) error {
	return m.bounded(ctx, func() error {
		request := struct {
			Execute   string `json:"execute"`
			Arguments any    `json:"arguments,omitempty"`
		}{command, args}
		if err := json.NewEncoder(m.conn).Encode(request); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		answer, err := m.read()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", command, err)
		case answer.Error != nil:
			return fmt.Errorf("%s: %w", command, answer.Error)
		case result != nil:
			return json.Unmarshal(answer.Return, result)
		}
		return nil
	})
}

// read passes over events.
func (m *Monitor) read() (message, error) {
	for {
		var got message
		if err := m.in.Decode(&got); err != nil || got.Event == "" {
			return got, err
		}
	}
}

// bounded ends what do reads and writes when ctx does, after which the monitor is
// of no use.
func (m *Monitor) bounded(ctx context.Context, do func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = m.conn.SetDeadline(time.Now()) })
	defer stop()
	err := do()
	if ctx.Err() != nil && err != nil {
		return fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return err
}
