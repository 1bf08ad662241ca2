// Command lab drives package lab by hand: machines with ZFS, and Kubernetes
// clusters of them, on this host. `lab help` lists its commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

type command struct {
	usage, help string
	run         func(ctx context.Context, env lab.Env, args []string) error
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := dispatch(ctx, os.Args[1:])
	stop()
	var exit *lab.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(exit.Code)
	default:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(3)
	}
}

func dispatch(ctx context.Context, args []string) error {
	env, err := lab.HostEnv(os.Stderr)
	if err != nil {
		return err
	}
	all := commands()
	for words := min(2, len(args)); words > 0; words-- {
		name := args[0]
		if words == 2 {
			name += " " + args[1]
		}
		for _, c := range all {
			if c.matches(name) {
				return c.run(ctx, env, args[words:])
			}
		}
	}
	fmt.Fprintln(os.Stderr, "usage: lab COMMAND")
	for _, c := range all {
		fmt.Fprintf(os.Stderr, "  %-44s %s\n", c.usage, c.help)
	}
	if len(args) == 0 || args[0] == "help" {
		return nil
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// matches compares with the leading lower-case words of the usage line.
func (c command) matches(name string) bool {
	return len(c.usage) >= len(name) && c.usage[:len(name)] == name &&
		(len(c.usage) == len(name) || c.usage[len(name)] == ' ')
}

func commands() []command {
	return append(vmCommands(), clusterCommands()...)
}
