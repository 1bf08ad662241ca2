package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
)

// fixture prints the path of a disk for vmtest -disk.
func fixture(ctx context.Context, env lab.Env, args []string) error {
	fs := flag.NewFlagSet("fixture", flag.ContinueOnError)
	timeout := fs.Duration("timeout", 20*time.Minute, "limit for making it")
	dir := fs.String("dir", ".", "working directory of the program")
	var vars, versions list
	fs.Var(&vars, "env", "NAME=value for the program; may be repeated")
	fs.Var(&versions, "version", "file that decides what the program makes; may be repeated")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() < 2 {
		return errors.New("fixture: want a name and the program that makes it")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, *timeout, fmt.Errorf("the limit of %v is over", *timeout))
	defer cancel()
	f := lab.Fixture{Name: fs.Arg(0), Versions: versions, Make: lab.TestRun{Binary: fs.Arg(1), Args: fs.Args()[2:], Env: vars, Dir: *dir}}
	path, err := f.Disk(ctx, env, lab.Streams{Out: os.Stderr, Err: os.Stderr})
	if err == nil {
		fmt.Println(path)
	}
	return err
}
