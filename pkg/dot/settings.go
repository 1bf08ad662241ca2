package dot

import (
	"regexp"
	"strconv"
	"strings"
)

// Compression is a value of ZFS's compression property (zfsprops(7)); none means
// the pool's default.
type Compression struct{ text }

// RecordSize is a value of ZFS's recordsize property in bytes; 0 means the
// pool's default.
type RecordSize uint32

var compressionGrammar = regexp.MustCompile(`^(on|off|lz4|lzjb|zle|gzip|gzip-[1-9]|zstd|zstd-([1-9]|1[0-9])|zstd-fast)$`)

// ParseCompression accepts the algorithms that OpenZFS 2.1 knows.
func ParseCompression(s string) (Compression, error) {
	if !compressionGrammar.MatchString(s) {
		return Compression{}, Invalid("compression %q is not known: use one of on, off, lz4, lzjb, zle, gzip[-1…9], zstd[-1…19], zstd-fast", clip(s))
	}
	return Compression{text{s}}, nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Compression) UnmarshalText(b []byte) error { return unmarshal(c, b, ParseCompression) }

const (
	minRecordSize = 512
	maxRecordSize = 1 << 20 // the largest that a pool takes without a tunable
)

// ParseRecordSize accepts a power of two from 512 to 1M, as "131072" or "128K".
func ParseRecordSize(s string) (RecordSize, error) {
	digits, unit := s, uint64(1)
	switch {
	case strings.HasSuffix(s, "K"), strings.HasSuffix(s, "k"):
		digits, unit = s[:len(s)-1], 1<<10
	case strings.HasSuffix(s, "M"), strings.HasSuffix(s, "m"):
		digits, unit = s[:len(s)-1], 1<<20
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	size := n * unit
	if err != nil || size < minRecordSize || size > maxRecordSize || size&(size-1) != 0 {
		return 0, Invalid("recordsize %q is not valid: use a power of two from 512 to 1M", clip(s))
	}
	return RecordSize(size), nil
}
