package config

import (
	"fmt"
	"slices"
	"strings"
)

// Remark is what a person must know of one key of the ConfigMap.
type Remark struct {
	Key string
	// Message tells what is wrong and what to do. It does not repeat the key.
	Message string
}

// String gives "key: message".
func (r Remark) String() string { return r.Key + ": " + r.Message }

// Refusal is why a configuration is not taken: every problem of it, one or more.
type Refusal struct {
	Problems []Remark
}

// Error tells all problems in one line.
func (r *Refusal) Error() string {
	var all []string
	for _, p := range r.Problems {
		all = append(all, p.String())
	}
	return strings.Join(all, "; ")
}

// maxShown is how much of a bad value or key a message repeats: a ConfigMap may
// hold a megabyte, and an Event a kilobyte.
const maxShown = 64

func clip(s string) string {
	if len(s) > maxShown {
		return strings.ToValidUTF8(s[:maxShown], "") + "…"
	}
	return s
}

// refuse is the error on a bad value; use tells what is allowed.
func refuse(value, use string, args ...any) error {
	return fmt.Errorf("%q is not valid: use %s", clip(value), fmt.Sprintf(use, args...))
}

// unknown is the problem of a key that nothing reads. It is no warning: a
// misspelt key would quietly mean its default.
func unknown(key string) Remark {
	shown := clip(key)
	switch key {
	case "poolNamePrefix":
		return Remark{shown, fmt.Sprintf("is gone: use %s", keyPoolName)}
	case "kernel.zfsVersion":
		return Remark{shown, "is gone: dotmesh works with the ZFS that the node's kernel has; remove the key"}
	}
	if near := nearest(shown); near != "" {
		return Remark{shown, fmt.Sprintf("is not known: did you mean %s?", near)}
	}
	return Remark{shown, "is not known: use " + strings.Join(slices.Sorted(slices.Values(knownKeys())), ", ")}
}

// nearest is the known key that somebody who wrote key may have meant, "" when
// none is like it. Another "local." or "pvcPerNode.", or none, counts for nothing,
// nor does upper or lower case.
func nearest(key string) string {
	meant := stem(key)
	best, fewest := "", len(meant)/3+1
	for _, known := range knownKeys() {
		if d := distance(meant, stem(known)); d < fewest {
			best, fewest = known, d
		}
	}
	return best
}

func stem(key string) string {
	return strings.ToLower(key[strings.LastIndexByte(key, '.')+1:])
}

// distance is edits, but a word that was not written to its end is near.
func distance(a, known string) int {
	const word = 4
	if d := edits(a, known); d <= 1 || len(a) < word || !strings.HasPrefix(known, a) {
		return d
	}
	return 1
}

// edits is how many bytes must be added, removed or replaced to make b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1) // row[j]: from the part of a that was seen to b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
