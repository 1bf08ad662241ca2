package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
)

var pointGrammar = regexp.MustCompile(`^([a-z]+)\.[a-z0-9-]+\.(before|during|after)$`)

// CheckCrashPoints holds every crash.Point to be declared at its package's top, as a
// constant or in a composite of such, named "<package>.<operation>.<before|during|after>",
// with no two alike, and to be named in the package's function Points, so that a test
// that lists them has them all.
func CheckCrashPoints(t *Tree) []Violation {
	var bad []Violation
	report := func(f *File, pos token.Pos, what string) {
		bad = append(bad, Violation{"crash-point", t.at(f, pos), what, "tests enumerate the points from the code and kill the process at each"})
	}
	packages := map[string][]*File{}
	for _, f := range t.Files {
		if f.Product() {
			packages[f.Dir] = append(packages[f.Dir], f)
		}
	}
	first := map[string]string{}
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		files := packages[dir]
		holders, listed := pointHolders(t, files), namedInPoints(files)
		for _, f := range files {
			for _, p := range points(f, holders, func(pos token.Pos, what string) { report(f, pos, what) }) {
				value, err := strconv.Unquote(p.literal.Value)
				m := pointGrammar.FindStringSubmatch(value)
				switch {
				case err != nil || m == nil:
					report(f, p.literal.Pos(), fmt.Sprintf("point %s is not <package>.<operation>.<before|during|after>", p.literal.Value))
				case m[1] != path.Base(dir):
					report(f, p.literal.Pos(), fmt.Sprintf("point %q is declared in package %s", value, path.Base(dir)))
				case first[value] != "":
					report(f, p.literal.Pos(), fmt.Sprintf("point %q stands at %s too", value, first[value]))
				case !listed[p.name]:
					report(f, p.literal.Pos(), fmt.Sprintf("point %q (%s) is not in the package's Points()", value, p.name))
				default:
					first[value] = t.at(f, p.literal.Pos())
				}
			}
		}
	}
	return bad
}

// point is one that is declared, and the name it is declared under.
type point struct {
	name    string
	literal *ast.BasicLit
}

// points gives what a file declares at its top, and reports points made in other
// ways. holders are the package's structs of points.
func points(f *File, holders map[string]bool, report func(token.Pos, string)) []point {
	var all []point
	declared := map[*ast.BasicLit]bool{}
	for _, d := range f.Syntax.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range decl.Specs {
			spec, ok := s.(*ast.ValueSpec)
			if !ok {
				continue
			}
			for i, value := range spec.Values {
				var literals []*ast.BasicLit
				if lit, ok := value.(*ast.BasicLit); ok && isPoint(spec.Type) && decl.Tok == token.CONST {
					literals = append(literals, lit)
				}
				literals = append(literals, heldLiterals(value, holders)...)
				for _, lit := range literals {
					declared[lit] = true
					all = append(all, point{spec.Names[i].Name, lit})
				}
			}
		}
	}
	const other = "a crash point that is no constant of type crash.Point and in no composite at the package's top"
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for _, v := range n.Values {
				if lit, ok := v.(*ast.BasicLit); ok && isPoint(n.Type) && !declared[lit] {
					report(lit.Pos(), other)
				}
			}
		case *ast.CompositeLit:
			for _, lit := range heldLiterals(n, holders) {
				if !declared[lit] {
					report(lit.Pos(), other)
				}
			}
		case *ast.CallExpr:
			if callee(n) == "crash.Point" {
				report(n.Pos(), other)
			}
		}
		return true
	})
	return all
}

// isPoint tells whether an expression names the type crash.Point.
func isPoint(e ast.Expr) bool {
	sel, ok := e.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Point" && isIdent(sel.X, "crash")
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// heldLiterals are the strings in a composite literal of a struct of points.
func heldLiterals(value ast.Expr, holders map[string]bool) []*ast.BasicLit {
	composite, ok := value.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	if id, ok := composite.Type.(*ast.Ident); !ok || !holders[id.Name] {
		return nil
	}
	var all []*ast.BasicLit
	for _, e := range composite.Elts {
		if pair, ok := e.(*ast.KeyValueExpr); ok {
			e = pair.Value
		}
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			all = append(all, lit)
		}
	}
	return all
}

// pointHolders are the names of the package's structs of nothing but points.
func pointHolders(t *Tree, files []*File) map[string]bool {
	holders := map[string]bool{}
	for _, f := range files {
		if importName(f, t.Module+"/pkg/dot/crash") == "" {
			continue
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok && len(s.Fields.List) > 0 &&
				!slices.ContainsFunc(s.Fields.List, func(field *ast.Field) bool { return !isPoint(field.Type) }) {
				holders[spec.Name.Name] = true
			}
			return true
		})
	}
	return holders
}

// namedInPoints are the names that the package's function Points mentions.
func namedInPoints(files []*File) map[string]bool {
	named := map[string]bool{}
	for _, f := range files {
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || fn.Name.Name != "Points" || fn.Body == nil {
				continue
			}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					named[id.Name] = true
				}
				return true
			})
		}
	}
	return named
}
