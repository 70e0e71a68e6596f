package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
)

// nowhere is an address that refuses connections.
func nowhere(o *Options) { o.Server = "http://127.0.0.1:1" }

// save writes rulesets as a provider with these options would.
func save(t *testing.T, o Options, docs ...flyball.Ruleset) {
	t.Helper()
	for _, doc := range docs {
		rs, err := eval.Compile(doc)
		if err != nil {
			t.Fatal(err)
		}
		if err := newSaved(o).write(promoted, rs); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAProgramStartsWithoutTheServer(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, ruleset(1, newFlag("team.a")))
	first := started(t, s, withDir(dir))
	s.publish(ruleset(2, newFlag("team.a"), newFlag("team.b")))
	until(t, "version 2", func() bool { return first.Version().Version == 2 })
	if err := first.Close(t.Context()); err != nil {
		t.Error(err)
	}
	s.set(func() { s.down = 500 })
	s.CloseClientConnections()

	second := started(t, s, withDir(dir))
	if second.variant("team.b") != "on" || second.Version().Version != 2 {
		t.Errorf("%s at %v", second.variant("team.b"), second.Version())
	}
	until(t, "stale", func() bool { return second.Err() != nil })
	s.set(func() { s.down = 0 })
	until(t, "up to date", func() bool { return second.Err() == nil })
}

// The saved rulesets of one server and token are not taken for another's.
func TestEnvironmentsDoNotMix(t *testing.T) {
	dir := t.TempDir()
	save(t, Options{Server: "http://127.0.0.1:1", Token: "fb_sdk_other", DataDir: dir}, ruleset(900, newFlag("team.a")))
	s := newServer(t, ruleset(1, newFlag("team.b")))
	p := started(t, s, withDir(dir))
	if p.Version().Version != 1 || p.variant("team.b") != "on" {
		t.Errorf("version %v", p.Version())
	}
}

func TestSavedFilesArePrivateAndFew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "[er]")
	o := Options{Server: "http://x", Token: "fb_sdk_secret", DataDir: dir}
	for v := range int64(12) {
		save(t, o, ruleset(v, newFlag("team.a")))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != generations[promoted] {
		t.Fatalf("%d files, want %d (%v)", len(entries), generations[promoted], err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 || strings.Contains(e.Name(), "secret") {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if rs, _, skipped := newSaved(o).load(); rs == nil || rs.ID().Version != 11 || len(skipped) > 0 {
		t.Errorf("loaded %v, skipped %v", rs.ID(), skipped)
	}
}

// A file that is damaged in any way leads to the one before; no damage is ever
// served, and none crashes the program.
func TestDamageLeadsToTheRulesetBefore(t *testing.T) {
	dir := t.TempDir()
	o := Options{Server: "http://x", Token: "t", DataDir: dir}
	save(t, o, ruleset(1, newFlag("team.a")), ruleset(2, newFlag("team.a"), newFlag("team.b")))
	files, err := newSaved(o).files(promoted, newSaved(o).owner)
	if err != nil {
		t.Fatal(err)
	}
	newest := files[0]
	whole, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		damaged := bytes.Clone(whole)
		switch i % 4 {
		case 0:
			damaged = damaged[:random.IntN(len(damaged))]
		case 1:
			at := random.IntN(len(damaged))
			clear(damaged[at:min(at+512, len(damaged))])
		default:
			damaged[random.IntN(len(damaged))] ^= 1 << random.IntN(8)
		}
		if err := os.WriteFile(newest, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		rs, _, skipped := newSaved(o).load()
		if rs == nil || rs.ID().Version != 1 || len(skipped) != 1 {
			t.Fatalf("damage %d: loaded %v, skipped %v", i, rs, skipped)
		}
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	if rs, _, skipped := newSaved(o).load(); rs != nil || len(skipped) != 1 {
		t.Errorf("with nothing left: %v, %v", rs, skipped)
	}
}

// A flag that could not be read is saved as it is served.
func TestWhatIsServedIsWhatIsSaved(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, ruleset(1, newFlag("team.a")))
	p := started(t, s, withDir(dir))
	s.publishJSON(flyball.RulesetID{Epoch: 1, Version: 2}, `{"environment":"production","epoch":1,"version":2,"flags":[{"key":"team.a","enabled":true,"rules":7}]}`)
	until(t, "version 2", func() bool { return p.Version().Version == 2 })
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	rs, _, skipped := newSaved(Options{Server: s.URL, Token: "fb_sdk_good", DataDir: dir}).load()
	if rs == nil || len(skipped) > 0 || rs.ID().Version != 2 || rs.Evaluate("team.a", nil, nil, nil).Variant != "on" {
		t.Errorf("loaded %v, skipped %v", rs, skipped)
	}
}

func TestAFolderThatCannotBeWrittenHarmsNobody(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := started(t, newServer(t, ruleset(1, newFlag("team.a"))), withDir(filepath.Join(file, "under")))
	if p.variant("team.a") != "on" {
		t.Errorf("served %q", p.variant("team.a"))
	}
}

// The first correct evaluation of a program whose server is dead, with a
// thousand flags and a megabyte, takes a small multiple of what it takes to
// decode the document alone. Both are timed in one run, since machines differ: on
// most, a start takes well below a tenth of a second.
func TestAColdStartIsFast(t *testing.T) {
	var flags []flyball.RulesetFlag
	for i := range 1000 {
		f := newFlag(fmt.Sprintf("team.domain.flag-%04d", i))
		for j := range 3 {
			f.Rules = append(f.Rules, flyball.Rule{ID: fmt.Sprint("rule-", j), Serve: flyball.Serve{Variant: "off"}, If: flyball.Condition{All: []flyball.Condition{
				{Attribute: "country", Op: flyball.OpIn, Values: flyball.Values{"XX", "YY"}},
				{Attribute: "email", Op: flyball.OpEndsWith, Values: flyball.Values{"@example.com"}},
			}}})
		}
		flags = append(flags, f)
	}
	o := Options{Server: "http://127.0.0.1:1", Token: "fb_sdk_good", DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	doc := ruleset(1, flags...)
	save(t, o, doc)
	encoded, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	const atMost = 5
	start, decode := time.Hour, time.Hour
	ratio := func() float64 { return float64(start) / float64(decode) }
	for n := 0; n < 3 || n < 30 && ratio() > atMost; n++ {
		began := processorTime(t)
		if err := json.Unmarshal(encoded, new(flyball.Ruleset)); err != nil {
			t.Fatal(err)
		}
		decode = min(decode, processorTime(t)-began)

		p, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		began = processorTime(t)
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p.variant("team.domain.flag-0500") != "on" {
			t.Errorf("served %q", p.variant("team.domain.flag-0500"))
		}
		start = min(start, processorTime(t)-began)
		_ = p.Close(t.Context())
		if raceEnabled {
			return // instrumented code has other ratios
		}
	}
	t.Logf("cold start: %v, %.1f times the %v of decoding", start, ratio(), decode)
	if ratio() > atMost {
		t.Errorf("a cold start took %.1f times as long as decoding the document, at most %d", ratio(), atMost)
	}
	if files, err := newSaved(o).files(promoted, newSaved(o).owner); err != nil || len(files) != 1 || !slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, "-00000000000000000001.json") }) {
		t.Errorf("files %v, %v", files, err)
	}
}

// processorTime returns the time that this process has used, which, unlike the
// clock, does not count what else the machine does.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
