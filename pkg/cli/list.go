package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

type listOptions struct {
	outputOptions
	released bool
}

func (o *listOptions) addFlags(flags *pflag.FlagSet) {
	o.outputOptions.addFlags(flags)
	flags.BoolVar(&o.released, "released", false, "only dots that have lost their last volume and were kept")
}

func newListCommand(s *session) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the dots",
		Args:    noArgs,
		RunE:    s.run(func(ctx context.Context, _ []string) error { return runList(ctx, s, o) }),
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runList(ctx context.Context, s *session, o listOptions) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	answer, err := c.Dots.ListDots(ctx, connect.NewRequest(&dotmeshv1.ListDotsRequest{Released: o.released}))
	if err != nil {
		return err
	}
	dots := answer.Msg.GetDots()
	if len(dots) == 0 && o.format == formatTable {
		if o.released {
			fmt.Fprintln(s.Err, "No dot is released.")
			return nil
		}
		fmt.Fprintln(s.Err, "There are no dots yet: make a PersistentVolumeClaim of a dotmesh StorageClass, or run dm init NAME.")
		return nil
	}
	names := make([]string, 0, len(dots))
	for _, d := range dots {
		names = append(names, fullName(d))
	}
	return o.show(s.Out, view{object: answer.Msg, names: names, table: func(w io.Writer) { listTable(w, dots) }})
}

// listTable tells of each dot's branch master, which is the one that pods use unless
// their claims name another.
func listTable(w io.Writer, dots []*dotmeshv1.Dot) {
	rows := [][]string{{"DOT", "OWNER", "SHARED WITH", "NODE", "SIZE", "DIRTY", "COMMITS", "BRANCHES", "STATE"}}
	for _, d := range dots {
		row := []string{fullName(d), d.GetOwner(), sharedWith(d), "", "", "", "", strconv.Itoa(len(d.GetBranches())), d.GetState()}
		if b := masterOf(d); b != nil {
			row[3], row[6] = b.GetMasterNode(), strconv.FormatUint(b.GetCommitCount(), 10)
			row[4], row[5] = usage(b)
		}
		rows = append(rows, row)
	}
	table(w, rows...)
}

// usage is what a branch's head takes and what of it is not committed, "" where the
// server of its node did not tell: no head takes nothing.
func usage(b *dotmeshv1.Branch) (used, written string) {
	if b.GetUsedBytes() == 0 {
		return "", ""
	}
	return size(b.GetUsedBytes()), size(b.GetWrittenBytes())
}

func fullName(d *dotmeshv1.Dot) string { return d.GetNamespace() + "/" + d.GetName() }

func sharedWith(d *dotmeshv1.Dot) string {
	if d.GetShareAll() {
		return "all"
	}
	return strings.Join(d.GetSharedWith(), ",")
}

func masterOf(d *dotmeshv1.Dot) *dotmeshv1.Branch {
	for _, b := range d.GetBranches() {
		if b.GetName() == dot.MasterBranch.String() {
			return b
		}
	}
	return nil
}
