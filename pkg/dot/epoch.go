package dot

import (
	"fmt"
	"strconv"
	"strings"
)

// Epoch orders the reigns over a branch. Incarnation is raised when the
// registry is created, recovered or restored, Number with every change of
// master; a greater incarnation outranks any number.
type Epoch struct {
	Incarnation uint64
	Number      uint64
}

// Compare gives -1, 0 or +1.
func (e Epoch) Compare(o Epoch) int {
	switch {
	case e == o:
		return 0
	case e.Incarnation < o.Incarnation, e.Incarnation == o.Incarnation && e.Number < o.Number:
		return -1
	}
	return 1
}

// Next is the epoch of the next reign within the same incarnation.
func (e Epoch) Next() Epoch { return Epoch{e.Incarnation, e.Number + 1} }

// String gives "<incarnation>.<number>".
func (e Epoch) String() string { return fmt.Sprintf("%d.%d", e.Incarnation, e.Number) }

// ParseEpoch reads what String wrote.
func ParseEpoch(s string) (Epoch, error) {
	i, n, found := strings.Cut(s, ".")
	incarnation, err1 := strconv.ParseUint(i, 10, 64)
	number, err2 := strconv.ParseUint(n, 10, 64)
	if !found || err1 != nil || err2 != nil {
		return Epoch{}, Invalid("epoch %q is not <incarnation>.<number>", clip(s))
	}
	return Epoch{incarnation, number}, nil
}

// MarshalText implements encoding.TextMarshaler.
func (e Epoch) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *Epoch) UnmarshalText(b []byte) error { return unmarshal(e, b, ParseEpoch) }
