package provider

import (
	"bytes"
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
	"time"

	"github.com/flyballdev/flyball/eval"
)

// saved keeps rulesets in a folder. Each is a file of its own, written whole or
// not at all; a broken one leads to the one before.
//
// A ruleset is first a candidate, and is promoted when the program has run on
// for a while since it came into force. A program starts from what was
// promoted, and from a candidate only if nothing was: one that a ruleset brings
// down at once, again and again, starts each time from the one before.
//
// Files belong to a server and a token, since a token's environment and what
// it may see of it are known to the server alone. Those of another token of
// the server, such as the one before a rotation, are used only if the token
// has none and the caller has named the environment, which each file names too.
type saved struct {
	dir         string // empty: nothing is kept
	server      string // names the server
	owner       string // names server and token, so that no environment's flags are taken for another's
	environment string // whose files of other tokens may be used; empty: none
	latest      chan *eval.Ruleset
}

// A stage is how far a saved ruleset has come. It begins its file's name.
type stage string

const (
	candidate stage = "candidate-"
	promoted  stage = "ruleset-"
)

// generations is how many files of a stage are kept.
var generations = map[stage]int{candidate: 2, promoted: 4}

const fileHeader = "flyball ruleset, sha256 "

func newSaved(o Options) saved {
	server := short(strings.TrimSuffix(o.Server, "/"))
	return saved{
		dir: o.DataDir, server: server, owner: server + "-" + short(o.Token), environment: o.Environment,
		latest: make(chan *eval.Ruleset, 1),
	}
}

// short returns a name for s that does not tell s.
func short(s string) string {
	sum := sha256.Sum256([]byte("flyball saved\n" + s))
	return hex.EncodeToString(sum[:6])
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

// keep saves rulesets as candidates until none follows, and promotes one when the
// program has run on for pace.soak since it came into force. One that was
// replaced meanwhile is promoted too: where flags change every few seconds, no
// ruleset is in force for long.
func (p *Provider) keep(followed <-chan struct{}) {
	soak := time.NewTimer(p.pace.soak)
	soak.Stop()
	defer soak.Stop()
	var soaking, newest *eval.Ruleset
	take := func(rs *eval.Ruleset) {
		p.save(candidate, rs)
		if newest = rs; soaking == nil {
			soaking = rs
			soak.Reset(p.pace.soak)
		}
	}
	for {
		select {
		case rs := <-p.saved.latest:
			take(rs)
		case <-soak.C:
			if p.troubled.Load() != soaking {
				p.save(promoted, soaking)
			}
			if soaking == newest {
				soaking = nil
				continue
			}
			soaking = newest
			soak.Reset(p.pace.soak)
		case <-followed: // nothing comes any more, save for what came last
			select {
			case rs := <-p.saved.latest:
				take(rs)
			default:
			}
			return
		}
	}
}

func (p *Provider) save(as stage, rs *eval.Ruleset) {
	if err := p.saved.write(as, rs); err != nil {
		p.log.Warn("the ruleset cannot be saved", "error", err)
	}
}

// write saves a ruleset: what is served, with the definitions that were kept
// for flags that could not be read.
func (s saved) write(as stage, rs *eval.Ruleset) error {
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
	name := fmt.Sprintf("%s-%020d-%020d.json", s.owner, id.Epoch, id.Version)
	if err := writeFile(s.dir, string(as)+name, data); err != nil {
		return err
	}
	if as == promoted { // it is a candidate no more
		if err := os.Remove(filepath.Join(s.dir, string(candidate)+name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return s.prune(as)
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

// prune removes what is older than the last generations of a stage.
func (s saved) prune(as stage) error {
	files, err := s.files(as, s.owner)
	if err != nil {
		return err
	}
	for _, file := range files[min(generations[as], len(files)):] {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// files returns the saved files of a stage and an owner, the newest ruleset
// first. An owner that is a server alone has the files of all its tokens.
func (s saved) files(as stage, owner string) ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), string(as)+owner+"-") && strings.HasSuffix(e.Name(), ".json") {
			names = append(names, e.Name())
		}
	}
	version := func(name string) string { // epoch and version, of a fixed width
		return name[max(0, len(name)-len("-.json")-40):]
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(version(b), version(a)) })
	for i, name := range names {
		names[i] = filepath.Join(s.dir, name)
	}
	return names, nil
}

// load returns the ruleset to start from, how far it has come, and why others
// that come first cannot be used.
func (s saved) load() (rs *eval.Ruleset, as stage, skipped []error) {
	if s.dir == "" {
		return nil, "", nil
	}
	owners := []string{s.owner}
	if s.environment != "" {
		owners = append(owners, s.server)
	}
	for _, owner := range owners {
		for _, as := range []stage{promoted, candidate} {
			rs, errs := s.newest(as, owner)
			skipped = append(skipped, errs...)
			if rs != nil {
				return rs, as, skipped
			}
		}
	}
	return nil, "", skipped
}

// newest returns the newest ruleset of a stage that works without reserve, or
// else the newest that works at all, and why newer ones do not.
func (s saved) newest(as stage, owner string) (rs *eval.Ruleset, skipped []error) {
	files, err := s.files(as, owner)
	if err != nil {
		return nil, []error{err}
	}
	for _, file := range files {
		if owner != s.owner && strings.HasPrefix(filepath.Base(file), string(as)+s.owner+"-") {
			continue // it was looked at before
		}
		got, clean, err := read(file)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("%s: %w", file, err))
		}
		if got != nil && owner != s.owner && got.Environment() != s.environment {
			continue
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
