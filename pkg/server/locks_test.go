package server

import (
	"context"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestALockThatIsHeldIsAskedForAgain(t *testing.T) {
	l := newKeyLocks()
	unlock, err := l.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.lock(short, "a"); dot.CodeOf(err) != dot.CodeAborted {
		t.Errorf("got %v, want CodeAborted", err)
	}
}
