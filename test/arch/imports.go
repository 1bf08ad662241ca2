package arch

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

// CheckLayers holds product code to Layers.
func CheckLayers(t *Tree, layers []Layer) []Violation {
	var bad []Violation
	for _, f := range t.Files {
		if !f.Product() {
			continue
		}
		layer, found := layerOf(f.Dir, layers)
		if !found {
			bad = append(bad, Violation{"layer", f.Path, "package " + f.Dir + " is in no layer", "everything in pkg and cmd has a place in test/arch/rules.go"})
			continue
		}
		for imported, pos := range f.Imports() {
			dir, ours := t.ours(imported)
			if !ours || within(dir, "test") || within(dir, layer.Dir) || withinAny(dir, layer.May) {
				continue
			}
			bad = append(bad, Violation{"layer", t.at(f, pos), fmt.Sprintf("%s imports %s", f.Dir, dir), layer.Reason})
		}
	}
	return bad
}

func layerOf(dir string, layers []Layer) (Layer, bool) {
	for _, l := range layers {
		if within(dir, l.Dir) {
			return l, true
		}
	}
	return Layer{}, false
}

// CheckTestOnly finds product code that imports what helps tests.
func CheckTestOnly(t *Tree) []Violation {
	var bad []Violation
	for _, f := range t.Files {
		if !f.Product() {
			continue
		}
		for imported, pos := range f.Imports() {
			if dir, ours := t.ours(imported); ours && (testOnly(dir) || within(dir, "test")) {
				bad = append(bad, Violation{"test-only", t.at(f, pos), f.Dir + " imports " + dir, "what helps tests is not shipped"})
			}
		}
	}
	return bad
}

// CheckRooms holds product code to Rooms.
func CheckRooms(t *Tree, rooms []Room) []Violation {
	var bad []Violation
	for _, f := range t.Files {
		if !f.Product() {
			continue
		}
		for imported, pos := range f.Imports() {
			for _, r := range rooms {
				if within(imported, r.Import) && !withinAny(imported, r.Except) && !withinAny(f.Dir, r.Dirs) {
					bad = append(bad, Violation{"room", t.at(f, pos), fmt.Sprintf("%s imports %s, which lives in %s", f.Dir, imported, strings.Join(r.Dirs, ", ")), r.Reason})
				}
			}
		}
	}
	return bad
}

// CheckFoundation finds packages of the list that no product code imports.
func CheckFoundation(t *Tree, foundation []struct{ Import, Reason string }) []Violation {
	var bad []Violation
	for _, want := range foundation {
		used := slices.ContainsFunc(t.Files, func(f *File) bool {
			if !f.Product() {
				return false
			}
			for imported := range f.Imports() {
				if within(imported, want.Import) {
					return true
				}
			}
			return false
		})
		if !used {
			bad = append(bad, Violation{"foundation", t.Module, "no product code imports " + want.Import, want.Reason})
		}
	}
	return bad
}

// CheckLinks compares what is linked (import paths) with a rule.
func CheckLinks(module string, linked []string, rule Links) []Violation {
	var bad []Violation
	for _, not := range rule.Not {
		not = strings.Replace(not, "MODULE", module, 1)
		for _, p := range linked {
			if within(p, not) {
				bad = append(bad, Violation{"links", rule.Package, "links " + p, rule.Reason})
			}
		}
	}
	return bad
}

// CheckFence finds uses of pkg/zfs by csi/node beyond the fence.
func CheckFence(t *Tree, allowed []string) []Violation {
	var bad []Violation
	for _, f := range t.Files {
		if !f.Product() || !within(f.Dir, "pkg/csi/node") {
			continue
		}
		name := importName(f, t.Module+"/pkg/zfs")
		if name == "" {
			continue
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == name && !slices.Contains(allowed, sel.Sel.Name) {
				bad = append(bad, Violation{"fence", t.at(f, sel.Pos()), "csi/node uses zfs." + sel.Sel.Name, "of zfs the node service may use one thing, the fence; the rest belongs to the server"})
			}
			return true
		})
	}
	return bad
}

// importName is the name under which a file knows a package, "" if it does not.
func importName(f *File, imported string) string {
	for _, spec := range f.Syntax.Imports {
		if strings.Trim(spec.Path.Value, `"`) != imported {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(imported)
	}
	return ""
}
