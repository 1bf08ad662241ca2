package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteSize is a flag's size in bytes, written with a binary unit: 10G, 512MiB.
type byteSize int64

// String gives the size with the largest unit that divides it.
func (b *byteSize) String() string {
	units := []string{"", "K", "M", "G", "T", "P"}
	n, u := int64(*b), 0
	for n != 0 && n%1024 == 0 && u < len(units)-1 {
		n, u = n/1024, u+1
	}
	return strconv.FormatInt(n, 10) + units[u]
}

// Set parses what a user wrote.
func (b *byteSize) Set(s string) error {
	digits := strings.TrimRight(strings.TrimSuffix(strings.TrimSuffix(s, "B"), "i"), "KMGTP")
	unit := strings.TrimSuffix(strings.TrimSuffix(s, "B"), "i")[len(digits):]
	shift := map[string]uint{"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50}
	by, known := shift[unit]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n <= 0 || n > math.MaxInt64>>by {
		return fmt.Errorf("%q is not a size like 10G; use a whole number and K, M, G, T or P", s)
	}
	*b = byteSize(n << by)
	return nil
}

// poolSize is the flag --pool-size: a size, or auto, which is 0.
type poolSize struct{ byteSize }

const autoSize = "auto"

// String gives what Set takes.
func (p *poolSize) String() string {
	if p.byteSize == 0 {
		return autoSize
	}
	return p.byteSize.String()
}

// Set parses what a user wrote.
func (p *poolSize) Set(s string) error {
	if s == autoSize {
		p.byteSize = 0
		return nil
	}
	return p.byteSize.Set(s)
}

// Type names the flag's type in the help.
func (b *byteSize) Type() string { return "size" }
