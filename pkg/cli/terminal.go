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
	secret, err := interruptible(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	switch {
	case ctx.Err() != nil:
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	case err != nil:
		return "", fmt.Errorf("read the API key: %w", err)
	}
	return string(secret), nil
}

// interruptible reads what a person may never write: it returns when the context
// ends, and leaves the read to the end of the process.
func interruptible(ctx context.Context, read func() ([]byte, error)) ([]byte, error) {
	type answer struct {
		data []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		data, err := read()
		done <- answer{data, err}
	}()
	select {
	case got := <-done:
		return got.data, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
