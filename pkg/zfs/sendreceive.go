package zfs

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// SendSpec is one plain filesystem stream.
type SendSpec struct {
	From Origin   // nil: full stream
	To   Snapshot // ignored when ResumeToken is set
	// Raw sends blocks as on disk (needed for encrypted datasets).
	Raw, LargeBlocks, Compressed, Embedded bool
	// ResumeToken is the receiver's receive_resume_token; From and To are in it.
	// It comes from the other side: zfs(8) unpacks it, and refuses what does not
	// name a snapshot of this pool that still has the GUID in it.
	ResumeToken string
}

// Send writes the stream to w. When it fails, what was written is a prefix of
// it. If w is an *os.File the process writes into it directly; else a Write
// that blocks must end when ctx does.
func (c *Client) Send(ctx context.Context, spec SendSpec, w io.Writer) error {
	args, err := sendArgs(spec)
	if err != nil {
		return err
	}
	_, err = c.run(ctx, command{path: c.cfg.ZFS, args: append([]string{"zfs", "send"}, args...), stdout: w})
	return err
}

// EstimateSend is the stream's expected size in bytes (zfs-send -nP).
func (c *Client) EstimateSend(ctx context.Context, spec SendSpec) (uint64, error) {
	args, err := sendArgs(spec)
	if err != nil {
		return 0, err
	}
	out, err := c.zfs(ctx, append([]string{"send", "-n", "-P"}, args...)...)
	if err != nil {
		return 0, err
	}
	return parseEstimate(string(out))
}

func sendArgs(spec SendSpec) ([]string, error) {
	if spec.ResumeToken != "" {
		if err := checkToken(spec.ResumeToken); err != nil {
			return nil, err
		}
		return []string{"-t", spec.ResumeToken}, nil
	}
	if err := check(nil, spec.To); err != nil {
		return nil, err
	}
	var args []string
	for _, flag := range []struct {
		on   bool
		name string
	}{{spec.Raw, "-w"}, {spec.LargeBlocks, "-L"}, {spec.Compressed, "-c"}, {spec.Embedded, "-e"}} {
		if flag.on {
			args = append(args, flag.name)
		}
	}
	if spec.From != nil {
		if err := check(nil, spec.From); err != nil {
			return nil, err
		}
		args = append(args, "-i", spec.From.String())
	}
	return append(args, spec.To.String()), nil
}

// checkToken allows the form of receive_resume_token: "1-<hex>-<hex>-<hex>".
func checkToken(token string) error {
	if len(token) > maxArg || strings.Trim(token, "0123456789abcdef-") != "" || token[0] == '-' {
		return fmt.Errorf("resume token %q: %w", shorten(token), ErrInvalidValue)
	}
	return nil
}

// parseEstimate reads the line "size\t<bytes>".
func parseEstimate(out string) (uint64, error) {
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) == 2 && fields[0] == "size" {
			if size, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
				return size, nil
			}
		}
	}
	return 0, fmt.Errorf("no size in %q: %w", shorten(out), ErrUnexpectedOutput)
}

// ReceiveSpec says where a stream goes. It is never forced (-F) nor mounted.
type ReceiveSpec struct {
	// Target is the snapshot to make; its filesystem must not exist for a full
	// stream, and must hold the from-snapshot unmodified for an increment.
	Target Snapshot
	// Resumable keeps what arrived when the stream breaks (-s).
	Resumable bool
	// Set overrides properties, Exclude drops those of the stream.
	Set     Props
	Exclude []Property
}

// Receive reads one stream from r. ErrStreamMismatch, ErrStreamIncomplete
// (with Resumable there is a token now), ErrExists, ErrBusy, ErrNoSpace. It
// does not look into the stream: PeekStreamHeader first.
// After a failure r may have been read further than zfs got; close r if a Read
// of it can block for ever.
func (c *Client) Receive(ctx context.Context, spec ReceiveSpec, r io.Reader) error {
	if err := check(spec.Set, spec.Target); err != nil {
		return err
	}
	args := []string{"zfs", "receive", "-u"}
	if spec.Resumable {
		args = append(args, "-s")
	}
	args = append(args, spec.Set.args("-o")...)
	for _, p := range spec.Exclude {
		if err := p.Check(); err != nil {
			return err
		}
		args = append(args, "-x", string(p))
	}
	args = append(args, spec.Target.String())
	return c.mutate(ctx, operation{BeforeReceive, AfterReceive}, func(c *Client) error {
		_, err := c.run(ctx, command{path: c.cfg.ZFS, args: args, stdin: r})
		return err
	})
}

// AbortReceive throws away what a broken resumable receive kept.
// ErrNoResumeToken when there is nothing.
func (c *Client) AbortReceive(ctx context.Context, d Dataset) error {
	if err := check(nil, d); err != nil {
		return err
	}
	return c.mutateZFS(ctx, operation{BeforeAbortReceive, AfterAbortReceive}, "receive", "-A", d.String())
}

// ResumeToken is the token to resume a broken receive into d; ErrNoResumeToken.
func (c *Client) ResumeToken(ctx context.Context, d Dataset) (string, error) {
	values, err := c.Get(ctx, d, PropReceiveToken)
	if err != nil {
		return "", err
	}
	token := values[PropReceiveToken].Value
	if token == "" || token == "-" {
		return "", fmt.Errorf("%s: %w", d, ErrNoResumeToken)
	}
	return token, nil
}
