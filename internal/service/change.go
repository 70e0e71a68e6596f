package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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
	dryRun   bool   // find out everything, change nothing
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
	if strings.TrimSpace(c.reason) == "" || len(c.reason) > flyball.MaxTextLen {
		return Outcome{}, flyball.FieldErrorf("reason", "say why %s changes, in 1 to %d bytes", c.subject, flyball.MaxTextLen)
	}
	var e *edit
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		e = &edit{tx: tx, service: s, principal: p, at: now(), change: c, rulesets: map[string]*rulesetEdit{}}
		return e.run()
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return Outcome{}, err
	}
	out := e.outcome()
	if c.dryRun {
		return out, nil
	}
	for _, r := range e.rulesets {
		if r.compiled != nil {
			s.publish(r.after, r.compiled)
		}
	}
	gathered(ctx, out.Versions)
	s.heard.of(e.entry)
	if s.changed != nil && len(e.log) > 0 {
		s.changed()
	}
	return out, nil
}

// authorise says whether a principal may make a change.
func (s *Service) authorise(p Principal, c changeOf) error {
	if err := Allow(p, c.access); err != nil {
		return err
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
	edits     []flyball.Edit
	entry     int64 // the last one that was written to the audit log
	log       []store.LogEntry
	rulesets  map[string]*rulesetEdit // by environment, those that may change
}

// A rulesetEdit is one environment's ruleset before and after a change.
type rulesetEdit struct {
	version  int64 // before the change
	before   *encoded
	whole    bool                 // whether more than configurations may change
	configs  []flyball.FlagConfig // to be written with the new version
	reads    map[string]int64     // the version at which each was read
	inserted map[string]bool
	after    *encoded
	compiled *eval.Ruleset // nil if the ruleset did not change
}

func (e *edit) run() error {
	if f := e.change.fence; f != nil {
		if err := e.tx.HoldsLease(f.Lease, f.Token, e.at); err != nil {
			return err
		}
	}
	if err := e.change.apply(e); err != nil {
		return err
	}
	environments := slices.Sorted(maps.Keys(e.rulesets)) // one order for all, so that no two changes wait for each other
	changed := 0
	for _, env := range environments {
		if err := e.finish(env, e.rulesets[env]); err != nil {
			return err
		}
		if e.rulesets[env].compiled != nil {
			changed++
		}
	}
	if changed == 0 && len(e.edits) > 0 {
		if err := e.audit("", nil); err != nil {
			return err
		}
	}
	if len(e.log) > 0 {
		if _, err := e.tx.AppendLog(e.log); err != nil {
			return err
		}
	}
	if e.change.dryRun {
		return errDryRun
	}
	return nil
}

// touch notes that an environment's ruleset may change, before it does.
func (e *edit) touch(environment string) (*rulesetEdit, error) {
	if r := e.rulesets[environment]; r != nil {
		return r, nil
	}
	env, err := e.tx.Environment(environment)
	if err != nil {
		return nil, err
	}
	r := &rulesetEdit{version: env.Version, reads: map[string]int64{}, inserted: map[string]bool{}}
	if head, _ := e.service.Published(environment); head != nil && head.ID().Version == env.Version {
		r.before = head.encoded
	} else {
		doc, err := load(e.tx, environment)
		if err != nil {
			return nil, err
		}
		if r.before, err = encode(doc, nil, nil); err != nil {
			return nil, err
		}
	}
	e.rulesets[environment] = r
	return r, nil
}

// nextVersion is the version that an environment's ruleset gets, if it
// changes.
func (e *edit) nextVersion(environment string) int64 { return e.rulesets[environment].version + 1 }

// touchAll notes that every environment's ruleset may change, and not by its
// configurations alone.
func (e *edit) touchAll() error {
	environments, err := e.tx.Environments()
	if err != nil {
		return err
	}
	for _, env := range environments {
		r, err := e.touch(env.Key)
		if err != nil {
			return err
		}
		r.whole = true
	}
	return nil
}

// maxRuleset is how many bytes a ruleset may have. What evaluators would refuse
// is never published; some room is left for the numbers of later versions.
const maxRuleset = eval.MaxDocumentBytes - 4096

// finish writes what was staged for one environment and, if its ruleset
// changed, compiles it and gives it its version and its audit entry.
func (e *edit) finish(environment string, r *rulesetEdit) error {
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
	version, err := e.tx.NextVersion(environment)
	if err != nil {
		return err
	}
	if version != next { // writers take turns, so this would be a fault of ours
		return fmt.Errorf("environment %q moved from version %d to %d within a transaction", environment, r.version, version)
	}
	r.after.doc.Version = version
	if r.compiled, err = eval.Compile(r.after.doc); err != nil {
		return flyball.About(e.change.flag, err)
	}
	return e.audit(environment, r)
}

// assemble makes the ruleset as it is after the change: the one before with the
// configurations that changed, or, if more may have changed, all of it anew.
func (e *edit) assemble(environment string, r *rulesetEdit) (err error) {
	if r.whole {
		doc, err := load(e.tx, environment)
		if err != nil {
			return err
		}
		r.after, err = encode(doc, nil, nil)
		return err
	}
	doc, changed := r.before.doc, map[string]bool{}
	doc.Flags = slices.Clone(doc.Flags)
	for _, c := range r.configs {
		at, ok := slices.BinarySearchFunc(doc.Flags, c.Flag, func(f flyball.RulesetFlag, key string) int { return strings.Compare(f.Key, key) })
		if !ok {
			return fmt.Errorf("flag %q is not in the ruleset of %q", c.Flag, environment)
		}
		doc.Flags[at].FlagConfig = c
		changed[c.Flag] = true
	}
	if missingSegment(doc) {
		if doc.Segments, err = segments(e.tx); err != nil {
			return err
		}
	}
	doc.Segments = usedSegments(doc.Flags, doc.Segments)
	r.after, err = encode(doc, r.before, changed)
	return err
}

// audit appends the entry of one version, or, with no ruleset, of a change
// that made none.
func (e *edit) audit(environment string, r *rulesetEdit) error {
	entry := flyball.AuditEntry{
		At: e.at, Actor: e.principal.Actor, Action: e.change.action, Subject: e.change.subject,
		Reason: e.change.reason, Request: e.principal.Request,
	}
	for _, edit := range e.edits {
		if environment == "" || edit.Environment == "" || edit.Environment == environment {
			entry.Edits = append(entry.Edits, edit)
		}
	}
	if r != nil {
		entry.Environment, entry.Version = environment, r.after.doc.Version
		entry.BeforeHash, entry.AfterHash = r.before.digest, r.after.digest
	} else if environments := e.environments(); len(environments) == 1 {
		entry.Environment = environments[0]
	}
	if e.change.evidence != nil {
		body, err := json.Marshal(e.change.evidence)
		if err != nil {
			return fmt.Errorf("encode evidence: %w", err)
		}
		entry.Evidence = body
	}
	if err := e.tx.AppendAudit(&entry); err != nil {
		return err
	}
	e.entry = entry.Seq
	return nil
}

// environments names those that the edits are about.
func (e *edit) environments() []string {
	var names []string
	for _, edit := range e.edits {
		if edit.Environment != "" && !slices.Contains(names, edit.Environment) {
			names = append(names, edit.Environment)
		}
	}
	return names
}

func (e *edit) outcome() Outcome {
	out := Outcome{Changed: len(e.edits) > 0, Edits: e.edits}
	for env, r := range e.rulesets {
		if r.compiled != nil {
			if out.Versions == nil {
				out.Versions = map[string]int64{}
			}
			out.Versions[env] = r.after.doc.Version
		}
	}
	return out
}

func joinErrors(errs []error) error { return errors.Join(errs...) }
