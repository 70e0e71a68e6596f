package service

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

var interleavingSeed = flag.Uint64("interleaving", 0, "the seed of the one interleaving to run again")

// A crowd is a service with people who propose, approve and apply changes of one
// flag, and a model of what each of them may do, which is kept apart from it.
type crowd struct {
	t       *testing.T
	s       *Service
	db      *store.DB
	rnd     *rand.Rand
	people  map[flyball.ActorID]Principal
	admin   Principal
	trail   []string
	applied int

	// The model.
	serves    string
	approvers map[flyball.ActorID]bool
	requests  []*wish
	frozen    bool
}

// A wish is what the model knows of a request.
type wish struct {
	id       string
	from, to string
	proposer flyball.ActorID
	behind   flyball.ActorID
	approved []flyball.ActorID
	open     bool
}

const disputed = "shop.checkout.kind"

var variants = []string{"a", "b", "c"}

// quick is a folder for databases on which a sync costs nothing, if there is one.
func quick(t *testing.T) string {
	if dir, err := os.MkdirTemp("/dev/shm", "flyball-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	db, err := store.Open(t.Context(), quick(t)+"/flyball.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := New(t.Context(), db, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{t: t, s: s, db: db, people: map[flyball.ActorID]Principal{}, approvers: map[flyball.ActorID]bool{}, serves: "safe"}
	c.admin = Principal{Actor: flyball.Actor{ID: "user:root"}, Kind: flyball.TokenAPI, Rights: []flyball.Grants{flyball.Installation}}
	f := flyball.Flag{
		Key: disputed, Kind: flyball.KindOps, Owner: "default", Type: flyball.TypeString, SafeVariant: "safe",
		Variants: flyball.Variants{"safe": "safe", "a": "a", "b": "b", "c": "c"},
	}
	root := c.as(c.admin, nil)
	must[FlagView](t)(s.CreateFlag(root, CreateFlag{Flag: f, Reason: "a test"}))
	must[Configured](t)(s.EnableFlag(root, in(disputed)))
	evaluatedLately(t, db, disputed)
	for _, who := range []flyball.ActorID{"user:ann", "user:dan"} {
		c.hire(who, flyball.Grants{{Role: flyball.RoleEditor}})
	}
	for _, who := range []flyball.ActorID{"user:bob", "user:cat", "user:eve"} {
		c.promote(who)
	}
	c.hireAgent("agent:bot", "user:cat")
	return c
}

// evaluatedLately makes it so that a program has just evaluated flags in production.
func evaluatedLately(t *testing.T, db *store.DB, keys ...string) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		var all []flyball.Usage
		for _, key := range keys {
			all = append(all, flyball.Usage{Environment: "production", Flag: key, Variant: "off", N: 1, Last: time.Now()})
		}
		return tx.AddUsage(all)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (c *crowd) as(p Principal, m *Manner) context.Context {
	ctx := WithPrincipal(c.t.Context(), p)
	if m != nil {
		ctx = WithManner(ctx, m)
	}
	return ctx
}

// hire gives a person a token with grants, in place of the one they had.
func (c *crowd) hire(who flyball.ActorID, grants flyball.Grants) {
	c.t.Helper()
	c.dismiss(who)
	made := must[NewToken](c.t)(c.s.CreateToken(c.as(c.admin, nil), CreateToken{Kind: flyball.TokenAPI, Name: "x", Actor: who, Grants: grants, Reason: "a test"}))
	c.people[who] = principalFor(made.Token, nil)
}

func (c *crowd) dismiss(who flyball.ActorID) {
	if old := c.people[who].Token; old != "" {
		must[flyball.Token](c.t)(c.s.RevokeToken(c.as(c.admin, nil), RevokeToken{ID: old, Reason: "a test"}))
	}
}

func (c *crowd) promote(who flyball.ActorID) {
	c.hire(who, flyball.Grants{{Role: flyball.RoleApprover, Environment: "production", Team: "default"}})
	c.approvers[who] = true
}

func (c *crowd) hireAgent(who, behind flyball.ActorID) {
	envelope := flyball.Envelope{
		Flags: []string{"*"}, Environments: []string{"production"}, Kinds: []flyball.Kind{flyball.KindOps},
		MaxPPM: flyball.PPM, MaxConcurrentRollouts: 100, MaxRiskTier: flyball.TierHigh, ChangesPerHour: 1_000_000,
	}
	made := must[NewToken](c.t)(c.s.CreateToken(c.as(c.admin, nil), CreateToken{
		Kind: flyball.TokenAgent, Name: "x", Actor: who, OnBehalfOf: behind, Envelope: &envelope, Reason: "a test",
	}))
	p := principalFor(made.Token, nil)
	p.Rights = []flyball.Grants{{{Role: flyball.RoleEditor}}}
	c.people[who] = p
}

func (c *crowd) someone(all ...flyball.ActorID) flyball.ActorID { return all[c.rnd.IntN(len(all))] }

// any returns a request, most often the latest: it is the one that can still be
// applied.
func (c *crowd) any() *wish {
	switch n := len(c.requests); {
	case n == 0:
		return nil
	case c.rnd.IntN(4) > 0:
		return c.requests[n-1]
	}
	return c.requests[c.rnd.IntN(len(c.requests))]
}

func (c *crowd) set(variant string) SetDefault {
	return SetDefault{FlagIn: in(disputed), Default: flyball.Serve{Variant: variant}}
}

// steps are what may happen next, and how often.
var steps = weighted(map[int][]func(*crowd){
	12: {(*crowd).approve},
	8:  {(*crowd).apply},
	2:  {(*crowd).propose},
	1:  {(*crowd).edit, (*crowd).withdraw, (*crowd).clone, (*crowd).expire, (*crowd).demote, (*crowd).reject, (*crowd).swap, (*crowd).direct, (*crowd).freeze},
})

func weighted(all map[int][]func(*crowd)) (list []func(*crowd)) {
	for _, n := range slices.Sorted(maps.Keys(all)) {
		for _, step := range all[n] {
			list = append(list, slices.Repeat([]func(*crowd){step}, n)...)
		}
	}
	return list
}

func (c *crowd) propose() { c.wishFor(variants[c.rnd.IntN(len(variants))]) }

// clone proposes again what was proposed: the approvals of the one are none of
// the other.
func (c *crowd) clone() {
	if w := c.any(); w != nil {
		c.wishFor(w.to)
	}
}

func (c *crowd) wishFor(variant string) {
	who := c.someone("user:ann", "user:dan", "agent:bot")
	input, _ := json.Marshal(c.set(variant))
	m := &Manner{Propose: &Proposal{Operation: "set_default", Input: input}}
	_, err := c.s.SetDefault(c.as(c.people[who], m), c.set(variant))
	r := m.Proposed()
	possible := variant != c.serves && !c.frozen
	c.expect(err == nil && r != nil, possible, err, "%s proposes %s", who, variant)
	if r != nil {
		c.requests = append(c.requests, &wish{id: r.ID, from: c.serves, to: variant, proposer: who, behind: r.Proposer.OnBehalfOf, open: true})
	}
}

func (c *crowd) approve() {
	w, who := c.any(), c.someone("user:bob", "user:bob", "user:cat", "user:cat", "user:eve", "user:eve", "user:ann", "agent:bot")
	if w == nil {
		return
	}
	_, err := c.s.ApproveChange(c.as(c.people[who], nil), DecideChange{ID: w.id, Reason: "as expected"})
	c.expect(err == nil, w.open && c.mayApprove(who, w), err, "%s approves %s", who, w.id)
	if err == nil && !slices.Contains(w.approved, who) {
		w.approved = append(w.approved, who)
	}
}

func (c *crowd) mayApprove(who flyball.ActorID, w *wish) bool {
	return c.approvers[who] && who != w.proposer && who != w.behind
}

// apply makes a change that was proposed, or was made before, or is void.
func (c *crowd) apply() {
	w, who := c.any(), c.someone("user:ann", "user:dan", "agent:bot", "user:bob")
	if w == nil {
		return
	}
	live := 0
	for _, a := range w.approved {
		if c.mayApprove(a, w) {
			live++
		}
	}
	_, err := c.s.SetDefault(c.as(c.people[who], &Manner{Request: w.id}), c.set(w.to))
	c.expect(err == nil, w.open && w.from == c.serves && live >= 2 && !c.frozen && who != "user:bob", err, "%s applies %s with %d approvals", who, w.id, live)
	if err == nil {
		c.serves, w.open = w.to, false
		c.applied++
	}
}

// swap hands in something else under the name of what was approved.
func (c *crowd) swap() {
	w, variant := c.any(), variants[c.rnd.IntN(len(variants))]
	if w == nil || variant == w.to {
		return
	}
	_, err := c.s.SetDefault(c.as(c.people["user:ann"], &Manner{Request: w.id}), c.set(variant))
	c.expect(err == nil, false, err, "ann applies %s in place of %s", variant, w.id)
}

// direct tries without asking anybody.
func (c *crowd) direct() {
	variant := variants[c.rnd.IntN(len(variants))]
	out, err := c.s.SetDefault(c.as(c.people["user:ann"], nil), c.set(variant))
	c.expect(err == nil && out.Changed, false, err, "ann serves %s", variant)
}

// edit changes the flag as only somebody who breaks the glass does.
func (c *crowd) edit() {
	variant := variants[c.rnd.IntN(len(variants))]
	_, err := c.s.SetDefault(c.as(c.admin, &Manner{BreakGlass: true}), c.set(variant))
	c.expect(err == nil, true, err, "root breaks the glass and serves %s", variant)
	c.serves = variant
}

// withdraw takes the flag back to its safe variant, for which nobody is asked.
func (c *crowd) withdraw() {
	_, err := c.s.SetDefault(c.as(c.people["user:ann"], nil), c.set("safe"))
	c.expect(err == nil, true, err, "ann serves the safe variant")
	c.serves = "safe"
}

// expire lets the time of a request run out, as only time itself could.
func (c *crowd) expire() {
	w := c.any()
	if w == nil || !w.open {
		return
	}
	err := c.db.Update(c.t.Context(), func(tx *store.Tx) error {
		r, err := tx.ChangeRequest(w.id)
		if err != nil {
			return err
		}
		r.ExpiresAt = now()
		return tx.UpdateChangeRequest(r)
	})
	c.expect(err == nil, true, err, "%s expires", w.id)
	w.open = false
}

// demote takes the role from an approver, or gives it back.
func (c *crowd) demote() {
	who := c.someone("user:bob", "user:cat", "user:eve")
	if !c.approvers[who] {
		c.promote(who)
		c.expect(true, true, nil, "%s is an approver again", who)
		return
	}
	c.hire(who, flyball.Grants{{Role: flyball.RoleApprover, Environment: "development"}})
	c.approvers[who] = false
	c.expect(true, true, nil, "%s is no approver any more", who)
}

func (c *crowd) reject() {
	w, who := c.any(), c.someone("user:bob", "user:cat", "user:ann", "user:dan")
	if w == nil {
		return
	}
	_, err := c.s.RejectChange(c.as(c.people[who], nil), DecideChange{ID: w.id, Reason: "not now"})
	c.expect(err == nil, w.open && (who == w.proposer || who == w.behind || c.mayApprove(who, w)), err, "%s rejects %s", who, w.id)
	if err == nil {
		w.open = false
	}
}

// freeze begins a freeze, or ends it.
func (c *crowd) freeze() {
	if !c.frozen && c.rnd.IntN(3) > 0 {
		return
	}
	y := flyball.DefaultPolicy()
	if c.frozen = !c.frozen; c.frozen {
		at := now()
		y.Freezes = []flyball.Freeze{{From: flyball.Start{Time: flyball.Time{Time: at.Add(-time.Hour)}}, To: flyball.Time{Time: at.Add(time.Hour)}, Reason: "the holidays"}}
	}
	_, err := c.s.SetPolicy(c.as(c.admin, nil), SetPolicy{Policy: y, Reason: "a test"})
	c.expect(err == nil, true, err, "frozen: %v", c.frozen)
}

// expect compares what happened with what the model says, and what is served.
func (c *crowd) expect(did, should bool, err error, format string, args ...any) {
	c.t.Helper()
	c.trail = append(c.trail, fmt.Sprintf(format, args...)+fmt.Sprintf(": %v (%v)", did, err))
	if code := flyball.CodeOf(err); err != nil && code != flyball.Forbidden && code != flyball.Conflict {
		c.t.Fatalf("it fails with %v\n%s", err, strings.Join(c.trail, "\n"))
	}
	head, _ := c.s.Published("production")
	if serves := head.Compiled.Flag(disputed).Default.Variant; did != should {
		c.t.Fatalf("it should be %v\n%s", should, strings.Join(c.trail, "\n"))
	} else if before := c.serves; serves != before && !did {
		c.t.Fatalf("a refusal changed what is served, from %s to %s\n%s", before, serves, strings.Join(c.trail, "\n"))
	}
}

// begin forgets what came before.
func (c *crowd) begin(seed uint64) {
	c.rnd = rand.New(rand.NewPCG(seed, 0))
	c.trail, c.requests = []string{fmt.Sprintf("seed %d (go test ./internal/service -run Interleavings -interleaving %d)", seed, seed)}, nil
	for who, is := range c.approvers {
		if !is {
			c.promote(who)
		}
	}
	if c.frozen {
		c.freeze()
	}
	if c.serves != "safe" {
		c.withdraw()
	}
}

// Of random interleavings of edits, proposals, approvals, applications, replays,
// expiries, demotions, rejections, clones and freezes, none applies anything
// without enough live approvals of exactly that, and none is refused that has
// them.
func TestInterleavingsOfChangesAndApprovals(t *testing.T) {
	n, first := 10_000, uint64(time.Now().UnixNano())
	if *interleavingSeed != 0 {
		n, first = 1, *interleavingSeed
	}
	t.Logf("%d interleavings from seed %d on", n, first)
	started, done, applied := time.Now(), 0, 0
	var c *crowd
	for ; done < n; done++ {
		if testing.Short() && time.Since(started) > 15*time.Second {
			break
		}
		if done%50 == 0 { // the requests and tokens of old are not in the way of the new ones
			c = newCrowd(t)
		}
		c.applied = 0
		c.begin(first + uint64(done))
		c.propose()
		for range 5 + c.rnd.IntN(16) {
			steps[c.rnd.IntN(len(steps))](c)
		}
		applied += c.applied
	}
	t.Logf("%d interleavings in %v, in which %d changes were applied", done, time.Since(started).Round(time.Second), applied)
	if n > 1 && applied < done/20 {
		t.Errorf("only %d of %d interleavings apply anything", applied, done)
	}
}
