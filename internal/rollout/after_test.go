package rollout

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

// A decision that comes too late is refused, whatever made it late.
func TestADecisionThatCameTooLateIsRefused(t *testing.T) {
	lease := &flyball.Time{Time: midnight.Add(time.Minute)}
	r := flyball.Rollout{
		ID: "r1", State: flyball.RolloutRunning, At: 1, Revision: 7, LeaseUntil: lease,
		RolloutPlan: flyball.RolloutPlan{Steps: []flyball.Step{{PPM: 1}, {PPM: 2}, {PPM: 3}, {PPM: 4}}}.WithDefaults(),
	}
	later := &flyball.Time{Time: midnight.Add(time.Hour)}
	for _, tt := range []struct {
		name  string
		d     Decision
		state flyball.RolloutState // if not running
		now   time.Duration
		want  string // of the refusal; empty if it is carried out
	}{
		{"an advance of now is carried out", Decision{Action: Advance, Step: 2}, "", 0, ""},
		{"the rollout changed since", Decision{Action: Advance, Step: 2, Revision: -1}, "", 0, "changed since revision 6"},
		{"even an abort is decided anew then", Decision{Action: Abort, Step: 1, Revision: -1}, "", 0, "changed since revision 6"},
		{"an advance is carried out for ten seconds", Decision{Action: Advance, Step: 2}, "", MaxAge, ""},
		{"an advance that slept is not", Decision{Action: Advance, Step: 2}, "", MaxAge + 1, "old: decide anew"},
		{"an advance from the future is not", Decision{Action: Advance, Step: 2}, "", -MaxAge - 1, "old: decide anew"},
		{"an abort that slept is", Decision{Action: Abort, Step: 1}, "", time.Hour, ""},
		{"a step back that slept past the lease is not", Decision{Action: StepBack, Step: 0}, "", time.Minute, "the lease ended"},
		{"no step is skipped", Decision{Action: Advance, Step: 3}, "", 0, "no advance to step 3"},
		{"no step is taken twice", Decision{Action: Advance, Step: 1}, "", 0, "no advance to step 1"},
		{"a hold moves nothing", Decision{Action: Hold, Step: 2}, "", 0, "no hold to step 2"},
		{"a paused rollout does not advance", Decision{Action: Advance, Step: 2}, flyball.RolloutPaused, 0, "is paused"},
		{"a paused rollout is not resumed", Decision{Action: Resume, Step: 1}, flyball.RolloutPaused, 0, "is paused"},
		{"a paused rollout is not renewed", Decision{Action: Renew, Step: 1, LeaseUntil: later}, flyball.RolloutPaused, 0, "is paused"},
		{"a paused rollout aborts", Decision{Action: Abort, Step: 1}, flyball.RolloutPaused, 0, ""},
		{"a killed rollout does not advance", Decision{Action: Advance, Step: 2}, flyball.RolloutStopped, 0, "is stopped"},
		{"a killed rollout does not abort", Decision{Action: Abort, Step: 1}, flyball.RolloutStopped, 0, "is stopped"},
		{"a pending rollout aborts", Decision{Action: Abort, Step: 1}, flyball.RolloutPending, 0, ""},
		{"a lease is renewed before its end", Decision{Action: Renew, Step: 1, LeaseUntil: later, At: midnight.Add(time.Minute - 1)}, "", time.Minute - 1, ""},
		{"a lease is not renewed at its end", Decision{Action: Renew, Step: 1, LeaseUntil: later, At: midnight.Add(time.Minute)}, "", time.Minute, "the lease ended"},
		{"a renewal renews", Decision{Action: Renew, Step: 1}, "", 0, "needs a lease"},
		{"a lease that is over is not granted", Decision{Action: Advance, Step: 2, LeaseUntil: &flyball.Time{Time: midnight}}, "", time.Second, "the lease to grant ended"},
		{"an unknown action is a fault of ours", Decision{Action: "leap", Step: 2}, "", 0, "there is no action"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, d := r, tt.d
			if tt.state != "" {
				r.State = tt.state
			}
			d.Revision += r.Revision
			if d.At.IsZero() {
				d.At = midnight
			}
			got, err := After(r, d, midnight.Add(tt.now))
			if tt.want == "" {
				if err != nil || got.Revision != r.Revision+1 {
					t.Errorf("revision %d, %v; want it carried out", got.Revision, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a refusal that says %q", err, tt.want)
			}
			if code := flyball.CodeOf(err); code != flyball.Conflict && d.Action != "leap" {
				t.Errorf("the code is %s, want conflict", code)
			}
		})
	}
}

// To wait changes nothing, not even the revision.
func TestWaitingChangesNothing(t *testing.T) {
	r := flyball.Rollout{ID: "r1", State: flyball.RolloutStopped, Revision: 7}
	got, err := After(r, Decision{Action: Wait, Revision: 3}, midnight)
	if err != nil || got.Revision != 7 {
		t.Errorf("got revision %d, %v", got.Revision, err)
	}
}

// A renewal moves the end of the lease and nothing else, not even the reason
// that people read for what the rollout is doing.
func TestARenewalMovesOnlyTheLease(t *testing.T) {
	r := flyball.Rollout{
		ID: "r1", State: flyball.RolloutHolding, Why: "waits for approval", SteppedAt: midnight, Since: midnight,
		LeaseUntil:  &flyball.Time{Time: midnight.Add(time.Hour)},
		RolloutPlan: flyball.RolloutPlan{Steps: []flyball.Step{{PPM: 1}}}.WithDefaults(),
	}
	want := r
	want.Revision, want.LeaseUntil = 1, &flyball.Time{Time: midnight.Add(2 * time.Hour)}
	now := midnight.Add(30 * time.Minute)
	got, err := After(r, Decision{Action: Renew, LeaseUntil: want.LeaseUntil, Why: "healthy", At: now}, now)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// A time that the clock leapt over, which another machine stamped, is no
// longer ago than the leap.
func TestATimeThatWasLeaptOver(t *testing.T) {
	s := Situation{Now: midnight.Add(time.Hour), Leaps: []Leap{{At: midnight.Add(50 * time.Minute), By: 30 * time.Minute}}}
	if got := s.gone(midnight.Add(40 * time.Minute)); got != 10*time.Minute {
		t.Errorf("%v ago, want 10m", got)
	}
}

// Next decides even on a rollout that no honest store would hand it.
func TestNextNeverPanics(t *testing.T) {
	for _, state := range []flyball.RolloutState{"", "odd", flyball.RolloutPending, flyball.RolloutRunning, flyball.RolloutPaused, flyball.RolloutHolding, flyball.RolloutStopped} {
		for _, steps := range [][]flyball.Step{nil, {{PPM: 1}}, {{PPM: 0}, {PPM: -5}}, {{PPM: 1}, {PPM: flyball.PPM}}} {
			for _, at := range []int{-1, 0, 1, 2, 1 << 40} {
				s := Situation{Rollout: flyball.Rollout{ID: "r", State: state, At: at, RolloutPlan: flyball.RolloutPlan{Steps: steps}}, Stateful: true, Now: midnight}
				s.Due()
				if d := Next(s); d.Action == Advance || d.Action == Finish && s.Rollout.Steps[at].PPM < flyball.PPM {
					t.Errorf("%s at step %d of %d without evidence: %+v", state, at, len(steps), d)
				}
			}
		}
	}
}

func TestDueIsWhenTheHoldIsOver(t *testing.T) {
	s := Situation{
		Rollout: flyball.Rollout{State: flyball.RolloutRunning, SteppedAt: midnight, RolloutPlan: flyball.RolloutPlan{Steps: []flyball.Step{{PPM: 1, Hold: flyball.Duration(time.Hour)}}}},
		Now:     midnight.Add(3 * time.Hour),
		Leaps:   []Leap{{At: midnight.Add(150 * time.Minute), By: 2 * time.Hour}},
	}
	if got, want := s.Due(), midnight.Add(3*time.Hour); !got.Equal(want) {
		t.Errorf("due at %v, want %v: two hours were leapt over", got, want)
	}
}

// A decision is read by people and programs alike.
func TestADecisionAsJSON(t *testing.T) {
	text, err := json.Marshal(Decision{Action: Hold, Step: 1, Why: "no data", Revision: 3, At: midnight})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"action":"hold","step":1,"why":"no data","revision":3,"at":"2026-11-21T00:00:00Z"}`; string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

// A reason fits an audit entry, and stays text, however long the evidence talks.
func TestAReasonIsBounded(t *testing.T) {
	s := Situation{
		Rollout:  flyball.Rollout{ID: "r", State: flyball.RolloutRunning, RolloutPlan: flyball.RolloutPlan{Steps: []flyball.Step{{PPM: 1}}}},
		Evidence: flyball.Evidence{Rollout: "r", Lossy: strings.Repeat("é", 5000)},
		Now:      midnight,
	}
	s.Rollout.SteppedAt = midnight
	d := Next(s)
	if d.Action != Hold || len(d.Why) > flyball.MaxTextLen || !strings.HasSuffix(d.Why, "é…") {
		t.Errorf("%s, %d bytes, ends %q", d.Action, len(d.Why), d.Why[len(d.Why)-8:])
	}
}

func TestAClockTellsItsLeaps(t *testing.T) {
	c := clock{first: midnight}
	at := func(wall, gone time.Duration) []Leap { return c.see(midnight.Add(wall), gone) }
	at(time.Hour, time.Hour)
	at(time.Hour+time.Second, time.Hour) // slewed, no leap
	if leaps := at(3*time.Hour, 2*time.Hour); len(leaps) != 1 || leaps[0].By != time.Hour-time.Second || !leaps[0].At.Equal(midnight.Add(3*time.Hour)) {
		t.Errorf("a leap forward: %v", leaps)
	}
	if leaps := at(2*time.Hour, 2*time.Hour); len(leaps) != 2 || leaps[1].By != -time.Hour {
		t.Errorf("set back: %v", leaps)
	}
	for i := range 200 {
		if leaps := at(time.Duration(10+i%2)*time.Hour, 2*time.Hour); len(leaps) > maxLeaps {
			t.Fatalf("%d leaps are remembered", len(leaps))
		}
	}
	steady := clock{}
	for range 3 {
		if leaps := steady.look(time.Now()); len(leaps) > 0 {
			t.Errorf("a steady clock leapt: %v", leaps)
		}
	}
}
