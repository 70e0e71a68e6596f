// Package scan reads programs and finds where they read flags, so that a flag
// whose time is over can be taken out of the code as well.
//
// It works on syntax trees, never on text: a key in a comment is no reference,
// and a key that a constant holds is one wherever the constant is used.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/flyballdev/flyball"
)

// Limits of a scan.
const (
	maxFileBytes = 1 << 20
	maxFiles     = 200_000
)

// Find returns the references to flags in the Go sources of a folder, in the
// order of their files and lines, one for each flag and line.
//
// If known names flags, these are looked for: wherever one is read through an
// OpenFeature client or through our provider, and wherever else a string of
// the program equals its key. If it is empty, every key that is read through
// one of these doors is told, be there a flag or not. Keys that only a running
// program knows are not found.
//
// Folders named vendor, node_modules or testdata, and those that begin with a
// dot or an underscore, are not looked into; whoever means one of them scans
// it by itself. A file that is larger than 1 MiB or is no Go is told in the
// error, as a [flyball.Error] whose field is the file, and does not keep the
// references of all others from being returned.
func Find(ctx context.Context, fsys fs.FS, known []string) ([]flyball.Reference, error) {
	folders, err := sources(ctx, fsys)
	if err != nil {
		return nil, err
	}
	s := finder{fsys: fsys, known: make(map[string]bool, len(known))}
	for _, key := range known {
		s.known[key] = true
	}
	for _, folder := range folders {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.folder(folder)
	}
	slices.SortFunc(s.found, compare)
	return slices.Compact(s.found), errors.Join(s.problems...)
}

func compare(a, b flyball.Reference) int {
	if c := strings.Compare(a.File, b.File); c != 0 {
		return c
	}
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return strings.Compare(a.Flag, b.Flag)
}

// sources returns the paths of all Go files, by folder.
func sources(ctx context.Context, fsys fs.FS) ([][]string, error) {
	at := map[string]int{}
	var folders [][]string
	count := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && skipped(d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" || !d.Type().IsRegular() {
			return nil
		}
		if count++; count > maxFiles {
			return flyball.Errorf(flyball.TooLarge, "more than %d Go files: scan a part of the folder", maxFiles)
		}
		dir := path.Dir(name)
		i, seen := at[dir]
		if !seen {
			i = len(folders)
			at[dir] = i
			folders = append(folders, nil)
		}
		folders[i] = append(folders[i], name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for Go files: %w", err)
	}
	return folders, nil
}

func skipped(folder string) bool {
	switch folder {
	case "vendor", "node_modules", "testdata":
		return true
	}
	return folder[0] == '.' || folder[0] == '_'
}

// read returns a file's text, if it is not too large.
func read(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(text) > maxFileBytes {
		err = fmt.Errorf("is larger than %d bytes and was not scanned", maxFileBytes)
	}
	return text, err
}
