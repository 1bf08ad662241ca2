package main

import "github.com/dotmesh-io/dotmesh-csi/pkg/dot"

// poolSize is the flag --pool-size: a size, or auto, which is none.
type poolSize struct{ dot.Size }

const autoSize = "auto"

// String gives what Set takes.
func (p *poolSize) String() string {
	if p.Bytes() == 0 {
		return autoSize
	}
	return p.Size.String()
}

// Set parses what a user wrote.
func (p *poolSize) Set(s string) error {
	if s == autoSize {
		p.Size = dot.Size{}
		return nil
	}
	size, err := dot.ParseSize(s)
	if err == nil {
		p.Size = size
	}
	return err
}

// Type names the flag's type in the help.
func (p *poolSize) Type() string { return "size" }
