package server

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestGate(t *testing.T) {
	var g gate
	why := dot.Unavailable("closed")
	if err := g.enter(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := g.close(short, why); dot.CodeOf(err) != dot.CodeUnavailable {
		t.Errorf("with a call under way: got %v", err)
	}
	if err := g.enter(); err != nil {
		t.Errorf("after it could not be closed: got %v", err)
	}
	closed := make(chan error)
	go func() { closed <- g.close(t.Context(), why) }()
	for g.enter() == nil { // until it is shut
		g.leave()
		time.Sleep(time.Millisecond)
	}
	g.leave()
	select {
	case err := <-closed:
		t.Errorf("closed with a call under way: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	g.leave()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := g.enter(); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
	if err := g.close(t.Context(), why); err != nil {
		t.Errorf("closed twice: got %v", err)
	}
	g.open()
	if err := g.enter(); err != nil {
		t.Errorf("open again: got %v", err)
	}
}
