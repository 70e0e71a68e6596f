package provider

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// patient makes a provider whose rulesets are promoted after d.
func patient(t *testing.T, s *server, dir string, d time.Duration) *Provider {
	t.Helper()
	p := newProvider(t, s, withDir(dir))
	p.pace.soak = d
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// on returns what a program would start from, and how far it has come.
func on(t *testing.T, s *server, dir string, edit ...func(*Options)) (version int64, as stage) {
	t.Helper()
	o := Options{Server: s.URL, Token: "fb_sdk_good", DataDir: dir}
	for _, e := range edit {
		e(&o)
	}
	rs, as, skipped := newSaved(o).load()
	if len(skipped) > 0 {
		t.Errorf("skipped %v", skipped)
	}
	if rs == nil {
		return 0, ""
	}
	return rs.ID().Version, as
}

// A program that a ruleset brings down before it has run a while starts from
// the one that ran; killed is what SIGKILL leaves, for Close promotes nothing.
func TestACrashBeforePromotion(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, ruleset(1, newFlag("team.a")))
	p := patient(t, s, dir, time.Hour)
	until(t, "a first candidate", func() bool { v, as := on(t, s, dir); return v == 1 && as == candidate })
	_ = p.Close(t.Context())

	p = patient(t, s, dir, 20*time.Millisecond)
	until(t, "version 1 promoted", func() bool { v, as := on(t, s, dir); return v == 1 && as == promoted })
	_ = p.Close(t.Context())

	p = patient(t, s, dir, time.Hour)
	off := newFlag("team.a")
	off.Enabled = false
	for v := int64(2); v < 9; v++ {
		s.publish(ruleset(v, off))
		until(t, "the candidate", func() bool {
			found, _ := newSaved(p.options).files(candidate, newSaved(p.options).owner)
			return len(found) > 0 && strings.HasSuffix(found[0], "0"+string(rune('0'+v))+".json")
		})
	}
	if v, as := on(t, s, dir); v != 1 || as != promoted {
		t.Errorf("after a crash with version 8 as candidate it starts from %d, %s", v, as)
	}
	_ = p.Close(t.Context())
	if v, as := on(t, s, dir); v != 1 || as != promoted {
		t.Errorf("stopped before the soak, it starts from %d, %s", v, as)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != generations[candidate]+1 {
		t.Errorf("%d files: %v", len(entries), entries)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}

	s.set(func() { s.down = 500 })
	s.CloseClientConnections()
	if p = patient(t, s, dir, time.Hour); p.Version().Version != 1 || p.variant("team.a") != "on" {
		t.Errorf("without the server: version %v", p.Version())
	}
}

// Stopped after the soak, a program starts from the newest; changes that come
// faster than a soak do not keep it from one.
func TestPromotionKeepsUpWithChanges(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, ruleset(1, newFlag("team.a")))
	p := patient(t, s, dir, 200*time.Millisecond)
	last := int64(1)
	until(t, "a promotion while flags change all the time", func() bool {
		last++
		s.publish(ruleset(last, newFlag("team.a")))
		v, as := on(t, s, dir)
		return as == promoted && v > 1
	})
	until(t, "the newest promoted", func() bool { v, as := on(t, s, dir); return as == promoted && v == last })
	_ = p.Close(t.Context())
	if v, as := on(t, s, dir); v != last || as != promoted {
		t.Errorf("it starts from %d, %s, want %d", v, as, last)
	}
	if files, err := newSaved(p.options).files(promoted, newSaved(p.options).owner); err != nil || len(files) > generations[promoted] {
		t.Errorf("promoted are %v, %v", files, err)
	}
}

// A ruleset that evaluation panicked with is not promoted.
func TestATroubledRulesetIsNotPromoted(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, ruleset(1, newFlag("team.a")))
	p := newProvider(t, s, withDir(dir))
	p.pace.soak = 500 * time.Millisecond
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := p.evaluate("team.a", user("u"), func(any) bool { panic("a bug") })
	if r.ErrorCode != flyball.ErrorGeneral {
		t.Errorf("a panic became %+v", r)
	}
	s.publish(ruleset(2, newFlag("team.a")))
	until(t, "the next one promoted", func() bool { v, as := on(t, s, dir); return v == 2 && as == promoted })
	if files, err := newSaved(p.options).files(promoted, newSaved(p.options).owner); err != nil || len(files) != 1 {
		t.Errorf("promoted are %v, %v", files, err)
	}
}

// A rotated token starts from what the one before saved, if the caller has
// named the environment; never from another environment or another server.
func TestARotatedToken(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, ruleset(1, newFlag("team.a")))
	of := func(token, environment string) func(*Options) {
		return func(o *Options) { o.Token, o.Environment = token, environment }
	}
	staging := ruleset(90, newFlag("team.a"))
	staging.Environment = "staging"
	save(t, Options{Server: s.URL, Token: "old", DataDir: dir}, ruleset(7, newFlag("team.a")), ruleset(8, newFlag("team.a")))
	save(t, Options{Server: s.URL, Token: "staging", DataDir: dir}, staging)
	save(t, Options{Server: "http://elsewhere", Token: "old", DataDir: dir}, ruleset(99, newFlag("team.a")))
	for _, tt := range []struct {
		token, environment string
		want               int64
	}{
		{"new", "production", 8}, {"new", "staging", 90}, {"new", "", 0}, {"new", "test", 0},
		{"old", "", 8}, {"old", "production", 8},
	} {
		if v, _ := on(t, s, dir, of(tt.token, tt.environment)); v != tt.want {
			t.Errorf("token %s, environment %q: version %d, want %d", tt.token, tt.environment, v, tt.want)
		}
	}
	save(t, Options{Server: s.URL, Token: "new", DataDir: dir}, ruleset(3, newFlag("team.a")))
	if v, _ := on(t, s, dir, of("new", "production")); v != 3 {
		t.Errorf("a token with files of its own starts from version %d, want 3", v)
	}
}
