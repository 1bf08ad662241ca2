package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Tree is the parsed Go source of one module.
type Tree struct {
	Module string // the module's path
	Files  []*File
	fset   *token.FileSet
}

// File is one Go file.
type File struct {
	Path      string // from the module's root, with slashes
	Dir       string // the package's directory
	Test      bool   // a _test.go file
	Generated bool
	Lines     int
	Syntax    *ast.File
}

// Imports gives the paths that the file imports, each with its position.
func (f *File) Imports() map[string]token.Pos {
	all := map[string]token.Pos{}
	for _, spec := range f.Syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			all[p] = spec.Pos()
		}
	}
	return all
}

// Product tells whether the file is part of what is shipped: not a test, and not
// in a package that only tests import.
func (f *File) Product() bool {
	return !f.Test && !f.Generated && !testOnly(f.Dir) && (within(f.Dir, "pkg") || within(f.Dir, "cmd"))
}

// testOnly packages help tests, as net/http/httptest does: their name ends in
// "test".
func testOnly(dir string) bool { return strings.HasSuffix(path.Base(dir), "test") }

// Load parses every Go file below root, except nested modules, testdata, and
// directories that git ignores here.
func Load(root, module string) (*Tree, error) {
	t := &Tree{Module: module, fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != root && skipDir(p, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		return t.add(root, p)
	})
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", root, err)
	}
	return t, nil
}

func skipDir(p, name string) bool {
	switch name {
	case "testdata", "bin", "dist", "vendor":
		return true
	}
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(p, "go.mod"))
	return err == nil
}

func (t *Tree) add(root, p string) error {
	syntax, err := parser.ParseFile(t.fset, p, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(root, p)
	if err != nil {
		return err
	}
	rel = filepath.ToSlash(rel)
	t.Files = append(t.Files, &File{
		Path:      rel,
		Dir:       path.Dir(rel),
		Test:      strings.HasSuffix(rel, "_test.go"),
		Generated: ast.IsGenerated(syntax),
		Lines:     t.fset.File(syntax.FileStart).LineCount(),
		Syntax:    syntax,
	})
	return nil
}

// Violation is one place that breaks a rule.
type Violation struct {
	Rule   string
	Where  string // file:line, a package, or the module
	What   string
	Reason string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: %s (%s: %s)", v.Where, v.What, v.Rule, v.Reason)
}

func (t *Tree) at(f *File, pos token.Pos) string {
	return fmt.Sprintf("%s:%d", f.Path, t.fset.Position(pos).Line)
}

// ours gives an imported package's directory in this module, and whether it is
// one of this module's.
func (t *Tree) ours(imported string) (string, bool) {
	if imported == t.Module {
		return ".", true
	}
	return strings.CutPrefix(imported, t.Module+"/")
}

// within tells whether dir is base or below it.
func within(dir, base string) bool {
	return dir == base || strings.HasPrefix(dir, base+"/")
}

func withinAny(dir string, bases []string) bool {
	for _, base := range bases {
		if within(dir, base) {
			return true
		}
	}
	return false
}
