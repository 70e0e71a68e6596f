package provider

import (
	"slices"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/eval"
	"github.com/open-feature/go-sdk/openfeature"
)

// report tells how the provider stands with its server now.
func (p *Provider) report(c condition, problem error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c == stale && p.condition == lost {
		c = lost
	}
	if c != p.condition {
		p.calm()
		switch c {
		case stale:
			p.log.Warn("the flag server cannot be reached: values stay as they are", "error", problem)
			p.patience = time.AfterFunc(p.pace.grace, p.lose)
		case refused:
			p.log.Error("the flag server refuses the token: values stay as they are", "error", problem)
		case fresh:
			p.log.Info("flags are up to date", "version", p.Version().Version)
		}
	}
	p.condition, p.problem = c, problem
	p.announce()
	p.wake()
}

// calm stops the clock of an outage. It is called with the lock.
func (p *Provider) calm() {
	if p.patience != nil {
		p.patience.Stop()
		p.patience = nil
	}
}

// lose ends the grace of an outage.
func (p *Provider) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.patience == nil || p.condition != stale { // it ended just now
		return
	}
	p.log.Error("the flag server has been away for long: values stay as they are", "for", p.pace.grace, "error", p.problem)
	p.condition = lost
	p.announce()
	p.wake()
}

// announce tells OpenFeature a condition that it has not been told yet. It is
// called with the lock.
func (p *Provider) announce() {
	if p.announced == connecting || p.announced == p.condition || p.condition == connecting {
		return
	}
	event := openfeature.ProviderReady
	switch {
	case p.condition == refused, p.condition == lost, p.condition == stale && p.rules.Current() == nil:
		if p.announced == refused || p.announced == lost {
			p.announced = p.condition
			return
		}
		event = openfeature.ProviderError
	case p.condition == stale:
		event = openfeature.ProviderStale
	}
	p.announced = p.condition
	details := openfeature.ProviderEventDetails{Message: "flags are up to date"}
	if p.problem != nil {
		details.Message = p.problem.Error()
	}
	if event == openfeature.ProviderError {
		details.ErrorCode = openfeature.GeneralCode
	}
	p.emit(event, details)
}

// wake tells those who wait for news. It is called with the lock.
func (p *Provider) wake() {
	close(p.news)
	p.news = make(chan struct{})
}

// emit queues an event, and the oldest gives way if nobody listens.
func (p *Provider) emit(t openfeature.EventType, details openfeature.ProviderEventDetails) {
	e := openfeature.Event{ProviderName: providerName, EventType: t, ProviderEventDetails: details}
	for {
		select {
		case p.events <- e:
			return
		default:
		}
		select {
		case <-p.events:
		default:
		}
	}
}

// apply puts a document in force if it is newer than what is. Only follow
// calls it. It fails if the document as a whole is unusable; a flag that is,
// keeps its definition.
func (p *Provider) apply(doc flyball.Ruleset) error {
	old := p.rules.Current()
	return p.swap(old, flyball.RulesetID{Epoch: doc.Epoch, Version: doc.Version}, func() (*eval.Ruleset, []*flyball.Error) {
		return eval.Update(old, doc)
	})
}

// applyPatch is apply for what a patch leads to. It fails if the patch is of
// another ruleset than the one in force.
func (p *Provider) applyPatch(change eval.Patch) error {
	old := p.rules.Current()
	return p.swap(old, change.To, func() (*eval.Ruleset, []*flyball.Error) { return old.Update(change) })
}

// swap puts what update makes in the place of old.
func (p *Provider) swap(old *eval.Ruleset, id flyball.RulesetID, update func() (*eval.Ruleset, []*flyball.Error)) error {
	if old != nil && !old.ID().Before(id) {
		return nil // a late answer to an old question
	}
	rs, problems := update()
	if rs == nil {
		return poison{problems[0]}
	}
	if !p.rules.Offer(rs) {
		return nil
	}
	for _, e := range problems[:min(len(problems), maxUnread)] {
		p.log.Error("part of the ruleset cannot be read: its previous definition stays", "version", id.Version, "error", e)
	}
	p.mu.Lock()
	p.unread = p.unread[:0:0]
	for _, e := range problems[:min(len(problems), maxUnread)] {
		p.unread = append(p.unread, e.Error())
	}
	p.wake()
	p.mu.Unlock()
	p.record.live(rs.Live())
	p.record.hasten(p.pace.applied)
	p.saved.offer(rs)
	if old != nil {
		if changed := eval.Changed(old, rs); len(changed) > 0 {
			p.emit(openfeature.ProviderConfigChange, openfeature.ProviderEventDetails{
				Message: "flags changed", FlagChanges: changed,
				EventMetadata: map[string]any{"version": id.Version},
			})
		}
	}
	return nil
}

// maxUnread is how many problems of a ruleset are told.
const maxUnread = 20

func (p *Provider) unreadable() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.unread)
}
