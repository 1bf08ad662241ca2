package bench

import (
	"encoding/binary"
	"slices"
	"testing"
)

func TestParseAccounting(t *testing.T) {
	record := func(version byte, parent uint32, command string) []byte {
		b := make([]byte, accountingRecord)
		b[1] = version
		binary.NativeEndian.PutUint32(b[20:], parent)
		copy(b[48:], command)
		return b
	}
	got, err := parseAccounting(slices.Concat(record(3, 7, "zfs"), record(0x83, 1<<20, "fifteen-letters")))
	want := []ended{{7, "zfs"}, {1 << 20, "fifteen-letters"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for name, bad := range map[string][]byte{"version": record(2, 1, "x"), "half": record(3, 1, "x")[:40]} {
		if got, err := parseAccounting(bad); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
}
