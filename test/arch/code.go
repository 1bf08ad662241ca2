package arch

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

// CheckSizes finds functions over maxFunction lines and files over maxFile.
func CheckSizes(t *Tree, maxFunction, maxFile int) []Violation {
	var bad []Violation
	for _, f := range t.Files {
		if f.Generated {
			continue
		}
		if f.Lines > maxFile {
			bad = append(bad, Violation{"file-size", f.Path, fmt.Sprintf("%d lines, at most %d", f.Lines, maxFile), "one reason per file; split it"})
		}
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := t.fset.Position(fn.End()).Line - t.fset.Position(fn.Pos()).Line + 1; n > maxFunction {
				bad = append(bad, Violation{"function-size", t.at(f, fn.Pos()), fmt.Sprintf("%s has %d lines, at most %d", fn.Name.Name, n, maxFunction), "a function is read in one look"})
			}
		}
	}
	return bad
}

// CheckPackages finds packages that do not say what they are, in a comment and
// in their name.
func CheckPackages(t *Tree, badNames []string) []Violation {
	var bad []Violation
	documented, seen := map[string]bool{}, map[string]bool{}
	for _, f := range t.Files {
		seen[f.Dir] = true
		name := strings.TrimSuffix(f.Syntax.Name.Name, "_test")
		if doc := f.Syntax.Doc.Text(); strings.HasPrefix(doc, "Package "+name) || (name == "main" && strings.HasPrefix(doc, "Command ")) || (f.Generated && doc != "") {
			documented[f.Dir] = true
		}
		if slices.Contains(badNames, name) || slices.Contains(badNames, path.Base(f.Dir)) {
			bad = append(bad, Violation{"package-name", f.Path, "package " + name, "a drawer's name says nothing of what it holds; name the concept"})
		}
	}
	for dir := range seen {
		if !documented[dir] && !t.generatedOnly(dir) {
			bad = append(bad, Violation{"package-doc", dir, "no comment \"Package …\" (or \"Command …\") on a package clause", "the reader starts there"})
		}
	}
	return bad
}

func (t *Tree) generatedOnly(dir string) bool {
	return !slices.ContainsFunc(t.Files, func(f *File) bool { return f.Dir == dir && !f.Generated })
}

// CheckInit finds what would run by being imported.
func CheckInit(t *Tree) []Violation {
	var bad []Violation
	for _, f := range t.Files {
		if f.Generated {
			continue
		}
		for _, d := range f.Syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				bad = append(bad, Violation{"init", t.at(f, fn.Pos()), "func init", "nothing happens because a package is linked; every role of one binary would run it"})
			}
		}
	}
	return bad
}

// exits are the calls that end a process, skips those that leave a test out.
var exits = []string{"os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln", "klog.Fatal", "klog.Fatalf", "klog.Exit", "klog.Exitf", "klog.FlushAndExit"}
var skips = []string{"t.Skip", "t.Skipf", "t.SkipNow", "b.Skip", "b.Skipf", "tb.Skip", "tb.Skipf"}

// CheckExits finds libraries that exit or panic, and tests that are skipped.
func CheckExits(t *Tree) []Violation {
	var bad []Violation
	for _, f := range t.Files {
		library := f.Product() && within(f.Dir, "pkg")
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch name := callee(call); {
			case library && slices.Contains(exits, name):
				bad = append(bad, Violation{"exit", t.at(f, call.Pos()), name, "a library returns an error; main decides"})
			case library && name == "panic":
				bad = append(bad, Violation{"panic", t.at(f, call.Pos()), name, "a library returns an error; a server outlives one bad request"})
			case f.Test && slices.Contains(skips, name):
				bad = append(bad, Violation{"skip", t.at(f, call.Pos()), name, "a test that did not run looks like one that passed; build tags choose"})
			}
			return true
		})
	}
	return bad
}

func callee(call *ast.CallExpr) string {
	switch fn := call.Fun.(type) {
	case *ast.Ident:
		return fn.Name
	case *ast.SelectorExpr:
		if id, ok := fn.X.(*ast.Ident); ok {
			return id.Name + "." + fn.Sel.Name
		}
	}
	return ""
}
