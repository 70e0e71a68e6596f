package flyball_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the path of the module; rooms are named relative to it, and the
// root is ".".
const module = "github.com/flyballdev/flyball"

// floors are the floors of the house, from the ground up. A room may import
// only rooms of the floors below its own: those of one floor are peers, which
// do not know each other.
var floors = [][]string{
	{"."}, // the language
	{"eval", "internal/stats", "internal/scan", "internal/prometheus", "internal/pgtest", "internal/corpus", "internal/chain", "dashboard"},
	{"internal/rollout", "internal/store", "internal/flagd", "provider"},
	{"internal/service", "internal/ingest", "internal/notify"},
	{"internal/api"},
	{"internal/app"},
	{"internal/cli"},
	{"cmd/flyball"},
}

// narrow lists the rooms that may import fewer of ours than their floor allows.
var narrow = map[string][]string{
	"provider":            {".", "eval"}, // other people's programs link it
	"dashboard":           {},            // speaks only the public API
	"internal/flagd":      {".", "eval"},
	"internal/pgtest":     {},
	"internal/corpus":     {},
	"internal/prometheus": {},
	"cmd/flyball":         {"internal/cli"},
}

// pure rooms do nothing but compute: they touch nothing outside, and what time
// it is they are told.
var pure = []string{".", "eval", "internal/stats", "internal/chain"}

// only says who may import what few may know.
var only = map[string][]string{
	"database/sql":           {"internal/store"},
	"google.golang.org/grpc": {"internal/flagd"},
	"net/http":               {"internal/api", "internal/app", "internal/cli", "internal/notify", "internal/prometheus", "provider", "dashboard"},
}

// interfacesAtMost is how many interfaces of our own the program has. Each has
// two real implementations, and lives with its caller.
const interfacesAtMost = 6

// linesAtMost is how long a file may be.
const linesAtMost = 600

func TestImportsPointDown(t *testing.T) {
	floorOf := map[string]int{}
	for i, rooms := range floors {
		for _, room := range rooms {
			floorOf[room] = i
		}
	}
	for _, p := range packages(t) {
		at, ok := floorOf[p.room()]
		if !ok {
			t.Errorf("%s has no floor: give it one in arch_test.go", p.ImportPath)
			continue
		}
		for _, other := range p.ours() {
			switch below, known := floorOf[other]; {
			case !known || below < at: // a room without a floor is told above
			case below == at:
				t.Errorf("%s imports %s, its peer: what both need is a noun of the root, or belongs to one of them", p.room(), other)
			default:
				t.Errorf("%s imports %s, which stands higher", p.room(), other)
			}
			if allowed, ok := narrow[p.room()]; ok && !slices.Contains(allowed, other) {
				t.Errorf("%s imports %s; of ours it may know only %v", p.room(), other, allowed)
			}
			if other == "internal/pgtest" {
				t.Errorf("%s imports %s, which is for tests", p.room(), other)
			}
		}
	}
}

func TestOnlyAFewKnowDatabasesAndHTTP(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			for what, rooms := range only {
				if (imported == what || strings.HasPrefix(imported, what+"/")) && !slices.Contains(rooms, p.room()) {
					t.Errorf("%s imports %s; only %v may", p.room(), imported, rooms)
				}
			}
		}
	}
}

func TestTheLowestFloorsArePure(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.Contains(pure, p.room()) {
			continue
		}
		for _, imported := range p.Imports {
			first, _, _ := strings.Cut(imported, "/")
			switch {
			case imported == "net/netip", imported == "net/url": // values, no network
			case slices.Contains([]string{"net", "os", "log", "database", "syscall"}, first), imported == "math/rand", imported == "math/rand/v2", imported == "crypto/rand":
				t.Errorf("%s imports %s, and is to be pure", p.room(), imported)
			}
		}
	}
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}
	for _, f := range sources(t) {
		if f.test || !slices.Contains(pure, f.room) {
			continue
		}
		for _, use := range f.uses("time") {
			if slices.Contains(clock, use.Sel.Name) {
				t.Errorf("%s: time.%s in a pure room: take the time as a parameter", f.at(use), use.Sel.Name)
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: a goroutine in a pure room", f.at(g))
			}
			return true
		})
	}
}

// A user's program links the provider, and with it nothing but the OpenFeature
// SDK and what that needs itself.
func TestTheProviderBringsNothingButTheSDK(t *testing.T) {
	const sdk = "github.com/open-feature/go-sdk"
	allowed := append(modules(t, sdk+"/openfeature"), module, sdk)
	for _, m := range modules(t, module+"/provider") {
		if !slices.Contains(allowed, m) {
			t.Errorf("the provider needs the module %s", m)
		}
	}
}

func TestOnlyTheCommandExits(t *testing.T) {
	for _, f := range sources(t) {
		if f.syntax.Name.Name == "main" || f.test { // a test's binary is a command too
			continue
		}
		for _, use := range f.uses("os") {
			if use.Sel.Name == "Exit" {
				t.Errorf("%s: os.Exit; return an error", f.at(use))
			}
		}
		for _, use := range f.uses("log") {
			if strings.HasPrefix(use.Sel.Name, "Fatal") || strings.HasPrefix(use.Sel.Name, "Panic") {
				t.Errorf("%s: log.%s; return an error", f.at(use), use.Sel.Name)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	said := map[string]bool{}
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		doc := f.syntax.Doc.Text()
		said[f.room] = said[f.room] || f.syntax.Name.Name == "main" && doc != "" || strings.HasPrefix(doc, "Package "+f.syntax.Name.Name+" ")
	}
	for room, ok := range said {
		if !ok {
			t.Errorf("%s: no file opens with a comment \"Package … is …\"", room)
		}
	}
}

// What other people's programs can use says what it is.
func TestEveryExportedNameOutsideInternalIsDocumented(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || f.syntax.Name.Name == "main" || strings.HasPrefix(f.room, "internal/") {
			continue
		}
		for _, d := range f.syntax.Decls {
			for _, name := range undocumented(d) {
				t.Errorf("%s: %s has no doc comment", f.at(name), name.Name)
			}
		}
	}
}

// undocumented returns the exported names that a declaration gives without a
// comment. A comment on a group speaks for its constants and variables, not
// for its types.
func undocumented(d ast.Decl) (names []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || receiver(d).IsExported()) {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
					names = append(names, s.Name)
				}
			case *ast.ValueSpec:
				for _, name := range s.Names {
					if name.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
						names = append(names, name)
					}
				}
			}
		}
	}
	return names
}

func receiver(d *ast.FuncDecl) (name *ast.Ident) {
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == nil {
			name = id
		}
		return name == nil
	})
	return name
}

func TestNoPackageIsNamedForWhatItIsNot(t *testing.T) {
	for _, f := range sources(t) {
		switch name := strings.TrimSuffix(f.syntax.Name.Name, "_test"); name {
		case "util", "utils", "common", "shared", "misc", "base", "types", "model", "models", "helper", "helpers", "manager", "managers", "pkg", "lib", "core":
			t.Errorf("%s: package %s: name it for what it does", f.path, name)
		}
	}
}

func TestInterfacesAreFew(t *testing.T) {
	var found []string
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok {
				if _, ok := s.Type.(*ast.InterfaceType); ok {
					found = append(found, fmt.Sprintf("%s: %s", f.at(s), s.Name.Name))
				}
			}
			return true
		})
	}
	if len(found) > interfacesAtMost {
		t.Errorf("%d interfaces of our own, at most %d:\n%s", len(found), interfacesAtMost, strings.Join(found, "\n"))
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, f := range sources(t) {
		if f.lines > linesAtMost {
			t.Errorf("%s has %d lines, at most %d: it wants a second noun", f.path, f.lines, linesAtMost)
		}
	}
}

// A listed is a package as "go list" tells it.
type listed struct {
	ImportPath string
	Imports    []string
}

func (p listed) room() string { return room(p.ImportPath) }

// ours are the rooms that the package imports.
func (p listed) ours() (rooms []string) {
	for _, imported := range p.Imports {
		if imported == module || strings.HasPrefix(imported, module+"/") {
			rooms = append(rooms, room(imported))
		}
	}
	return rooms
}

func room(importPath string) string {
	return path.Clean(strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/"))
}

var listAll = sync.OnceValues(func() (all []listed, err error) {
	out, err := golist("-e", "-json=ImportPath,Imports", "./...") // -e: what does not build yet has imports all the same
	if err != nil {
		return nil, err
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

func packages(t *testing.T) []listed {
	t.Helper()
	all, err := listAll()
	if err != nil || len(all) < 2 {
		t.Fatalf("list the packages: %d found, %v", len(all), err)
	}
	return all
}

// modules returns the modules that a package needs, itself and all it imports.
func modules(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := golist("-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", pkg)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(out))
	slices.Sort(names)
	return slices.Compact(names)
}

func golist(args ...string) ([]byte, error) {
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("go list %s: %s", strings.Join(args, " "), e.Stderr)
	}
	return out, err
}

// A source is a Go file of the module.
type source struct {
	path   string
	room   string
	test   bool
	lines  int
	fset   *token.FileSet
	syntax *ast.File
}

func (s source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(n.Pos()).Line)
}

// uses returns where the file names something of an imported package.
func (s source) uses(pkg string) (found []*ast.SelectorExpr) {
	name := ""
	for _, spec := range s.syntax.Imports {
		if p, _ := strconv.Unquote(spec.Path.Value); p == pkg {
			if name = path.Base(pkg); spec.Name != nil {
				name = spec.Name.Name
			}
		}
	}
	if name == "" {
		return nil
	}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == name {
				found = append(found, sel)
			}
		}
		return true
	})
	return found
}

var readAll = sync.OnceValues(func() (all []source, err error) {
	err = filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			elsewhere := d.Name() == "testdata" || d.Name() == "node_modules" || name == "bench" // a module of its own
			if name != "." && (elsewhere || strings.HasPrefix(d.Name(), ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		s := source{path: name, room: path.Dir(filepath.ToSlash(name)), test: strings.HasSuffix(name, "_test.go"), lines: bytes.Count(text, []byte("\n")), fset: token.NewFileSet()}
		if s.syntax, err = parser.ParseFile(s.fset, name, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return err
		}
		all = append(all, s)
		return nil
	})
	return all, err
})

func sources(t *testing.T) []source {
	t.Helper()
	all, err := readAll()
	if err != nil || len(all) < 10 {
		t.Fatalf("read the sources: %d found, %v", len(all), err)
	}
	return all
}
