package service

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/chain"
	"github.com/flyballdev/flyball/internal/store"
)

// VerifyAudit says which part of the audit log is to be proved.
type VerifyAudit struct {
	After int64  `json:"after,omitempty" minimum:"0" doc:"only entries after this one (default: from the first on)"`
	Hash  string `json:"hash,omitempty" doc:"the hash that entry must have" maxLength:"64"`
	Limit int    `json:"limit,omitempty" minimum:"0" maximum:"100000" doc:"how many at most (default 100000)"`
}

// A Proof tells how far the audit log proves itself.
type Proof struct {
	Installation string       `json:"installation" doc:"whose log it is"`
	Intact       bool         `json:"intact" doc:"whether each entry is what was written, in its place"`
	Broken       *chain.Break `json:"broken,omitempty" doc:"where it is not"`
	Entries      int64        `json:"entries" doc:"how many were proved"`
	Seq          int64        `json:"seq" doc:"the last of them"`
	Hash         string       `json:"hash" doc:"the hash of that one"`
	Head         int64        `json:"head" doc:"the latest entry of the log"`
	More         bool         `json:"more,omitempty" doc:"whether there are further entries"`
}

const provedAtOnce = 100_000

// VerifyAudit proves the audit log, or a part of it: that no entry was edited,
// taken out, put elsewhere or cut off behind the platform's back.
func (s *Service) VerifyAudit(ctx context.Context, in VerifyAudit) (out Proof, err error) {
	if _, err := principalOf(ctx); err != nil {
		return out, err
	}
	if in.Limit == 0 {
		in.Limit = provedAtOnce
	}
	select { // one proof at a time, so that they take no more than one processor
	case s.proving <- struct{}{}:
		defer func() { <-s.proving }()
	case <-ctx.Done():
		return out, ctx.Err()
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		w, err := tx.WalkAudit(in.After)
		if err != nil {
			return err
		}
		out = Proof{}
		if out.Installation, err = tx.Installation(); err != nil {
			return err
		}
		if out.Head, err = tx.LastAudit(); err != nil {
			return err
		}
		if in.Hash != "" && w.Hash != in.Hash {
			out.Broken = &chain.Break{Seq: in.After, Kind: chain.Rewritten, Why: "its hash is another than before"}
		} else if out.More, out.Broken, err = tx.ProveAudit(&w, in.Limit); err != nil {
			return err
		}
		out.Seq, out.Hash, out.Entries, out.Intact = w.Seq, w.Hash, w.Seq-in.After, out.Broken == nil
		return nil
	})
	return out, err
}

// Checkpoint signs a statement of what the audit log's latest entry is. Whoever
// keeps it can tell later whether the log up to there is what it was.
func (s *Service) Checkpoint(ctx context.Context, _ None) (c chain.Checkpoint, err error) {
	key, err := s.auditKey(ctx)
	if err != nil {
		return c, err
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		if c.Installation, err = tx.Installation(); err != nil {
			return err
		}
		if c.Seq, err = tx.LastAudit(); err != nil {
			return err
		}
		w, err := tx.WalkAudit(c.Seq)
		c.Hash = w.Hash
		return err
	})
	c.At = now()
	return c.Sign(key), err
}

// An AuditKey is the public half of the key that signs checkpoints.
type AuditKey struct {
	Installation string `json:"installation" doc:"whose log it signs"`
	ID           string `json:"id" doc:"as checkpoints name it"`
	PublicKey    string `json:"publicKey" doc:"Ed25519, in base64"`
}

// AuditKey returns the key by which checkpoints are checked.
func (s *Service) AuditKey(ctx context.Context, _ None) (out AuditKey, err error) {
	key, err := s.auditKey(ctx)
	if err != nil {
		return out, err
	}
	public := key.Public().(ed25519.PublicKey)
	out.ID, out.PublicKey = chain.KeyID(public), base64.StdEncoding.EncodeToString(public)
	err = s.db.View(ctx, func(tx *store.Tx) error {
		out.Installation, err = tx.Installation()
		return err
	})
	return out, err
}

const (
	auditKeySetting = "auditKey"
	auditKeyPlace   = "the audit log's key"
)

// auditKey returns the key that signs checkpoints, which is made when it is
// first asked for and kept sealed.
func (s *Service) auditKey(ctx context.Context) (key ed25519.PrivateKey, err error) {
	if _, err := principalOf(ctx); err != nil {
		return nil, err
	}
	if s.seal == nil {
		return nil, flyball.Errorf(flyball.Unavailable, "this server keeps no secrets, and so it signs nothing")
	}
	read := func(tx *store.Tx) (found bool, err error) {
		text, found, err := tx.Setting(auditKeySetting)
		if err != nil || !found {
			return false, err
		}
		sealed, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return true, fmt.Errorf("read the audit log's key: %w", err)
		}
		seed, err := s.seal.Open(sealed, auditKeyPlace)
		if err == nil && len(seed) != ed25519.SeedSize {
			err = errors.New("the audit log's key has not the length of one")
		}
		if err == nil {
			key = ed25519.NewKeyFromSeed(seed)
		}
		return true, err
	}
	found := false
	err = s.db.View(ctx, func(tx *store.Tx) error {
		found, err = read(tx)
		return err
	})
	if err != nil || found {
		return key, err
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		if found, err := read(tx); err != nil || found { // another was quicker
			return err
		}
		_, key, err = ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		sealed, err := s.seal.Seal(key.Seed(), auditKeyPlace)
		if err != nil {
			return err
		}
		return tx.PutSetting(auditKeySetting, base64.StdEncoding.EncodeToString(sealed))
	})
	return key, err
}

// ExportAudit calls write with lines of the audit log after an entry, in order,
// some at a time, until there are no more; write may be slow. A token that is
// limited to some flags may not have the whole log, and parts of it prove
// nothing.
func (s *Service) ExportAudit(ctx context.Context, after int64, write func(lines []byte) error) error {
	p, err := principalOf(ctx)
	if err != nil {
		return err
	}
	if len(p.Flags) > 0 {
		return flyball.Errorf(flyball.Forbidden, "this token is limited to some flags, and an export holds all: use another, or list entries")
	}
	const atOnce = 1 << 20
	for {
		var lines []byte
		err := s.db.View(ctx, func(tx *store.Tx) error {
			lines = lines[:0]
			return tx.EachAudit(after, 1000, func(r chain.Row) bool {
				lines, after = chain.Line(lines, r.Body, r.Hash), r.Seq
				return len(lines) < atOnce
			})
		})
		if err != nil || len(lines) == 0 {
			return err
		}
		if err := write(lines); err != nil {
			return err
		}
	}
}

// AuditHealth is what the server found of the audit log in the background.
type AuditHealth struct {
	Broken *chain.Break
	Seq    int64     // the last entry that was proved
	At     time.Time // when; zero before the first proof
}

// A watchman proves the audit log from time to time.
type watchman struct {
	mu     sync.Mutex
	health AuditHealth
}

// AuditHealth tells what was found last.
func (s *Service) AuditHealth() AuditHealth {
	s.watchman.mu.Lock()
	defer s.watchman.mu.Unlock()
	return s.watchman.health
}

// How the audit log is proved in the background: its end when the server
// starts, all of it each hour, in small pieces with rests between them, which
// leave the database and the processor to others.
const (
	provedAtStart = 1000
	proveEvery    = time.Hour
	proofPiece    = 2000
	restOfProof   = 4 // times what a piece took
)

// WatchAudit proves the audit log in the background until ctx ends. It tells
// loudly of a break, and stops nothing: flags must be served, and killed, all the
// more when something is wrong.
func (s *Service) WatchAudit(ctx context.Context) {
	var head int64
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		head, err = tx.LastAudit()
		return err
	})
	s.watchAudit(ctx, max(0, head-provedAtStart), err)
	for wait := proveEvery/2 + rand.N(proveEvery/2); ; wait = proveEvery {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			s.watchAudit(ctx, 0, nil)
		}
	}
}

// watchAudit proves the log after an entry, and tells of it.
func (s *Service) watchAudit(ctx context.Context, after int64, err error) {
	begun := time.Now()
	var w chain.Walk
	var broken *chain.Break
	if err == nil {
		w, broken, err = s.proveSlowly(ctx, after)
	}
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		s.log.WarnContext(ctx, "the audit log was not verified", "error", err)
		return
	case broken != nil:
		s.log.ErrorContext(ctx, "the audit log is broken: \"flyball audit verify\" tells more", "entry", broken.Seq, "kind", broken.Kind, "why", broken.Why)
	default:
		s.log.InfoContext(ctx, "the audit log is intact", "after", after, "entry", w.Seq, "hash", w.Hash, "took", time.Since(begun).Round(time.Millisecond))
	}
	s.watchman.mu.Lock()
	defer s.watchman.mu.Unlock()
	s.watchman.health = AuditHealth{Broken: broken, Seq: w.Seq, At: now()}
}

func (s *Service) proveSlowly(ctx context.Context, after int64) (w chain.Walk, broken *chain.Break, err error) {
	for more, first := true, true; more && broken == nil && err == nil; first = false {
		begun := time.Now()
		err = s.db.View(ctx, func(tx *store.Tx) error {
			if first {
				if w, err = tx.WalkAudit(after); flyball.CodeOf(err) == flyball.NotFound {
					broken, more = &chain.Break{Seq: after, Kind: chain.Missing, Why: "it is not there"}, false
					return nil
				}
				if err != nil {
					return err
				}
			}
			more, broken, err = tx.ProveAudit(&w, proofPiece)
			return err
		})
		if more {
			select {
			case <-ctx.Done():
				return w, nil, ctx.Err()
			case <-time.After(restOfProof * time.Since(begun)):
			}
		}
	}
	return w, broken, err
}
