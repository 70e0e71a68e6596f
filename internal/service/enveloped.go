package service

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/flyballdev/flyball/internal/store"
)

// enveloped says whether an agent may make the staged change, and takes what it
// uses off its envelope. A retreat within the agent's flags and environments is
// free. What goes beyond the envelope may be planned and proposed; people approve
// that, and a person applies it.
func (e *edit) enveloped() error {
	if e.principal.Kind != flyball.TokenAgent {
		return nil
	}
	if !e.manner.DryRun {
		if err := e.thawed(); err != nil {
			return err
		}
	}
	envelope := flyball.Envelope{}
	if e.principal.Envelope != nil {
		envelope = *e.principal.Envelope
	}
	if err := e.inScope(envelope); err != nil {
		return err
	}
	resumes, err := e.resumed()
	if err != nil {
		return err
	}
	raises, err := e.raises(resumes)
	if err != nil || len(raises) == 0 && e.retreats() {
		return err
	}
	uses, beyond, err := e.measure(envelope, resumes, raises)
	if err != nil {
		return err
	}
	switch {
	case beyond != nil && e.manner.Plans():
		e.beyond = beyond
		return nil
	case beyond != nil:
		return refusal(beyond)
	case e.manner.Plans():
		return nil
	}
	uses.ID, uses.Person, uses.Token, uses.At = newID(8), e.party(), e.principal.Token, e.at
	return e.tx.InsertAgentUse(uses)
}

// party is whom an agent's use is counted against: two agents of one person are
// one party.
func (e *edit) party() flyball.ActorID {
	if e.principal.OnBehalfOf != "" {
		return e.principal.OnBehalfOf
	}
	return e.principal.ID
}

const askPeople = "propose it (--propose, propose=true, or the tool request_approval): people can approve it, and a person applies it"

func beyond(limit string, asked, allowed any, format string, args ...any) *flyball.Beyond {
	return &flyball.Beyond{Limit: limit, Asked: asked, Allowed: allowed, Why: fmt.Sprintf(format, args...), How: askPeople}
}

func refusal(b *flyball.Beyond) error {
	return flyball.Errorf(flyball.Forbidden, "this goes beyond the agent's envelope: %s. %s", b.Why, b.How).
		With("limit", b.Limit).With("asked", b.Asked).With("allowed", b.Allowed).With("how", b.How)
}

// inScope says whether all that is edited belongs to what the agent may change
// at all, be it to raise it, to lower it, or to ask.
func (e *edit) inScope(envelope flyball.Envelope) error {
	for _, edit := range e.edits {
		flag, environment := edit.Key, edit.Environment
		switch edit.Noun {
		case "flag":
		case "config":
			if isDark, err := e.dark(edit); err != nil {
				return err
			} else if isDark {
				environment = ""
			}
		case "rollout":
			var r flyball.Rollout
			if err := json.Unmarshal(edit.After, &r); err != nil {
				return err
			}
			flag, environment = r.Flag, r.Environment
		case "change":
			if e.change.action == "change.propose" {
				continue // what is proposed was looked at when it was planned
			}
			fallthrough
		default:
			return outOfScope("nouns", edit.Noun, []string{"flag", "config", "rollout"},
				"an agent changes flags, and what environments serve for them; not a "+edit.Noun)
		}
		if !matchAny(envelope.Flags, flag) {
			return outOfScope("flags", flag, envelope.Flags, "the agent may change only flags that its envelope names")
		}
		if environment != "" && !slices.Contains(envelope.Environments, environment) {
			return outOfScope("environments", environment, envelope.Environments, "the agent may change only environments that its envelope names")
		}
	}
	return nil
}

func outOfScope(limit, asked string, allowed []string, why string) error {
	b := &flyball.Beyond{Limit: limit, Asked: asked, Allowed: allowed, Why: why, How: "ask a person to do it, or for a token whose envelope reaches there"}
	return refusal(b)
}

// dark says that an edit is what an environment serves for a flag that is new
// there: the safe variant, to everybody.
func (e *edit) dark(edit flyball.Edit) (bool, error) {
	if edit.Before != nil || edit.After == nil {
		return false, nil
	}
	var c flyball.FlagConfig
	if err := json.Unmarshal(edit.After, &c); err != nil {
		return false, err
	}
	f, err := e.tx.Flag(edit.Key)
	return err == nil && !c.Enabled && c.OffVariant == f.SafeVariant, err
}

// resumed lists the rollouts that the change lets go on, or starts: what they
// expose is not yet in what is served.
func (e *edit) resumed() (all []flyball.Rollout, err error) {
	for _, edit := range e.edits {
		if edit.Noun != "rollout" {
			continue
		}
		var before, after flyball.Rollout
		if err := json.Unmarshal(edit.After, &after); err != nil {
			return nil, err
		}
		if edit.Before != nil {
			if err := json.Unmarshal(edit.Before, &before); err != nil {
				return nil, err
			}
		}
		if after.State == flyball.RolloutRunning && before.State != flyball.RolloutRunning {
			all = append(all, after)
		}
	}
	return all, nil
}

// measure says what a change that raises something uses, and the first limit
// that it goes beyond.
func (e *edit) measure(envelope flyball.Envelope, rollouts []flyball.Rollout, raises []raise) (uses store.AgentUse, over *flyball.Beyond, err error) {
	if over, err = e.forPeople(envelope); over != nil || err != nil {
		return uses, over, err
	}
	for _, r := range raises {
		if over := r.within(envelope, e.at); over != nil {
			return uses, over, nil
		}
	}
	if over, err = e.reach(envelope, raises, &uses); over != nil || err != nil {
		return uses, over, err
	}
	used, err := e.tx.AgentUsed(e.party(), e.at)
	if err != nil {
		return uses, nil, err
	}
	if used.ChangesInHour >= envelope.ChangesPerHour {
		return uses, beyond("changesPerHour", used.ChangesInHour+1, envelope.ChangesPerHour,
			"the agents of %s have raised something %d times in the last hour, and %d is the most", e.party(), used.ChangesInHour, envelope.ChangesPerHour), nil
	}
	for _, r := range rollouts {
		if !e.starts(r.ID) {
			continue
		}
		uses.Rollout = r.ID
		if used.LiveRollouts >= envelope.MaxConcurrentRollouts {
			return uses, beyond("maxConcurrentRollouts", used.LiveRollouts+1, envelope.MaxConcurrentRollouts,
				"the agents of %s have %d live rollouts, and %d is the most", e.party(), used.LiveRollouts, envelope.MaxConcurrentRollouts), nil
		}
	}
	if most := envelope.MaxUnitMinutesPerDay; most > 0 && uses.UnitMinutes > most-used.UnitMinutesInDay {
		return uses, beyond("maxUnitMinutesPerDay", uses.UnitMinutes, max(0, most-used.UnitMinutesInDay),
			"it would expose users for %d minutes in all; of the day's %d, %d are used", uses.UnitMinutes, most, used.UnitMinutesInDay), nil
	}
	return uses, nil, nil
}

func (e *edit) starts(rollout string) bool {
	return slices.ContainsFunc(e.edits, func(o flyball.Edit) bool { return o.Noun == "rollout" && o.Key == rollout && o.Before == nil })
}

// forPeople says what of a change is for people alone, whatever it exposes.
func (e *edit) forPeople(envelope flyball.Envelope) (*flyball.Beyond, error) {
	for _, edit := range e.edits {
		var over *flyball.Beyond
		var err error
		switch edit.Noun {
		case "flag":
			over, err = e.definition(envelope, edit)
		case "config":
			over, err = e.tier(envelope, edit)
		case "rollout":
			over, err = e.pausedByPerson(edit)
		}
		if over != nil || err != nil {
			return over, err
		}
	}
	return e.dependants(envelope)
}

// definition says whether an agent may make a flag so, change it so, or archive
// it.
func (e *edit) definition(envelope flyball.Envelope, edit flyball.Edit) (*flyball.Beyond, error) {
	if edit.After == nil {
		return e.stillUsed(edit.Key)
	}
	var before, after flyball.Flag
	if err := json.Unmarshal(edit.After, &after); err != nil {
		return nil, err
	}
	if !slices.Contains(kinds(envelope), after.Kind) {
		return beyond("kinds", after.Kind, kinds(envelope), "the agent may change flags of the kinds %v, and %s is of kind %s", kinds(envelope), after.Key, after.Kind), nil
	}
	if after.ExpiresAt == nil {
		return beyond("expiresAt", nil, "a date", "only people let a flag live for ever"), nil
	}
	if edit.Before == nil {
		return e.known(after.Key)
	}
	if err := json.Unmarshal(edit.Before, &before); err != nil {
		return nil, err
	}
	may := before // what an agent may change of a flag
	may.Description, may.Tags = after.Description, after.Tags
	if !sameJSON(may, after) {
		return beyond("definition", "another definition", "description and tags", "only people change what a flag is, save for its description and its tags"), nil
	}
	return nil, nil
}

// known says whether programs evaluate a key that is no flag yet: making it
// would give them another value than the one in their code.
func (e *edit) known(key string) (*flyball.Beyond, error) {
	unknown, err := e.tx.UnknownFlags(e.at.Add(-usedLately), 1000)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(unknown, func(u flyball.UnknownFlag) bool { return u.Flag == key }) {
		return beyond("dark", key, "a flag that no program evaluates yet", "programs evaluate %s already, so that its safe variant would reach users at once", key), nil
	}
	return nil, nil
}

// stillUsed says whether programs still evaluate a flag that is to go.
func (e *edit) stillUsed(key string) (*flyball.Beyond, error) {
	for _, env := range e.altered() {
		used, err := e.tx.UsedSince(env, e.at.Add(-usedLately), []string{key})
		if err != nil {
			return nil, err
		}
		if len(used) > 0 {
			return beyond("evaluated", key, "a flag that no program has evaluated for seven days", "programs still evaluate %s in %s", key, env), nil
		}
	}
	return nil, nil
}

func kinds(envelope flyball.Envelope) []flyball.Kind {
	if len(envelope.Kinds) > 0 {
		return envelope.Kinds
	}
	return []flyball.Kind{flyball.KindRelease, flyball.KindExperiment}
}

// tier says whether an agent may raise what an environment serves for a flag, by
// what the flag is.
func (e *edit) tier(envelope flyball.Envelope, edit flyball.Edit) (*flyball.Beyond, error) {
	if isDark, err := e.dark(edit); err != nil || isDark {
		return nil, err
	}
	f, err := e.tx.Flag(edit.Key)
	if err != nil {
		return nil, err
	}
	if slices.Index(tiers, f.RiskTier) > slices.Index(tiers, envelope.MaxRiskTier) {
		return beyond("maxRiskTier", f.RiskTier, envelope.MaxRiskTier, "%s is of the tier %s", f.Key, f.RiskTier), nil
	}
	if !slices.Contains(kinds(envelope), f.Kind) {
		return beyond("kinds", f.Kind, kinds(envelope), "the agent may change flags of the kinds %v, and %s is of kind %s", kinds(envelope), f.Key, f.Kind), nil
	}
	var before, after flyball.FlagConfig
	if edit.Before != nil {
		err = json.Unmarshal(edit.Before, &before)
	}
	if err == nil {
		err = json.Unmarshal(edit.After, &after)
	}
	if err == nil && before.Killed != nil && after.Killed == nil && before.Killed.By.Kind() != "agent" {
		return beyond("resume", "a kill made by a person", "a kill made by an agent", "%s was killed by %s, and only a person lifts that", f.Key, before.Killed.By), nil
	}
	return nil, err
}

// pausedByPerson says whether it was a person who paused a rollout that an agent
// wants to go on.
func (e *edit) pausedByPerson(edit flyball.Edit) (*flyball.Beyond, error) {
	var before, after flyball.Rollout
	if edit.Before == nil {
		return nil, nil
	}
	if err := json.Unmarshal(edit.Before, &before); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(edit.After, &after); err != nil {
		return nil, err
	}
	if before.State != flyball.RolloutPaused || after.State != flyball.RolloutRunning {
		return nil, nil
	}
	if byAgent, err := e.pausedByAgent(after.Flag, after.ID); err != nil || byAgent {
		return nil, err
	}
	return beyond("resume", "a pause made by a person", "a pause made by an agent", "the rollout was not paused by an agent, and only a person lets it go on"), nil
}

// pausedByAgent says that it was an agent alone who paused a rollout. An agent that
// steps back what was paused already takes nobody's pause over.
func (e *edit) pausedByAgent(flag, rollout string) (bool, error) {
	entries, err := e.tx.Audit(store.AuditFilter{Subject: flag, Limit: 200, Bytes: maxAuditBytes})
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		if entry.Action != "rollout.pause" && entry.Action != "rollout.stepBack" {
			continue
		}
		at := slices.IndexFunc(entry.Edits, func(o flyball.Edit) bool { return o.Noun == "rollout" && o.Key == rollout })
		if at < 0 {
			continue
		}
		var before flyball.Rollout
		if entry.Actor.ID.Kind() != "agent" || json.Unmarshal(entry.Edits[at].Before, &before) != nil {
			return false, nil
		}
		if before.State != flyball.RolloutPaused {
			return true, nil
		}
	}
	return false, nil
}

// dependants says whether the change reaches flags that are not the agent's.
func (e *edit) dependants(envelope flyball.Envelope) (*flyball.Beyond, error) {
	for _, env := range e.altered() {
		r := e.rulesets[env]
		for _, key := range eval.Changed(r.compiledBefore, r.after.compiled) {
			if !matchAny(envelope.Flags, key) {
				return beyond("flags", key, envelope.Flags, "%s depends on what is changed, in %s", key, env), nil
			}
		}
	}
	return nil, nil
}

// dayOfMinutes is what an exposure without an end takes of a day.
const dayOfMinutes = 24 * 60

func minutes(d time.Duration) int { return int((d + time.Minute - 1) / time.Minute) }
