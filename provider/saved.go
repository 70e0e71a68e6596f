package provider

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flyballdev/flyball/eval"
)

// saved keeps the last rulesets that worked in a folder. Each is a file of its
// own, written whole or not at all; a broken one leads to the one before.
type saved struct {
	dir    string // empty: nothing is kept
	prefix string // names server and token, so that no environment's flags are taken for another's
	latest chan *eval.Ruleset
}

const (
	generations = 4
	fileHeader  = "flyball ruleset, sha256 "
)

func newSaved(o Options) saved {
	sum := sha256.Sum256([]byte(o.Server + "\n" + o.Token))
	return saved{dir: o.DataDir, prefix: "ruleset-" + hex.EncodeToString(sum[:6]) + "-", latest: make(chan *eval.Ruleset, 1)}
}

// offer hands a ruleset to be saved, in place of one that still waits.
func (s saved) offer(rs *eval.Ruleset) {
	for {
		select {
		case s.latest <- rs:
			return
		default:
		}
		select {
		case <-s.latest:
		default:
		}
	}
}

// keep saves rulesets until ctx ends, and then the last one.
func (p *Provider) keep(ctx context.Context) {
	for {
		select {
		case rs := <-p.saved.latest:
			p.save(rs)
			continue
		case <-ctx.Done():
		}
		select {
		case rs := <-p.saved.latest:
			p.save(rs)
		default:
		}
		return
	}
}

func (p *Provider) save(rs *eval.Ruleset) {
	if err := p.saved.write(rs); err != nil {
		p.log.Warn("the ruleset cannot be saved", "error", err)
	}
}

// write saves a ruleset: what is served, with the definitions that were kept
// for flags that could not be read.
func (s saved) write(rs *eval.Ruleset) error {
	if s.dir == "" {
		return nil
	}
	body, err := json.Marshal(rs.Document())
	if err != nil {
		return fmt.Errorf("encode ruleset: %w", err)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	data := append([]byte(fileHeader+hex.EncodeToString(sum[:])+"\n"), body...)
	id := rs.ID()
	if err := writeFile(s.dir, fmt.Sprintf("%s%020d-%020d.json", s.prefix, id.Epoch, id.Version), data); err != nil {
		return err
	}
	return s.prune()
}

// writeFile writes a file so that a crash leaves the old one or the new one.
func writeFile(dir, name string, data []byte) (err error) {
	f, err := os.CreateTemp(dir, "."+name+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s saved) prune() error {
	files, err := s.files()
	if err != nil {
		return err
	}
	for _, file := range files[min(generations, len(files)):] {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// files returns the saved files, the newest ruleset first.
func (s saved) files() ([]string, error) {
	entries, err := os.ReadDir(s.dir) // sorted by name, and so by version
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var files []string
	for _, e := range slices.Backward(entries) {
		if strings.HasPrefix(e.Name(), s.prefix) && strings.HasSuffix(e.Name(), ".json") {
			files = append(files, filepath.Join(s.dir, e.Name()))
		}
	}
	return files, nil
}

// load returns the newest ruleset that works without reserve, or else the
// newest that works at all, and why newer ones do not.
func (s saved) load() (rs *eval.Ruleset, skipped []error) {
	if s.dir == "" {
		return nil, nil
	}
	files, err := s.files()
	if err != nil {
		return nil, []error{err}
	}
	for _, file := range files {
		got, clean, err := read(file)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("%s: %w", file, err))
		}
		if got != nil && clean {
			return got, skipped
		}
		if rs == nil {
			rs = got
		}
	}
	return rs, skipped
}

// read reads a saved ruleset; clean says that every part of it can be used.
func read(file string) (rs *eval.Ruleset, clean bool, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, eval.MaxDocumentBytes+256))
	if err != nil {
		return nil, false, err
	}
	header, body, _ := bytes.Cut(data, []byte("\n"))
	sum := sha256.Sum256(body)
	if string(header) != fileHeader+hex.EncodeToString(sum[:]) {
		return nil, false, errors.New("the file is damaged")
	}
	doc, err := eval.Decode(body)
	if err != nil {
		return nil, false, err
	}
	rs, problems := eval.Update(nil, doc)
	if len(problems) > 0 {
		return rs, false, problems[0]
	}
	return rs, true, nil
}
