package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"sigs.k8s.io/yaml"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// format is a way to show a result.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
	formatName  format = "name"
)

// outputOptions are the flags of every command that shows something.
type outputOptions struct{ format format }

func (o *outputOptions) addFlags(flags *pflag.FlagSet) {
	o.format = formatTable
	flags.VarP(&o.format, "output", "o", "how to show the result: table, json, yaml or name")
}

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	switch v := format(s); v {
	case formatTable, formatJSON, formatYAML, formatName:
		*f = v
		return nil
	}
	return dot.Invalid("output %q is not known: use table, json, yaml or name", s)
}

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *format) Type() string { return "format" }

// view is a result in each of the forms that it can be shown in.
type view struct {
	// object is shown whole as JSON and YAML.
	object any
	names  []string
	table  func(w io.Writer)
}

func (o outputOptions) show(w io.Writer, v view) error {
	switch o.format {
	case formatName:
		for _, name := range v.names {
			fmt.Fprintln(w, name)
		}
		return nil
	case formatJSON, formatYAML:
		data, err := encode(v.object)
		if err != nil {
			return fmt.Errorf("encode the result: %w", err)
		}
		if o.format == formatYAML {
			if data, err = yaml.JSONToYAML(data); err != nil {
				return fmt.Errorf("encode the result: %w", err)
			}
		}
		_, err = w.Write(data)
		return err
	case formatTable:
	}
	v.table(w)
	return nil
}

// encode gives indented JSON. protojson varies its spacing on purpose, so that
// nobody relies on it; scripts and people want one form.
func encode(object any) ([]byte, error) {
	var data []byte
	var err error
	if message, ok := object.(proto.Message); ok {
		data, err = protojson.Marshal(message)
	} else {
		data, err = json.Marshal(object)
	}
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// table writes rows with aligned columns; the first is the header.
func table(w io.Writer, rows ...[]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = orDash(printable(cell))
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	tw.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printable keeps what another user wrote (a message, metadata) from moving the
// cursor or breaking a table.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// size shows bytes in binary units.
func size(bytes uint64) string {
	const units = "KMGTPE"
	if bytes < 1024 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes)/1024, 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}

func when(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}
