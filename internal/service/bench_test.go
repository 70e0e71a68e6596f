package service

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// What one change of a flag costs among a thousand, from the call to the
// published ruleset and its patch.
func BenchmarkChangeAmong1000Flags(b *testing.B) {
	db, err := store.Open(b.Context(), filepath.Join(b.TempDir(), "flyball.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	s, err := New(b.Context(), db, Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx := WithPrincipal(context.Background(), Principal{Actor: flyball.Actor{ID: "user:ann"}, Kind: flyball.TokenAPI, Rights: []flyball.Grants{flyball.Installation}})
	var files Files
	for i := range 1000 {
		files.Flags = append(files.Flags, FlagFile{Flag: newFlag(fmt.Sprintf("shop.flag.n%04d", i)).Flag})
	}
	if _, err := s.ApplyFiles(ctx, Apply{Files: files, Reason: "a benchmark"}); err != nil {
		b.Fatal(err)
	}
	in := SetDefault{FlagIn: FlagIn{Key: "shop.flag.n0500", Environment: "production", Reason: "a benchmark"}}
	b.ResetTimer()
	for i := range b.N {
		in.Default.Variant = []string{"on", "off"}[i%2]
		if _, err := s.SetDefault(ctx, in); err != nil {
			b.Fatal(err)
		}
		head, _ := s.Published("production")
		if _, err := head.View(nil); err != nil {
			b.Fatal(err)
		}
	}
}
