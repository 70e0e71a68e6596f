package scan

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/flyballdev/flyball"
)

// A door is a method that reads a flag: which of its arguments is the key, and
// how many it has at least.
type door struct {
	key, least int
	ours       bool // has a common name: counts only where our packages are imported
}

// doors are OpenFeature's clients and providers, and our provider and rulesets
// themselves. The short names are common ones, told from others by their four
// arguments: context, key, default and evaluation context.
var doors = func() map[string]door {
	m := map[string]door{"Evaluate": {key: 0, least: 2, ours: true}}
	for _, kind := range []string{"Boolean", "String", "Float", "Int", "Object"} {
		m[kind] = door{key: 1, least: 4}
		for _, form := range []string{"Value", "ValueDetails", "Evaluation"} {
			m[kind+form] = door{key: 1, least: 3}
		}
	}
	return m
}()

// ourPackages are those whose Evaluate reads a flag.
var ourPackages = []string{"github.com/flyballdev/flyball/provider", "github.com/flyballdev/flyball/eval"}

// A finder collects references.
type finder struct {
	fsys     fs.FS
	known    map[string]bool // empty: every key that is read
	found    []flyball.Reference
	problems []error
}

// A source is a file that was parsed.
type source struct {
	name   string
	syntax *ast.File
}

// folder finds the references in the packages of one folder: as a rule one,
// and one of tests.
func (s *finder) folder(files []string) {
	fset := token.NewFileSet()
	packages := map[string][]source{}
	for _, name := range files {
		text, err := read(s.fsys, name)
		if err != nil {
			s.problems = append(s.problems, flyball.FieldErrorf(name, "%v", bare(err)))
			continue
		}
		syntax, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
		if err != nil {
			s.problems = append(s.problems, flyball.FieldErrorf(name, "is no Go: %s", strings.TrimPrefix(err.Error(), name+":")))
			continue
		}
		packages[syntax.Name.Name] = append(packages[syntax.Name.Name], source{name, syntax})
	}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		s.find(fset, packages[name], constants(fset, packages[name]))
	}
}

// bare is an error without the path, which its field tells already.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// constants works out the constants of a package. The checker knows how: which
// name means which of them where, and what those made of others are. All that
// it does not know, such as what other packages hold, is no concern of ours.
func constants(fset *token.FileSet, files []source) (info types.Info) {
	info = types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	defer func() { recover() }() // a program that no compiler takes may be more than the checker can bear: literals still count
	config := types.Config{Importer: nowhere{}, Error: func(error) {}, FakeImportC: true, DisableUnusedImportCheck: true}
	syntax := make([]*ast.File, len(files))
	for i, f := range files {
		syntax[i] = f.syntax
	}
	config.Check(files[0].syntax.Name.Name, fset, syntax, &info)
	return info
}

// nowhere imports nothing.
type nowhere struct{}

func (nowhere) Import(path string) (*types.Package, error) {
	return nil, fmt.Errorf("%s is not looked at", path)
}

// find adds the references of a package.
func (s *finder) find(fset *token.FileSet, files []source, info types.Info) {
	for _, f := range files {
		add := func(e ast.Expr, key string) {
			line := fset.PositionFor(e.Pos(), false).Line // where it stands, whatever a line directive says
			s.found = append(s.found, flyball.Reference{Flag: key, File: f.name, Line: line})
		}
		ours := imports(f.syntax, ourPackages)
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				return false
			case *ast.Field:
				n.Tag = nil // is no string of the program
			case *ast.CallExpr:
				if at := keyOf(n, ours); at != nil && len(s.known) == 0 {
					if key, ok := text(at, info); ok && key != "" && len(key) <= maxKeyBytes {
						add(at, key)
					}
				}
			case ast.Expr:
				if len(s.known) > 0 {
					if key, ok := text(n, info); ok && s.known[key] {
						add(n, key)
					}
				}
			}
			return true
		})
	}
}

// maxKeyBytes is how long a key can be at most.
const maxKeyBytes = 128

// keyOf returns the argument of a call that is the key of the flag that the
// call reads; nil if it reads none.
func keyOf(call *ast.CallExpr, ours bool) ast.Expr {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	d, ok := doors[method.Sel.Name]
	if !ok || len(call.Args) < d.least || d.ours && !ours {
		return nil
	}
	return call.Args[d.key]
}

// text returns the value of an expression that is a constant string.
func text(e ast.Expr, info types.Info) (string, bool) {
	if v := info.Types[e].Value; v != nil && v.Kind() == constant.String {
		return constant.StringVal(v), true
	}
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, err := strconv.Unquote(e.Value)
			return s, err == nil
		}
	case *ast.Ident:
		if c, ok := info.Uses[e].(*types.Const); ok && c.Val().Kind() == constant.String {
			return constant.StringVal(c.Val()), true
		}
	case *ast.ParenExpr:
		return text(e.X, info)
	}
	return "", false
}

func imports(file *ast.File, packages []string) bool {
	for _, spec := range file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil && slices.Contains(packages, p) {
			return true
		}
	}
	return false
}
