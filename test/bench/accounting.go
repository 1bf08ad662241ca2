package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// ended is a process that has ended, as the kernel's accounting tells (acct(5)).
type ended struct {
	Parent  int
	Command string // its first 15 bytes
}

const accountingRecord = 64

// parseAccounting reads whole records of version 3 in this machine's byte order.
func parseAccounting(b []byte) ([]ended, error) {
	const version, parent, command, commandSize = 1, 20, 48, 16
	var all []ended
	for ; len(b) >= accountingRecord; b = b[accountingRecord:] {
		if v := b[version] &^ 0x80; v != 3 { // the high bit tells the byte order
			return nil, fmt.Errorf("process accounting of version %d, want 3", v)
		}
		name, _, _ := bytes.Cut(b[command:command+commandSize], []byte{0})
		all = append(all, ended{Parent: int(binary.NativeEndian.Uint32(b[parent:])), Command: string(name)})
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("process accounting ends with %d bytes of a record", len(b))
	}
	return all, nil
}
