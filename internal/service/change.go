package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/store"
)

// A changeOf is a wish to change something.
type changeOf struct {
	access   Access
	action   string // such as "flag.kill"
	subject  string // the key or id of what is changed
	flag     string // the flag that it concerns; empty is every flag
	reason   string
	evidence any    // what an automatic decision rests on
	fence    *Fence // a lease that must still be held
	apply    func(*edit) error
}

// A Fence is a lease under which a change is made. A holder that lost it, be
// it asleep or cut off, changes nothing.
type Fence struct {
	Lease string
	Token int64
}

// An Outcome says what a change did.
type Outcome struct {
	Changed  bool             `json:"changed" doc:"false if everything was so already"`
	Versions map[string]int64 `json:"versions,omitempty" doc:"the new ruleset version of each environment that changed"`
	Edits    []flyball.Edit   `json:"-"`
}

// errDryRun undoes the transaction of a dry run.
var errDryRun = errors.New("dry run")

// change is the one door through which anything changes. A person, an agent
// and the rollout controller all come this way, so that each change has an
// actor, a reason, an audit entry and a new version of every ruleset that it
// alters, or did not happen. A ruleset that does not compile is refused before
// anyone could read it; what is published is what was committed.
func (s *Service) change(ctx context.Context, c changeOf) (Outcome, error) {
	p, err := principalOf(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if err := s.authorise(p, c); err != nil {
		return Outcome{}, err
	}
	if !says(c.reason) || len(c.reason) > flyball.MaxTextLen {
		return Outcome{}, flyball.FieldErrorf("reason", "say why %s changes, in 1 to %d bytes", c.subject, flyball.MaxTextLen)
	}
	var e *edit
	err = s.inTurn(ctx, c, func(tx *store.Tx) error {
		e = &edit{
			tx: tx, service: s, principal: p, at: now(), change: c, manner: mannerOf(ctx),
			flags: map[string]*flyball.Flag{}, segments: map[string]bool{}, rulesets: map[string]*rulesetEdit{},
		}
		return e.run()
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return Outcome{}, err
	}
	out := e.outcome()
	if e.manner.Plans() {
		e.manner.planned(e.planned)
		if e.manner.Propose != nil && e.planned != nil {
			return out, s.propose(ctx, p, c, e.manner)
		}
		if what := e.manner.Keep; what != nil && e.planned != nil {
			return out, s.keepPlan(ctx, p, e.planned.Digest, *what)
		}
		return out, nil
	}
	for _, r := range e.rulesets {
		if r.changed() {
			s.publish(r.after)
		}
	}
	gathered(ctx, out.Versions)
	if e.glass {
		e.manner.requested(e.request)
	}
	if len(e.log) > 0 {
		s.news.ring()
	}
	s.heard.of(e.entry)
	if s.changed != nil && len(e.log) > 0 {
		s.changed()
	}
	return out, nil
}

// urgent are what must not wait for others' changes, however many there are and
// however long each takes to be looked at.
var urgent = []string{"flag.kill", "flag.disable", "rollout.abort", "rollout.pause", "rollout.stepBack", "agents.freeze", "token.revoke", "user.disable"}

// inTurn makes a change in a transaction when it is its turn. What is urgent, and
// what the platform itself does, waits for the change in hand alone, since writers
// take turns in the database.
func (s *Service) inTurn(ctx context.Context, c changeOf, f func(*store.Tx) error) error {
	if !slices.Contains(urgent, c.action) && !PrincipalOf(ctx).automatic() {
		select {
		case s.turn <- struct{}{}:
			defer func() { <-s.turn }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.db.Update(ctx, f)
}

// says tells whether a text has anything in it that is seen.
func says(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.IsPrint(r) && !unicode.IsSpace(r) })
}

// authorise says whether a principal may make a change.
func (s *Service) authorise(p Principal, c changeOf) error {
	if err := Allow(&p, c.access); err != nil {
		return err
	}
	if c.access == Approve || c.access == Admin {
		if err := p.provedLately(time.Now()); err != nil {
			return err
		}
	}
	return p.may(c.flag)
}

// An edit is one change in progress, inside its transaction.
type edit struct {
	tx        *store.Tx
	service   *Service
	principal Principal
	at        time.Time
	change    changeOf
	manner    *Manner
	policy    flyball.Policy         // that it is planned under
	planned   *flyball.Plan          // what the change does, if that was found out
	request   *flyball.ChangeRequest // that is applied
	glass     bool                   // it is made though others ought to approve
	beyond    *flyball.Beyond        // how it goes beyond an agent's envelope
	edits     []flyball.Edit
	entry     int64 // the last one that was written to the audit log
	log       []store.LogEntry
	flags     map[string]*flyball.Flag // that are new or changed; nil if archived
	segments  map[string]bool          // that are new or changed
	rulesets  map[string]*rulesetEdit  // by environment, those that may change
}

// A rulesetEdit is one environment's ruleset before and after a change.
type rulesetEdit struct {
	version        int64 // before the change
	before         *encoded
	compiledBefore *eval.Ruleset
	configs        []flyball.FlagConfig // to be written with the new version
	reads          map[string]int64     // the version at which each was read
	inserted       map[string]bool
	after          *encoded
	compile        func() (*eval.Ruleset, error) // compiles after
}

// changed says that the ruleset is another after the change.
func (r *rulesetEdit) changed() bool { return r.after != nil && r.after.compiled != nil }

func (e *edit) run() error {
	if f := e.change.fence; f != nil {
		if err := e.tx.HoldsLease(f.Lease, f.Token, e.at); err != nil {
			return err
		}
	}
	if id := e.manner.Request; id != "" { // one that is spent says so before what it did is in its own way
		if _, err := e.requestIn(id, flyball.RequestOpen); err != nil {
			return err
		}
	}
	if err := e.change.apply(e); err != nil {
		return err
	}
	environments := slices.Sorted(maps.Keys(e.rulesets)) // one order for all, so that no two changes wait for each other
	for _, env := range environments {
		if err := e.stage(env, e.rulesets[env]); err != nil {
			return err
		}
	}
	if err := e.govern(); err != nil {
		return err
	}
	if e.manner.Plans() {
		return errDryRun
	}
	return e.write()
}

// write makes what was staged, and allowed, true: versions, audit entries, and
// what the judge is to hear of.
func (e *edit) write() error {
	if err := e.noteUnasked(); err != nil {
		return err
	}
	altered := e.altered()
	for _, env := range altered {
		if err := e.commit(env, e.rulesets[env]); err != nil {
			return err
		}
	}
	if len(altered) == 0 && len(e.edits) > 0 {
		if err := e.audit("", nil); err != nil {
			return err
		}
	}
	if len(e.log) > 0 {
		if _, err := e.tx.AppendLog(e.log); err != nil {
			return err
		}
		if err := e.tx.Tell("rollouts"); err != nil {
			return err
		}
	}
	return nil
}

// govern decides whether the staged change may be made by whoever wants it, and
// notes what it does. The platform itself acts within plans that people were
// allowed to set in motion.
func (e *edit) govern() error {
	if err := e.permitted(); err != nil {
		return err
	}
	m := e.manner
	switch {
	case e.principal.automatic():
		return nil
	case len(e.edits) == 0 && m.Request != "":
		return flyball.Errorf(flyball.Conflict, "there is nothing left to apply of %s: everything is so already", m.Request)
	case len(e.edits) == 0:
		return nil
	}
	if err := e.enveloped(); err != nil {
		return err
	}
	if !m.Plans() && m.Request == "" && m.Digest == "" {
		if protected, err := e.protected(); err != nil || len(protected) == 0 || e.retreats() {
			return err // nothing that others would be asked about
		}
	}
	var err error
	if e.planned, err = e.plan(); err != nil {
		return err
	}
	if err := e.asPlanned(); err != nil || m.Plans() && m.Request == "" {
		return err
	}
	return e.consented(e.planned, m)
}

// touch notes that an environment's ruleset may change, before it does. The
// ruleset in memory is what the change starts from only if the transaction reads
// its very version; else another process has changed it, and it is read.
func (e *edit) touch(environment string) (*rulesetEdit, error) {
	if r := e.rulesets[environment]; r != nil {
		return r, nil
	}
	id, err := e.tx.Head(environment)
	if err != nil {
		return nil, err
	}
	r := &rulesetEdit{version: id.Version, reads: map[string]int64{}, inserted: map[string]bool{}}
	if head, _ := e.service.Published(environment); head != nil && head.ID() == id {
		r.before, r.compiledBefore = head.encoded, head.compiled
	} else {
		doc, err := load(e.tx, environment)
		if err != nil {
			return nil, err
		}
		if r.before, err = encode(doc); err != nil {
			return nil, err
		}
		if r.compiledBefore, err = eval.Compile(doc); err != nil {
			return nil, err
		}
	}
	e.rulesets[environment] = r
	return r, nil
}

// nextVersion is the version that an environment's ruleset gets, if it
// changes.
func (e *edit) nextVersion(environment string) int64 { return e.rulesets[environment].version + 1 }

// touchAll notes that every environment's ruleset may change.
func (e *edit) touchAll() error {
	environments, err := e.tx.Environments()
	if err != nil {
		return err
	}
	for _, env := range environments {
		if _, err := e.touch(env.Key); err != nil {
			return err
		}
	}
	return nil
}

// maxRuleset is how many bytes a ruleset may have. What evaluators would refuse
// is never published; some room is left for the numbers of later versions.
const maxRuleset = eval.MaxDocumentBytes - 4096

// stage writes what was edited in one environment and, if its ruleset changed,
// compiles it.
func (e *edit) stage(environment string, r *rulesetEdit) (err error) {
	next := r.version + 1
	for _, c := range r.configs {
		var err error
		if r.inserted[c.Flag] {
			err = e.tx.InsertFlagConfig(environment, c, next)
		} else {
			err = e.tx.UpdateFlagConfig(environment, c, next, r.reads[c.Flag])
		}
		if err != nil {
			return err
		}
	}
	if err := e.assemble(environment, r); err != nil {
		return err
	}
	if r.after.digest == r.before.digest {
		return nil
	}
	if size := r.after.size(); size > maxRuleset {
		return flyball.Errorf(flyball.TooLarge, "the ruleset of %q would have %d bytes, and an SDK takes at most %d: make its segments smaller", environment, size, maxRuleset)
	}
	if r.after.compiled, err = r.compile(); err != nil {
		return flyball.About(e.change.flag, err)
	}
	return nil
}

// commit gives a ruleset that changed its version and its audit entry.
func (e *edit) commit(environment string, r *rulesetEdit) error {
	version, err := e.tx.NextVersion(environment)
	if err != nil {
		return err
	}
	if version != r.version+1 { // writers take turns, so this would be a fault of ours
		return fmt.Errorf("environment %q moved from version %d to %d within a transaction", environment, r.version, version)
	}
	return e.audit(environment, r)
}

func (e *edit) outcome() Outcome {
	out := Outcome{Changed: len(e.edits) > 0, Edits: e.edits}
	for env, r := range e.rulesets {
		if r.changed() {
			if out.Versions == nil {
				out.Versions = map[string]int64{}
			}
			out.Versions[env] = r.after.id.Version
		}
	}
	return out
}
