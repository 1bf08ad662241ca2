package cli

import (
	"context"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

type initOptions struct {
	outputOptions
	share       []string
	shareAll    bool
	compression string
	recordSize  string
}

func (o *initOptions) addFlags(flags *pflag.FlagSet) {
	o.outputOptions.addFlags(flags)
	flags.StringArrayVar(&o.share, "share", nil, "Kubernetes namespace that may use the dot; may be repeated")
	flags.BoolVar(&o.shareAll, "share-all", false, "every Kubernetes namespace may use the dot")
	flags.StringVar(&o.compression, "compression", "", "compression of the dot's data, as ZFS calls it")
	flags.StringVar(&o.recordSize, "recordsize", "", "largest block of the dot's files, such as 16K")
}

func newInitCommand(s *session) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init DOT",
		Short: "Make an empty dot",
		Long: `Make an empty dot. It belongs to no Kubernetes namespace: a
PersistentVolumeClaim can use it once it is shared, here or with dm dot share.`,
		Args: cobra.ExactArgs(1),
		RunE: s.run(func(ctx context.Context, args []string) error { return runInit(ctx, s, o, args[0]) }),
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runInit(ctx context.Context, s *session, o initOptions, arg string) error {
	request, err := o.request(arg)
	if err != nil {
		return err
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	answer, err := c.Dots.CreateDot(ctx, connect.NewRequest(request))
	if err != nil {
		return err
	}
	return o.showDot(s.Out, answer.Msg.GetDot())
}

func (o initOptions) request(arg string) (*dotmeshv1.CreateDotRequest, error) {
	name, err := parseDot(arg)
	if err != nil {
		return nil, err
	}
	if err := checkNamespaces(o.share); err != nil {
		return nil, err
	}
	if o.compression != "" {
		if _, err := dot.ParseCompression(o.compression); err != nil {
			return nil, err
		}
	}
	if o.recordSize != "" {
		if _, err := dot.ParseRecordSize(o.recordSize); err != nil {
			return nil, err
		}
	}
	return &dotmeshv1.CreateDotRequest{
		Dot: name, ShareWith: o.share, ShareAll: o.shareAll,
		Compression: o.compression, RecordSize: o.recordSize,
	}, nil
}
