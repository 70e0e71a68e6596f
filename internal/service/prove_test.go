package service

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/chain"
	"github.com/flyballdev/flyball/internal/store"
)

// A log that was edited behind the platform's back is told of loudly; flags are
// served and killed all the same.
func TestABrokenLogIsToldOfAndStopsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flyball.db")
	begin := func(log *slog.Logger) (*Service, context.Context, *store.DB) {
		db, err := store.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		ann := Principal{Actor: flyball.Actor{ID: "user:ann"}, Kind: flyball.TokenAPI, Rights: []flyball.Grants{flyball.Installation}}
		return must[*Service](t)(New(t.Context(), db, Options{Log: log})), WithPrincipal(t.Context(), ann), db
	}
	var told bytes.Buffer
	s, ctx, db := begin(slog.New(slog.NewTextHandler(&told, nil)))
	f := newFlag("shop.checkout.fast")
	f.Reason = "a reason that nobody else gives"
	must[FlagView](t)(s.CreateFlag(ctx, f))
	must[Configured](t)(s.EnableFlag(ctx, in(f.Key)))
	s.watchAudit(ctx, 0, nil)
	if h := s.AuditHealth(); h.Broken != nil || h.Seq != 3 || h.At.IsZero() || !strings.Contains(told.String(), "level=INFO") {
		t.Errorf("of an intact log it says %+v: %s", h, told.String())
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edited := bytes.ReplaceAll(whole, []byte(f.Reason), []byte(strings.Replace(f.Reason, "nobody", "anyone", 1)))
	if bytes.Equal(whole, edited) {
		t.Fatal("the reason is not in the file")
	}
	if err := os.WriteFile(path, edited, 0o600); err != nil {
		t.Fatal(err)
	}
	told.Reset()
	s, ctx, db = begin(slog.New(slog.NewTextHandler(&told, nil)))
	defer db.Close()
	s.watchAudit(ctx, 0, nil)
	if h := s.AuditHealth(); h.Broken == nil || h.Broken.Seq != 1 || h.Broken.Kind != chain.Edited || !strings.Contains(told.String(), "level=ERROR") {
		t.Errorf("of an edited log it says %+v: %s", h, told.String())
	}
	proof := must[Proof](t)(s.VerifyAudit(ctx, VerifyAudit{}))
	if proof.Intact || proof.Broken == nil || proof.Seq != 0 {
		t.Errorf("the proof: %+v", proof)
	}
	if k := must[Configured](t)(s.KillFlag(ctx, in(f.Key))); k.Killed == nil {
		t.Error("the flag is not killed")
	}
}

// The log is proved in parts, of which each takes the hash of the one before.
func TestTheLogIsProvedInParts(t *testing.T) {
	s, ctx := house(t)
	must[FlagView](t)(s.CreateFlag(ctx, newFlag("shop.checkout.fast")))
	for range 3 {
		must[Configured](t)(s.EnableFlag(ctx, in("shop.checkout.fast")))
		must[Configured](t)(s.DisableFlag(ctx, in("shop.checkout.fast")))
	}
	all := must[Proof](t)(s.VerifyAudit(ctx, VerifyAudit{}))
	if !all.Intact || all.Entries != 8 || all.More || all.Head != 8 {
		t.Fatalf("the whole: %+v", all)
	}
	first := must[Proof](t)(s.VerifyAudit(ctx, VerifyAudit{Limit: 5}))
	rest := must[Proof](t)(s.VerifyAudit(ctx, VerifyAudit{After: first.Seq, Hash: first.Hash}))
	if !first.More || first.Seq != 5 || rest.Hash != all.Hash || rest.Entries != 3 {
		t.Errorf("in parts: %+v, %+v", first, rest)
	}
	if p := must[Proof](t)(s.VerifyAudit(ctx, VerifyAudit{After: 5, Hash: all.Hash})); p.Intact || p.Broken.Kind != chain.Rewritten {
		t.Errorf("after another hash: %+v", p)
	}
	_, err := s.VerifyAudit(ctx, VerifyAudit{After: 99})
	wantCode(t, err, flyball.NotFound, "")
	if _, err := s.Checkpoint(ctx, None{}); flyball.CodeOf(err) != flyball.Unavailable {
		t.Errorf("without a seal it signs: %v", err)
	}
}
