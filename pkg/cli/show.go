package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
)

type showOptions struct{ outputOptions }

func newShowCommand(s *session) *cobra.Command {
	var o showOptions
	cmd := &cobra.Command{
		Use:   "show DOT",
		Short: "Show a dot with its branches and the volumes that use it",
		Args:  cobra.ExactArgs(1),
		RunE:  s.run(func(ctx context.Context, args []string) error { return runShow(ctx, s, o, args[0]) }),
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runShow(ctx context.Context, s *session, o showOptions, arg string) error {
	name, err := parseDot(arg)
	if err != nil {
		return err
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	answer, err := c.Dots.GetDot(ctx, connect.NewRequest(&dotmeshv1.GetDotRequest{Dot: name}))
	if err != nil {
		return err
	}
	return o.showDot(s.Out, answer.Msg.GetDot())
}

// showDot shows one dot whole; every command that changes a dot ends with it.
func (o outputOptions) showDot(w io.Writer, d *dotmeshv1.Dot) error {
	return o.show(w, view{object: d, names: []string{fullName(d)}, table: func(w io.Writer) { dotTable(w, d) }})
}

func dotTable(w io.Writer, d *dotmeshv1.Dot) {
	made := "by dm, for no Kubernetes namespace"
	if d.GetMadeByPvc() {
		made = "by a PersistentVolumeClaim of namespace " + orDash(d.GetOwner())
	}
	state := d.GetState()
	if d.GetReleased() {
		state += ", released (no volume uses it)"
	}
	rows := [][]string{
		{"Dot:", fullName(d)}, {"Id:", d.GetId()}, {"State:", state},
		{"Made:", strings.TrimSpace(when(d.GetCreated()) + " " + made)}, {"Shared with:", sharedWith(d)},
	}
	if d.GetCompression() != "" {
		rows = append(rows, []string{"Compression:", d.GetCompression()})
	}
	if d.GetRecordSize() != 0 {
		rows = append(rows, []string{"Record size:", size(uint64(d.GetRecordSize()))})
	}
	table(w, rows...)
	branches := [][]string{{"BRANCH", "NODE", "SIZE", "DIRTY", "COMMITS", "LATEST COMMIT"}}
	for _, b := range d.GetBranches() {
		used, written := usage(b)
		branches = append(branches, []string{
			b.GetName(), b.GetMasterNode(), used, written,
			strconv.FormatUint(b.GetCommitCount(), 10), b.GetLatestCommit(),
		})
	}
	fmt.Fprintln(w)
	table(w, branches...)
	if len(d.GetVolumes()) == 0 {
		return
	}
	volumes := [][]string{{"VOLUME", "CLAIM", "BRANCH", "SUBDOT", "SIZE", "MODE", "PUBLISHED TO"}}
	for _, v := range d.GetVolumes() {
		volumes = append(volumes, []string{
			v.GetId(), claim(v), v.GetBranch(), v.GetSubdot(), size(uint64(max(v.GetSizeBytes(), 0))),
			mode(v), strings.Join(v.GetPublishedNodes(), ","),
		})
	}
	fmt.Fprintln(w)
	table(w, volumes...)
}

func claim(v *dotmeshv1.Volume) string {
	if v.GetPvcName() == "" {
		return ""
	}
	return v.GetKubernetesNamespace() + "/" + v.GetPvcName()
}

func mode(v *dotmeshv1.Volume) string {
	if v.GetReadOnly() {
		return "read-only"
	}
	return "read-write"
}
