package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// Terminal is all that a command touches of its surroundings.
type Terminal struct {
	In       io.Reader
	Out, Err io.Writer
	// Getenv reads an environment variable, "" when it is not set.
	Getenv func(string) string
	// Home is the directory below which .dotmesh/config lies.
	Home string
	// ReadSecret asks a person for a secret without showing it.
	ReadSecret func(ctx context.Context, prompt string) (string, error)
}

// OSTerminal is the terminal of this process.
func OSTerminal() Terminal {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return Terminal{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Getenv: os.Getenv, Home: home, ReadSecret: readSecret,
	}
}

// readSecret uses the controlling terminal, so that standard input and output
// stay free for pipes. When the context ends first, the terminal shows again
// what is typed.
func readSecret(ctx context.Context, prompt string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", dot.Invalid("there is no terminal to ask for the API key: set %s or use --api-key-file", apiKeyVariable)
	}
	defer tty.Close()
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read the API key: %w", err)
	}
	fmt.Fprint(tty, prompt)
	defer fmt.Fprintln(tty)
	type typed struct {
		secret []byte
		err    error
	}
	done := make(chan typed, 1)
	go func() {
		secret, err := term.ReadPassword(fd)
		done <- typed{secret, err}
	}()
	select {
	case got := <-done:
		if got.err != nil {
			return "", fmt.Errorf("read the API key: %w", got.err)
		}
		return string(got.secret), nil
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}
