package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// told are the calls that make an Event, by name, and which of their arguments is its
// reason; Warn is the type of an action.
var told = map[string]struct{ reason, arguments int }{
	"Warning": {1, 3}, "Normal": {1, 3}, "each": {1, 3}, "warn": {0, 2}, "Warn": {1, 3},
}

// handedOn are reasons that these calls were given, and that stand where they are made.
var handedOn = []string{"reason", "a.Reason", "reasonOf", "c.Type"}

// reasonsInCode are those of the operator's Events that the code names.
func reasonsInCode(t *testing.T) map[string]bool {
	t.Helper()
	var files []*ast.File
	err := filepath.WalkDir(filepath.Join(root, "pkg/operator"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		files = append(files, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	constants := map[string]string{}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, is := n.(*ast.ValueSpec)
			for i := 0; is && i < min(len(spec.Names), len(spec.Values)); i++ {
				if value := text(spec.Values[i]); value != "" {
					constants[spec.Names[i].Name] = value
				}
			}
			return true
		})
	}
	reasons := map[string]bool{}
	add := func(name string, arguments []ast.Expr) {
		at, known := told[name]
		if !known || len(arguments) != at.arguments {
			return
		}
		switch called := named(arguments[at.reason]); {
		case text(arguments[at.reason]) != "":
			reasons[text(arguments[at.reason])] = true
		case constants[last(called)] != "":
			reasons[constants[last(called)]] = true
		case !slices.Contains(handedOn, called):
			t.Errorf("%s tells an Event whose reason cannot be read: %q", name, called)
		}
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				add(last(named(n.Fun)), n.Args)
			case *ast.CompositeLit:
				add(last(named(n.Type)), n.Elts)
			case *ast.RangeStmt: // over texts by their reasons
				key, isIdent := n.Key.(*ast.Ident)
				texts, isLiteral := n.X.(*ast.CompositeLit)
				if isIdent && isLiteral && key.Name == "reason" {
					for _, e := range texts.Elts {
						reasons[text(e.(*ast.KeyValueExpr).Key)] = true
					}
				}
			}
			return true
		})
	}
	return reasons
}

// reasonsOfServers are those of the Events that the operator makes of what is not well with
// a server.
func reasonsOfServers(t *testing.T) map[string]bool {
	t.Helper()
	code, reasons := read(t, "pkg/server/status.go"), map[string]bool{}
	for _, m := range regexp.MustCompile(`condition\("(\w+)", [\w.()]+, [\w".]+, "(\w+)", `).FindAllStringSubmatch(code, -1) {
		reasons[m[1]+"Recovered"], reasons[m[2]] = true, true
	}
	if got, want := len(reasons), 2*strings.Count(code, "condition(\""); got != want {
		t.Errorf("%d reasons of conditions were read, of %d", got, want)
	}
	for _, m := range regexp.MustCompile(`reason := "(\w+)"`).FindAllStringSubmatch(code, -1) {
		reasons[m[1]] = true
	}
	return reasons
}

// text is the value of a literal of a string.
func text(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		s, _ := strconv.Unquote(lit.Value)
		return s
	}
	return ""
}

// named is the name that an expression begins with.
func named(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return named(e.X) + "." + e.Sel.Name
	case *ast.CallExpr:
		return named(e.Fun)
	case *ast.BinaryExpr:
		return named(e.X)
	}
	return ""
}

func last(name string) string { return name[strings.LastIndex(name, ".")+1:] }

// TestEveryEventIsInTheTable: docs/operations.md tells what to do with each, and of no other.
func TestEveryEventIsInTheTable(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "docs/operations.md"), "\n## Events\n")
	table, _, _ = strings.Cut(table, "\n## ")
	inTable := map[string]bool{}
	for line := range strings.Lines(table) {
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, m := range regexp.MustCompile("`([A-Z]\\w+)`").FindAllStringSubmatch(first, -1) {
			inTable[m[1]] = true
		}
	}
	reasons := reasonsInCode(t)
	for _, least := range []string{"CannotLeave", "CannotGrow", "EtcdWaits", "NotYetValid", "PoolInUse", "ConfigurationRefused", "ServersDependOnIt"} {
		if !reasons[least] {
			t.Errorf("the reason %s was not found in the code", least)
		}
	}
	for reason := range reasonsOfServers(t) {
		reasons[reason] = true
	}
	for reason := range reasons {
		if !inTable[reason] {
			t.Errorf("docs/operations.md does not tell of the Event %s", reason)
		}
	}
	for reason := range inTable {
		if isOfZFS := strings.ToUpper(reason) == reason; !reasons[reason] && !isOfZFS {
			t.Errorf("docs/operations.md tells of the Event %s, which nothing makes", reason)
		}
	}
}
