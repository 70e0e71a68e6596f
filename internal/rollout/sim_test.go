package rollout

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/flyballdev/flyball"
)

// TestAHostileWorld lets several controllers drive one rollout through a world
// that crashes between deciding and doing, reads old news, writes late, sets
// its clock and lies dead or talks nonsense, while people pause, approve and
// kill at random. Whatever happens:
//
//   - exposure rises only on fresh, sufficient, finite data without a mismatch;
//   - a step is taken once, in order, none is skipped, and not before its hold;
//   - exposure is never above the plan, nor longer than a lease;
//   - a kill or a pause beats every decision made before it;
//   - a breach ends or lowers exposure as soon as the world lets it;
//   - once the world is calm, the rollout comes to its end without people.
//
// SEED replays one world.
func TestAHostileWorld(t *testing.T) {
	seeds := uint64(2_000)
	if os.Getenv("FLYBALL_NIGHTLY") != "" {
		seeds = 100_000
	}
	first := uint64(1)
	if text := os.Getenv("SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("SEED: %v", err)
		}
		first, seeds = n, 1
	}
	seen := make(map[string]int)
	for seed := first; seed < first+seeds; seed++ {
		w := newSim(seed)
		w.play()
		for _, wrong := range w.wrong {
			t.Errorf("seed %d: %s", seed, wrong)
		}
		if t.Failed() {
			t.Fatalf("replay with SEED=%d go test -run AHostileWorld ./internal/rollout\nplan: %+v\n%v", seed, w.stored.RolloutPlan, w.history)
		}
		for what, n := range w.seen {
			seen[what] += n
		}
	}
	t.Logf("in %d worlds: %v", seeds, seen)
	if seeds == 1 {
		return
	}
	// A world that lets nothing happen would prove nothing.
	for _, what := range []string{
		"start", "advance", "hold", "resume", "stepBack", "abort", "stop", "finish", "renew", "absence",
		"completed", "aborted", "stopped", "killed", "paused", "conflict", "fenced", "stepped back", "late", "late refused", "crash", "panic", "leap", "set back",
	} {
		if seen[what] == 0 {
			t.Errorf("no world had %q", what)
		}
	}
}

// A sim is a hostile World with one rollout.
type sim struct {
	rng   *rand.Rand
	seen  map[string]int
	wrong []string
	// history tells what was carried out.
	history []string

	gone    time.Duration // true time since the beginning
	set     time.Duration // by how much the clock was set since
	leaps   []simLeap
	stored  flyball.Rollout
	entered time.Duration // when the step in force began, in true time
	killed  bool

	mood      string // of the evidence
	lastHeard [2]time.Duration
	lastWall  [2]time.Time
	tripped   *time.Time
	told      []telling // evidence as it was told; its Why is its number
	read      Situation // an earlier answer, for stale reads
	late      []lateWrite
	procs     []*proc
	fenced    bool // only the holder of a lease may write, as in the service; else whoever comes
	holder    int  // of procs
	depth     int
	calm      bool
}

type simLeap struct {
	at time.Duration
	by time.Duration
}

// A telling is the truth about one piece of evidence.
type telling struct {
	heard [2]time.Duration // when each arm was last heard, in true time
	mood  string
}

type lateWrite struct {
	s    Situation
	d    Decision
	proc *proc
}

// A proc is one process that runs a controller.
type proc struct {
	c       Controller
	clock   clock
	started time.Duration
}

func newSim(seed uint64) *sim {
	w := &sim{rng: rand.New(rand.NewPCG(seed, 7)), seen: make(map[string]int), mood: "healthy"}
	w.stored = flyball.Rollout{ID: "r", State: flyball.RolloutPending, StartedAt: w.now(), Since: w.now(), RolloutPlan: w.anyPlan()}
	for range 1 + w.rng.IntN(3) {
		w.procs = append(w.procs, w.boot())
	}
	w.fenced = w.chance(.5)
	return w
}

func (w *sim) boot() *proc {
	p := &proc{started: w.gone}
	p.c = Controller{World: simWorld{w, p}, Timeout: time.Hour}
	p.clock.first = w.now().Add(-w.gone) // what was set before, it cannot know
	return p
}

func pick[T any](w *sim, of ...T) T { return of[w.rng.IntN(len(of))] }

func (w *sim) chance(p float64) bool { return w.rng.Float64() < p }

func (w *sim) anyPlan() flyball.RolloutPlan {
	p := flyball.RolloutPlan{
		Flag: "f", Environment: "e", Treatment: "on", Control: "off",
		Then:      pick(w, flyball.ThenKeep, flyball.ThenKeep, flyball.ThenKeep, flyball.ThenOff),
		OnBreach:  pick(w, flyball.BreachAbort, flyball.BreachStepBack, flyball.BreachHold),
		OnUnsure:  flyball.OnUnsure{After: pick(w, 0, flyball.Duration(10*time.Minute)), Then: pick(w, "hold", "advance")},
		OnSilence: flyball.OnSilence{After: pick(w, 0, flyball.Duration(time.Minute)), Then: pick(w, "hold", "hold", "abort")},
	}
	for i := range w.rng.IntN(3) {
		p.Guardrails = append(p.Guardrails, flyball.Guardrail{Metric: fmt.Sprint("metric-", i)})
	}
	ppm := 0
	for range 1 + w.rng.IntN(5) {
		ppm += 1 + w.rng.IntN((flyball.PPM-ppm)/3)
		s := flyball.Step{PPM: ppm, Hold: pick(w, 0, flyball.Duration(2*time.Second), flyball.Duration(time.Minute), flyball.Duration(10*time.Minute))}
		if w.chance(.3) {
			s.Lease = pick(w, flyball.MinLease, flyball.Duration(5*time.Minute), flyball.Duration(time.Hour))
		}
		if w.chance(.15) {
			s.Gates = []flyball.Gate{{Approval: 1, Timeout: pick(w, 0, flyball.Duration(5*time.Minute)), OnTimeout: pick(w, "hold", "abort")}}
		}
		p.Steps = append(p.Steps, s)
	}
	if w.chance(.4) {
		p.Steps = append(p.Steps, flyball.Step{PPM: flyball.PPM, Hold: flyball.Duration(time.Minute)})
	}
	return p.WithDefaults()
}

func (w *sim) now() time.Time { return midnight.Add(w.gone + w.set) }

func (w *sim) note(what string) { w.seen[what]++ }

func (w *sim) fault(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// play is one life of a rollout: a hostile while, then a calm one.
func (w *sim) play() {
	for i := 0; i < 200 && w.stored.State.Live() && len(w.wrong) == 0; i++ {
		w.pass(pick(w, 100*time.Millisecond, time.Second, time.Second, 3*time.Second, 30*time.Second, 3*time.Minute))
		w.chaos()
		w.look(pick(w, w.procs...))
	}
	w.settle()
	w.note(string(w.stored.State))
}

// pass lets time go by, in which both arms are heard unless they are silent.
func (w *sim) pass(d time.Duration) {
	w.gone += d
	for arm, mute := range []string{"no control", "no treatment"} {
		if w.mood != mute && w.mood != "silence" {
			w.lastHeard[arm], w.lastWall[arm] = w.gone, w.now()
		}
	}
}

// chaos is what people, machines and clocks do meanwhile.
func (w *sim) chaos() {
	if w.chance(.08) {
		w.mood = pick(w, "healthy", "healthy", "healthy", "unsure", "unsure", "flapping", "no control", "no treatment", "silence", "NaN", "Inf",
			"mismatch", "lossy", "crossed", "unjoined", "blocked", "old step", "nothing", "few", "a guardrail missing", "future", "negative", "contradiction")
		if w.chance(.08) {
			w.mood = "breached"
		}
		w.tripped = nil
	}
	switch {
	case w.chance(.004):
		w.person("kill", flyball.RolloutStopped)
	case w.chance(.01) && w.stored.State == flyball.RolloutRunning:
		w.person("paused", flyball.RolloutPaused)
	case w.chance(.2) && w.stored.State == flyball.RolloutPaused:
		w.person("resumed", flyball.RolloutRunning)
	case w.chance(.1):
		w.approve()
	}
	if w.chance(.01) && len(w.leaps) < 3 {
		by := pick(w, -time.Hour, -time.Minute, time.Minute, time.Hour)
		w.set += by
		w.leaps = append(w.leaps, simLeap{w.gone, by})
		if by > 0 {
			w.note("leap")
		} else {
			w.note("set back")
		}
		w.history = append(w.history, fmt.Sprintf("%v clock set by %v\n", w.gone, by))
	}
	if w.chance(.02) {
		w.procs[w.rng.IntN(len(w.procs))] = w.boot()
	}
	if w.chance(.05) {
		w.holder = w.rng.IntN(len(w.procs)) // and nobody tells the one that had it
	}
	if w.chance(.005) {
		w.stepBack()
	}
	for i := len(w.late) - 1; i >= 0; i-- {
		if w.chance(.3) {
			l := w.late[i]
			w.late = slices.Delete(w.late, i, i+1)
			w.note("late")
			if err := w.commit(l.s, l.d, l.proc); err != nil {
				w.note("late refused")
			}
		}
	}
}

func (w *sim) person(does string, to flyball.RolloutState) {
	if !w.stored.State.Live() {
		return
	}
	w.stored.State, w.stored.Since = to, w.now()
	w.stored.Revision++
	w.killed = w.killed || to == flyball.RolloutStopped
	w.note(map[bool]string{true: "killed", false: does}[w.killed])
	w.history = append(w.history, fmt.Sprintf("%v a person: %s\n", w.gone, does))
}

// stepBack is a person's, who pauses the rollout with it.
func (w *sim) stepBack() {
	r := &w.stored
	if !r.State.Live() || r.At == 0 || r.State == flyball.RolloutPending {
		return
	}
	r.At--
	r.State, r.Since, r.SteppedAt, r.SteppedBack, r.LeaseUntil = flyball.RolloutPaused, w.now(), w.now(), true, nil
	if lease := r.Steps[r.At].Lease.Std(); lease > 0 {
		r.LeaseUntil = &flyball.Time{Time: w.now().Add(lease)}
	}
	r.Revision++
	w.entered = w.gone
	w.note("stepped back")
	w.history = append(w.history, fmt.Sprintf("%v a person steps back to %d\n", w.gone, r.At))
}

func (w *sim) approve() {
	if w.stored.State.Live() {
		w.stored.Passed = append(slices.Clone(w.stored.Passed), flyball.GatePass{Step: w.stored.At, By: "user:ann", At: w.now()})
		w.stored.Revision++
	}
}

// look is one look of a process, which may die in it.
func (w *sim) look(p *proc) {
	err := p.c.guarded(context.Background(), func(ctx context.Context) error {
		return p.c.try(ctx, "r", w.now(), p.clock.see(w.now(), w.gone))
	})
	if flyball.CodeOf(err) == flyball.Conflict && err != nil {
		w.note("conflict")
	}
}

// settle lets the world be calm, and wants the rollout to come to its end: to
// what the plan says of a breach, or to completion.
func (w *sim) settle() {
	w.holder = 0
	w.calm, w.mood, w.tripped = true, pick(w, "healthy", "healthy", "breached"), nil
	at := w.stored.At
	for i := range 2_000 {
		if !w.stored.State.Live() || len(w.wrong) > 0 {
			return
		}
		w.pass(pick(w, time.Second, 20*time.Second))
		w.approve()
		if w.stored.State == flyball.RolloutPaused && w.mood == "healthy" {
			w.person("resumed", flyball.RolloutRunning)
		}
		w.look(w.procs[0])
		if w.mood != "breached" {
			continue
		}
		if w.stored.At > at {
			w.fault("advanced to step %d under a breach", w.stored.At)
		}
		at = w.stored.At
		begun := w.stored.State != flyball.RolloutPending
		if i > 2 && begun && w.stored.OnBreach == flyball.BreachAbort && w.stored.State.Live() && w.told[len(w.told)-1].mood == "breached" && w.hasControl() {
			w.fault("%s three looks after a breach that aborts", w.stored.State)
		}
		if i > 20 && begun && w.stored.State == flyball.RolloutRunning {
			w.fault("running 20 looks after a breach")
		}
		if i > 50 {
			return // holding, as the plan says
		}
	}
	w.fault("still %s at step %d after hours of a calm world: %s", w.stored.State, w.stored.At, w.stored.Why)
}

func (w *sim) hasControl() bool { return w.stored.Steps[w.stored.At].PPM < flyball.PPM }

// tell makes evidence of the moment, as the mood is.
func (w *sim) tell() flyball.Evidence {
	if w.mood == "nothing" {
		return flyball.Evidence{}
	}
	s := Situation{Rollout: w.stored, Now: w.now()}
	verdict := flyball.Healthy
	switch {
	case w.mood == "unsure" || w.mood == "flapping" && w.chance(.5):
		verdict = flyball.Unsure
	case w.mood == "breached":
		verdict = flyball.Breached
	}
	e := evidence(s, verdict)
	if w.tripped == nil {
		w.tripped = ptr(w.now())
	}
	for i := range e.Guardrails {
		if verdict == flyball.Breached {
			e.Guardrails[i].FirstTripped = w.tripped
		}
	}
	e.Last = flyball.ArmTimes{Control: w.lastWall[0], Treatment: w.lastWall[1]}
	w.spoil(&e)
	e.Why = strconv.Itoa(len(w.told))
	w.told = append(w.told, telling{heard: w.lastHeard, mood: w.mood})
	return e
}

func (w *sim) spoil(e *flyball.Evidence) {
	odd := map[string]float64{"NaN": math.NaN(), "Inf": math.Inf(1), "negative": -3}
	switch w.mood {
	case "NaN", "Inf", "negative":
		if len(e.Guardrails) == 0 {
			e.SRM.BayesFactor = odd[w.mood]
		} else if g := &e.Guardrails[w.rng.IntN(len(e.Guardrails))]; w.chance(.5) {
			g.E = odd[w.mood]
		} else {
			g.AdvanceE = odd[w.mood]
		}
	case "mismatch":
		e.SRM = flyball.SampleRatio{BayesFactor: 1e5, Threshold: 1e3, Mismatch: true}
	case "lossy":
		e.Lossy = "a batch never came"
	case "crossed":
		e.Crossed = 3_000
	case "unjoined":
		e.Unjoined = 90_000
	case "blocked":
		e.Blocks = []string{"an alarm is open"}
	case "old step":
		e.Step--
	case "few":
		e.StepUnits.Treatment = int64(w.rng.IntN(100))
	case "a guardrail missing":
		if len(e.Guardrails) > 0 {
			e.Guardrails = e.Guardrails[1:]
		} else {
			e.Units.Control = -1
		}
	case "future":
		e.Last.Treatment = w.now().Add(time.Hour)
	case "contradiction":
		if len(e.Guardrails) > 0 {
			e.Guardrails[0].E = 1e6
		} else {
			e.Crossed = -1
		}
	}
}

// A simWorld is the sim as one process sees it.
type simWorld struct {
	*sim
	proc *proc
}

func (w simWorld) Running(context.Context) ([]string, error) { return []string{"r"}, nil }

func (w simWorld) Situation(context.Context, string) (Situation, error) {
	if !w.calm && w.chance(.03) {
		w.note("crash")
		return Situation{}, errors.New("the database is away")
	}
	if !w.calm && w.read.Rollout.ID != "" && w.chance(.1) {
		return w.read, nil // what a replica, or a process that slept, believes
	}
	s := Situation{
		Rollout: w.stored, Evidence: w.tell(),
		Metrics: map[string]flyball.Metric{
			"metric-0": {Key: "metric-0", Analysis: flyball.AnalysisRequest},
			"metric-1": {Key: "metric-1", Analysis: flyball.AnalysisUnit, Window: flyball.Duration(30 * time.Second)},
		},
	}
	if w.chance(.3) {
		w.read = s
	}
	return s, nil
}

func (w simWorld) Apply(_ context.Context, s Situation, d Decision) error {
	if w.calm {
		return w.commit(s, d, w.proc)
	}
	switch p := w.rng.Float64(); {
	case p < .05:
		w.note("crash")
		return errors.New("killed before the commit")
	case p < .08:
		w.note("panic")
		panic("a bug in the world")
	case p < .13:
		w.late = append(w.late, lateWrite{s, d, w.proc}) // stopped; it will go on later
		return errors.New("stopped before the commit")
	case p < .18:
		if err := w.commit(s, d, w.proc); err != nil {
			return err
		}
		w.note("crash")
		return errors.New("killed after the commit")
	case p < .25:
		w.chaos() // somebody else is quicker
	case p < .35 && w.depth == 0:
		w.depth++
		w.look(pick(w.sim, w.procs...))
		w.depth--
	}
	return w.commit(s, d, w.proc)
}

// commit is the transaction in which a decision is carried out.
func (w *sim) commit(s Situation, d Decision, p *proc) error {
	if w.fenced && w.procs[w.holder] != p {
		w.note("fenced")
		return flyball.Errorf(flyball.Conflict, "the lease is lost")
	}
	was := w.stored
	r, err := After(was, d, w.now())
	if err != nil {
		return err
	}
	w.check(was, r, s, d, p)
	w.note(string(d.Action))
	if d.AbsenceOfEvidence {
		w.note("absence")
	}
	w.stored = r
	if d.Action == Start || d.Action == Advance || d.Action == StepBack {
		w.entered = w.gone
	}
	w.history = append(w.history, fmt.Sprintf("%v %s (%s) step %d→%d %s: %s\n", w.gone, d.Action, w.mood, was.At, r.At, r.State, d.Why))
	return nil
}
