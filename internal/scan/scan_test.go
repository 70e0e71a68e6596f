package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/flyballdev/flyball"
)

// Each file of testdata is a story: what is looked for (a line "known: …" of
// the comment), the sources, the references that are to be found, and the
// problems, if there are any.
func TestStories(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, name := range stories {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			story, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var known []string
			for line := range strings.Lines(string(story.Comment)) {
				if keys, ok := strings.CutPrefix(line, "known:"); ok {
					known = strings.Fields(keys)
				}
			}
			fsys, want := fstest.MapFS{}, map[string]string{}
			for _, f := range story.Files {
				if kind, ok := strings.CutPrefix(f.Name, "want "); ok {
					want[kind] = string(f.Data)
					continue
				}
				fsys[f.Name] = &fstest.MapFile{Data: f.Data}
			}
			found, err := Find(t.Context(), fsys, known)
			if diff := cmp.Diff(want["references"], list(found)); diff != "" {
				t.Errorf("references (-want +got):\n%s", diff)
			}
			var problems strings.Builder
			for _, p := range flyball.Problems(err) {
				fmt.Fprintf(&problems, "%v\n", p)
			}
			if diff := cmp.Diff(want["problems"], problems.String()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func list(found []flyball.Reference) string {
	var b strings.Builder
	for _, r := range found {
		fmt.Fprintf(&b, "%s:%d %s\n", r.File, r.Line, r.Flag)
	}
	return b.String()
}

const reads = "package a\n\nfunc f(c client) { c.BooleanValue(ctx, \"a.flag\", false, ec) }\n"

func TestALargeFileIsToldAndTheOthersAreScanned(t *testing.T) {
	fsys := fstest.MapFS{
		"just.go":  {Data: []byte(reads + "//" + strings.Repeat("x", maxFileBytes-len(reads)-2))},
		"large.go": {Data: []byte(reads + "//" + strings.Repeat("x", maxFileBytes-len(reads)-1))},
	}
	found, err := Find(t.Context(), fsys, nil)
	if got := list(found); got != "just.go:3 a.flag\n" {
		t.Errorf("found %q", got)
	}
	if p := flyball.Problems(err); len(p) != 1 || p[0].Field != "large.go" || !strings.Contains(p[0].Message, "larger than 1048576 bytes") {
		t.Errorf("problems: %v", err)
	}
}

func TestAFolderThatIsNotThereIsAnError(t *testing.T) {
	fsys := fstest.MapFS{}
	if found, err := Find(t.Context(), sub{fsys}, nil); err == nil || found != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, %v", found, err)
	}
}

// sub is a file system whose root is not there.
type sub struct{ fs.FS }

func (s sub) Open(name string) (fs.File, error) { return s.FS.Open("gone/" + name) }

func TestAScanThatIsCalledOffEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err := Find(ctx, fstest.MapFS{"a.go": {Data: []byte(reads)}}, nil); !errors.Is(err, context.Canceled) || found != nil {
		t.Errorf("got %v, %v", found, err)
	}
}

// FuzzFind reads anything as a program: it is refused with a reason or
// scanned, and never a panic.
func FuzzFind(f *testing.F) {
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range stories {
		story, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range story.Files {
			f.Add(string(file.Data), "a.flag")
		}
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		fsys := fstest.MapFS{"a.go": {Data: []byte(text)}}
		for _, known := range [][]string{nil, {key}} {
			found, err := Find(t.Context(), fsys, known)
			if err != nil && len(found) > 0 {
				t.Errorf("references in a file that is no Go: %v, %v", found, err)
			}
			for _, r := range found {
				if r.Line < 1 || r.Line > strings.Count(text, "\n")+1 || known != nil && r.Flag != key {
					t.Errorf("%+v is not in the text", r)
				}
			}
		}
	})
}
