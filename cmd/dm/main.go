// Command dm drives a dotmesh cluster by hand; package cli holds its commands
// and tells its exit codes.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/dotmesh-io/dotmesh-csi/pkg/cli"
)

// linkedVersion is set by the linker (-X main.linkedVersion=…).
var linkedVersion = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, linkedVersion, os.Args[1:], cli.OSTerminal())
	stop()
	os.Exit(code)
}
