package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/service"
)

// A show runs the two rollouts of the demonstration and tells what happens.
type show struct {
	*program
	shop    *shop
	start   time.Time
	after   int64     // the last audit entry told
	struck  time.Time // when the bad rollout was aborted
	version int64     // the ruleset version of that
	safe    time.Time // when every worker had it
	tallies [4][2]int64
	summary demoSummary
}

func newShow(p *program, s *shop) *show { return &show{program: p, shop: s} }

// run plays until both rollouts have ended and every worker is safe.
func (s *show) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, showTime)
	defer cancel()
	s.say("a shop with %d customers and %d workers, %d requests a second, at %s", shopUsers, shopWorkers, shopRate, s.server)
	s.say("watch it in a browser at %s/#/rollouts, with the token %s", s.server, s.token)
	s.say("good: %s lowers errors from 4 %% to 1 %%", goodFlag)
	s.say("bad:  %s fails for 40 %% once its backend is overloaded, at its second step\n", badFlag)
	if _, err := s.newEntries(ctx); err != nil {
		return err
	}
	s.start = time.Now()
	if err := s.startRollouts(ctx); err != nil {
		return err
	}
	look, tell := time.NewTicker(20*time.Millisecond), time.NewTicker(time.Second)
	defer look.Stop()
	defer tell.Stop()
	for ended := false; !ended; {
		var err error
		select {
		case <-ctx.Done():
			return fmt.Errorf("the show did not end within %v", showTime)
		case <-tell.C:
			err = s.tellStatus(ctx)
		case <-look.C:
			ended, err = s.look(ctx)
		}
		if err != nil {
			return err
		}
	}
	return s.finish(ctx)
}

// look tells what was decided since the last look, and says whether the show
// is over.
func (s *show) look(ctx context.Context) (over bool, err error) {
	if !s.struck.IsZero() && s.safe.IsZero() && s.shop.safe(s.version) {
		s.safe = time.Now()
		s.say("%s every worker runs version %d: nobody has the bad feature any more", s.clock(s.safe), s.version)
	}
	entries, err := s.newEntries(ctx)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		s.tellEntry(e)
	}
	m := &s.summary
	return m.Good.State != "" && m.Bad.State != "" && (!s.safe.IsZero() || m.Bad.State != flyball.RolloutAborted), nil
}

func (s *show) newEntries(ctx context.Context) ([]flyball.AuditEntry, error) {
	fields := map[string]any{"limit": 100}
	if s.after > 0 {
		fields["after"] = s.after
	}
	found, err := invoke[service.Audit](ctx, s.program, "list_audit", fields)
	for _, e := range found.Entries {
		s.after = max(s.after, e.Seq)
	}
	return found.Entries, err
}

var endings = map[string]flyball.RolloutState{
	"rollout.finish": flyball.RolloutCompleted, "rollout.abort": flyball.RolloutAborted, "rollout.stop": flyball.RolloutStopped,
}

// tellEntry tells of one change, and notes how a rollout ended.
func (s *show) tellEntry(e flyball.AuditEntry) {
	verb, color := strings.TrimPrefix(e.Action, "rollout."), green
	state, ended := endings[e.Action]
	if verb == "abort" {
		color = red
	} else if verb == "hold" {
		color = yellow
	}
	s.say("%s %s %s  %s", s.clock(e.At), s.paint(color, fmt.Sprintf("%-7s", verb)), s.paint(bold, e.Subject), e.Reason)
	if !ended {
		return
	}
	switch e.Subject {
	case goodFlag:
		s.summary.Good.State, s.summary.Good.Seconds = state, e.At.Sub(s.start).Seconds()
	case badFlag:
		s.summary.Bad.State, s.struck, s.version = state, e.At, e.Version
	}
}

func (s *show) clock(at time.Time) string {
	return s.paint(faint, fmt.Sprintf("%5.1fs", at.Sub(s.start).Seconds()))
}

func (s *show) say(format string, args ...any) { fmt.Fprintf(s.stage(), format+"\n", args...) }

// tellStatus tells of both rollouts in a line each: share, errors in the last
// second, evidence.
func (s *show) tellStatus(ctx context.Context) error {
	for i, flag := range []string{goodFlag, badFlag} {
		v, err := invoke[service.RolloutView](ctx, s.program, "get_rollout", map[string]any{"id": flag})
		if err != nil {
			return err
		}
		arms := &s.shop.good
		if flag == badFlag {
			arms = &s.shop.bad
		}
		control, treatment := s.lately(2*i, &arms[0]), s.lately(2*i+1, &arms[1])
		if !v.State.Live() {
			continue
		}
		line := fmt.Sprintf("%-28s %6s  errors %s → %s", flag, share(v.Steps[v.At].PPM), control, treatment)
		if v.Evidence != nil && len(v.Evidence.Guardrails) > 0 {
			g := v.Evidence.Guardrails[0]
			line += fmt.Sprintf("  harm e=%-8.3g of %.4g  safe e=%-8.3g of %.4g", g.E, g.Threshold, g.AdvanceE, g.AdvanceThreshold)
		}
		s.say("%s %s", s.clock(time.Now()), s.paint(faint, line))
	}
	return nil
}

// lately is the share of failed requests since the last time it was asked.
func (s *show) lately(which int, t *tally) string {
	now := [2]int64{t.requests.Load(), t.failed.Load()}
	before := s.tallies[which]
	s.tallies[which] = now
	if now[0] == before[0] {
		return "    –"
	}
	return fmt.Sprintf("%4.1f%%", 100*float64(now[1]-before[1])/float64(now[0]-before[0]))
}

// finish sums the show up.
func (s *show) finish(context.Context) error {
	m, took := &s.summary, time.Since(s.start).Seconds()
	if broke := s.shop.backend.firstFailure(); !broke.IsZero() && !s.safe.IsZero() {
		m.Bad.SecondsToAbort, m.Bad.SecondsToSafe = s.struck.Sub(broke).Seconds(), s.safe.Sub(broke).Seconds()
	}
	m.Bad.UsersExposed, m.UsersTotal = s.shop.exposed(), shopUsers
	m.Requests, m.Seconds, m.Server = s.shop.requests.Load(), took, s.server
	m.RequestsPerSecond = float64(m.Requests) / took
	return s.printSummary()
}
