//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// suite is the cluster that all scenes share; TestMain makes it.
var suite *world

const bootLimit = 20 * time.Minute

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process; the lab's machines die with it.
	context.AfterFunc(ctx, stop)
	boot, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	w, err := newWorld(boot)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e: the cluster did not come up:", err)
		if w != nil && w.cluster != nil {
			w.dump("boot", nil)
		}
		return 1
	}
	suite = w
	return m.Run()
}
