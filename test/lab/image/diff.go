package image

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Difference is one thing that two images do not have in common.
type Difference struct {
	Path string // of the file, or "config.User" and the like
	A, B string // what each has; "nothing" if it has none
}

func (d Difference) String() string { return fmt.Sprintf("%s: %s | %s", d.Path, d.A, d.B) }

// Diff compares two images; what a file says comes in the order of the paths.
func Diff(a, b Content) []Difference {
	all := a.Config.diff(b.Config)
	paths := slices.Sorted(maps.Keys(a.Files))
	for p := range b.Files {
		if _, ok := a.Files[p]; !ok {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	for _, p := range paths {
		fa, inA := a.Files[p]
		fb, inB := b.Files[p]
		if inA && inB && fa == fb {
			continue
		}
		all = append(all, Difference{Path: p, A: fa.describe(inA), B: fb.describe(inB)})
	}
	return all
}

func (f File) describe(exists bool) string {
	if !exists {
		return "nothing"
	}
	words := []string{f.Type, fmt.Sprintf("%04o %d:%d", f.Mode, f.UID, f.GID)}
	if f.Link != "" {
		words = append(words, "-> "+f.Link)
	}
	if f.Type == "file" {
		words = append(words, fmt.Sprintf("%d bytes %.12s", f.Size, f.Digest))
	}
	if f.Attrs != "" {
		words = append(words, f.Attrs)
	}
	return strings.Join(words, " ")
}

// diff takes nil and empty for the same: writers differ in that.
func (c Config) diff(other Config) (all []Difference) {
	for _, f := range []struct {
		name string
		a, b any
	}{
		{"Entrypoint", c.Entrypoint, other.Entrypoint},
		{"Cmd", c.Cmd, other.Cmd},
		{"Env", slices.Sorted(slices.Values(c.Env)), slices.Sorted(slices.Values(other.Env))},
		{"User", c.User, other.User},
		{"WorkingDir", strings.TrimSuffix(c.WorkingDir, "/"), strings.TrimSuffix(other.WorkingDir, "/")},
		{"StopSignal", c.StopSignal, other.StopSignal},
		{"Labels", c.Labels, other.Labels},
		{"ExposedPorts", c.ExposedPorts, other.ExposedPorts},
		{"Volumes", c.Volumes, other.Volumes},
	} {
		if a, b := fmt.Sprintf("%q", f.a), fmt.Sprintf("%q", f.b); a != b {
			all = append(all, Difference{Path: "config." + f.name, A: a, B: b})
		}
	}
	return all
}
