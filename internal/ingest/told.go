package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/store"
)

// Evidence returns what is known of a rollout at now: from the judge where this
// process judges, else what the judge wrote last. found is false if there is
// none yet.
func (r *Runner) Evidence(ctx context.Context, rollout string, now time.Time) (e flyball.Evidence, found bool, err error) {
	r.mu.Lock()
	if r.judge != nil {
		e, found = r.judge.Evidence(rollout, now)
	}
	r.mu.Unlock()
	if found {
		return e, true, nil
	}
	err = r.db.View(ctx, func(tx *store.Tx) (err error) {
		e, found, err = tx.EvidenceOf(rollout)
		return err
	})
	return e, found, err
}

// Fleet tells how far the instances of an environment have come, of which head
// is the ruleset in force.
func (r *Runner) Fleet(ctx context.Context, environment string, head flyball.RulesetID, now time.Time) (flyball.Fleet, error) {
	r.mu.Lock()
	if r.judge != nil {
		defer r.mu.Unlock()
		return r.judge.Fleet(environment, head, now), nil
	}
	r.mu.Unlock()
	var all []flyball.Instance
	err := r.db.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.Instances(environment, now.Add(-flyball.InstanceMemory))
		return err
	})
	return fleetOf(environment, all, head), err
}

// Traffic tells how much was lately observed of each metric in an environment:
// from the judge where this process judges, else what the judge wrote last.
func (r *Runner) Traffic(ctx context.Context, environment string, now time.Time) ([]flyball.MetricTraffic, error) {
	r.mu.Lock()
	if r.judge != nil {
		defer r.mu.Unlock()
		return r.judge.flows.told(environment, micros(now)), nil
	}
	r.mu.Unlock()
	all := map[string][]flyball.MetricTraffic{}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		text, found, err := tx.Setting(settingFlow)
		if err != nil || !found {
			return err
		}
		return json.Unmarshal([]byte(text), &all)
	})
	return all[environment], err
}

// writtenFlows is the traffic of every environment, for other processes.
func (j *Judge) writtenFlows(now time.Time) string {
	all := map[string][]flyball.MetricTraffic{}
	for _, f := range j.flows.all() {
		all[f.Environment] = append(all[f.Environment], f.told(micros(now)))
	}
	text, err := json.Marshal(all)
	if err != nil {
		return "" // a sum that ran over: told the next time
	}
	return string(text)
}

// evidence returns that of all live rollouts, and the last of those that
// ended since it was written.
func (g *reign) evidence(now time.Time) []flyball.Evidence {
	var all []flyball.Evidence
	for _, e := range g.judge.ended {
		if _, known := g.knownEnded[e.Rollout]; !known {
			all = append(all, e)
		}
	}
	for _, t := range g.judge.trials {
		all = append(all, t.evidence(now))
	}
	return all
}

// tell writes evidence, each rollout's by itself where one cannot be written.
func (g *reign) tell(ctx context.Context, now time.Time) error {
	g.told, g.toldSeq = now, g.judge.Seq()
	all := g.evidence(now)
	if len(all) == 0 {
		return nil
	}
	put := func(some []flyball.Evidence) error {
		return g.db.Update(ctx, func(tx *store.Tx) error {
			if err := tx.RenewLease(LeaseName, g.fence, leaseTTL, now); err != nil {
				return err
			}
			for _, e := range some {
				if err := tx.PutEvidence(e.Rollout, e); err != nil {
					return err
				}
			}
			return g.wakeOthers(tx, some)
		})
	}
	err := put(all)
	for i := range all {
		if err == nil || flyball.CodeOf(err) == flyball.Conflict {
			break
		}
		if err := put(all[i : i+1]); err != nil {
			g.fail(ctx, err)
		}
	}
	if err != nil && flyball.CodeOf(err) == flyball.Conflict {
		return err
	}
	g.renewed = now
	for _, e := range all {
		if !g.isLive(e.Rollout) {
			g.knownEnded[e.Rollout] = struct{}{}
			delete(g.said, e.Rollout)
		}
	}
	return nil
}

// wakeOthers tells other processes of evidence that says something new.
func (g *reign) wakeOthers(tx *store.Tx, all []flyball.Evidence) error {
	news := false
	for _, e := range all {
		verdicts := fmt.Sprint(e.Step, e.Verdict, len(e.Quality))
		for _, m := range e.Guardrails {
			verdicts += " " + string(m.Verdict)
		}
		news = news || g.said[e.Rollout] != verdicts
		g.said[e.Rollout] = verdicts
	}
	if !news {
		return nil
	}
	return tx.Tell("evidence")
}

func (g *reign) isLive(rollout string) bool {
	for _, t := range g.judge.trials {
		if t.Entry.Rollout.ID == rollout {
			return true
		}
	}
	return false
}
