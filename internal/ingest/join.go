package ingest

import (
	"github.com/flyballdev/flyball/eval"
)

// A unit is what counts once: a targeting key, or all targeting keys that share
// a bucketing value, since these move as one.
type unit struct {
	key     string
	first   int64 // its first exposure
	entry   int64 // its first exposure that was stamped with the step in force
	stratum int32 // the stratum of that entry, counted from 1
	cohort  int16 // the first step that treats it; one beyond the last for never
	origin  uint8 // the arm it was first seen in
	latest  uint8 // the arm of its latest exposure
	treated bool  // seen in treatment
	crossed bool  // seen in the other arm without a step that explains it
	heard   bool  // had an outcome
}

// An alias is a targeting key that moves with others.
type alias struct {
	key  string
	unit int32
}

// A slot is what a gauge knows of a unit.
type slot struct {
	sum    float64 // of the observations in the unit's window of this stratum
	per    float64 // of a ratio: of the observations that are its denominator
	n      int32   // of them
	warm   int32   // place among the values from which a cap is learnt, counted from 1
	counts int32   // events, or observations of a mean, in the whole rollout
	flags  uint8
}

const (
	slotHad     = 1 << iota // had its first event
	slotSeen                // gave its first observation of this stratum
	slotEntered             // is in the moments of this stratum
)

// A held observation waits for its unit's exposure.
type held struct {
	observation
	until int64
	done  bool
}

// expose counts an exposure. Where it names a bucketing value, units are those.
func (t *trial) expose(x *exposure) {
	arm, ok := t.variantArm(x.variant)
	if !ok || x.step < 0 || x.step >= len(t.Entry.Rollout.Steps) {
		return
	}
	t.Last[arm] = t.Clock
	if t.Clock-x.t <= latest.Microseconds() {
		t.noteLag(t.Clock - x.t)
	}
	i, known := t.index[x.unit]
	if !known {
		if i, ok = t.register(x, arm); !ok {
			return
		}
	}
	u := &t.units[i]
	sooner := x.t < u.first
	u.first = min(u.first, x.t)
	if !u.crossed {
		if expected := t.armAt(u, x.step); arm == expected {
			u.latest = uint8(arm)
			if arm == treatment && !u.treated {
				u.treated = true
				t.treated[u.cohort]++
				t.Units[control]--
				t.Units[treatment]++
			}
		} else {
			t.cross(i)
		}
	}
	if !u.crossed && (t.Recorded || x.step == t.at()) && int(u.stratum) != t.Stratum+1 {
		t.enter(i, x.t)
	}
	if !known || sooner {
		t.resume(x.unit)
	}
}

// armAt returns the arm that a unit has at a step.
func (t *trial) armAt(u *unit, step int) int {
	if t.Recorded {
		step = 0
	}
	if int(u.cohort) <= step {
		return treatment
	}
	return control
}

// register makes room for a unit that was not seen before.
func (t *trial) register(x *exposure, arm int) (int32, bool) {
	if len(t.units)+len(t.aliases) >= MaxUnits {
		t.Full = true
		return 0, false
	}
	key := x.unit
	if x.by != "" && x.by != x.unit {
		key = "\x00" + x.by // apart from all targeting keys
		i, known := t.index[key]
		if !known {
			i = t.found(key, x, arm)
		}
		t.aliases = append(t.aliases, alias{x.unit, i})
		t.index[x.unit] = i
		return i, true
	}
	return t.found(key, x, arm), true
}

func (t *trial) found(key string, x *exposure, arm int) int32 {
	i := int32(len(t.units))
	step := x.step
	if t.Recorded {
		step = 0
	}
	t.units = append(t.units, unit{key: key, first: x.t, cohort: t.cohort(x, step, arm), origin: uint8(arm), latest: uint8(arm), treated: arm == treatment})
	for range t.gauges {
		t.slots = append(t.slots, slot{})
	}
	t.index[key] = i
	if arm == treatment {
		t.treated[t.units[i].cohort]++
	}
	t.Units[arm]++
	t.FirstSeen[step][arm]++
	for _, g := range t.judged {
		g.atRisk(t, &t.units[i])
	}
	return i
}

// cohort returns the first step that treats the unit. The first exposure
// decides where it contradicts the hash: that unit is then treated from this
// step on, or never.
func (t *trial) cohort(x *exposure, step, arm int) int16 {
	steps := t.Entry.Rollout.Steps
	never := int16(len(steps))
	if t.Recorded {
		if arm == treatment {
			return 0
		}
		return never
	}
	by := x.by
	if by == "" {
		by = x.unit
	}
	point := eval.Point(t.Entry.Seed, by)
	c := never
	for i := range steps {
		if int64(point) < int64(steps[i].PPM) {
			c = int16(i)
			break
		}
	}
	switch {
	case arm == treatment && int(c) > step:
		return int16(step)
	case arm == control && int(c) <= step:
		return never
	}
	return c
}

// enter begins the unit's window in this stratum.
func (t *trial) enter(i int32, at int64) {
	u := &t.units[i]
	u.entry, u.stratum = at, int32(t.Stratum+1)
	for _, g := range t.judged {
		if s := t.known(i, g); s != nil {
			s.sum, s.per, s.n, s.warm, s.flags = 0, 0, 0, 0, s.flags&^(slotSeen|slotEntered)
		}
	}
	t.entries = append(t.entries, i)
	t.StepUnits[t.arm(u)]++
}

// cross marks a unit as seen in both arms: its first exposure decides, and
// nothing that comes after counts.
func (t *trial) cross(i int32) {
	u := &t.units[i]
	u.crossed = true
	t.Crossed[u.origin]++
	for _, g := range t.judged {
		g.noRisk(t, i)
	}
}

// observe counts an observation, or lets it wait for its unit.
func (t *trial) observe(o *observation, trusted bool) {
	if len(t.byMetric[o.metric]) == 0 || o.flag != "" && o.flag != t.Entry.Rollout.Flag || o.t < t.Started-earliest.Microseconds() {
		return
	}
	if i, known := t.index[o.unit]; known && o.unit != "" {
		t.join(i, o, trusted)
		return
	}
	if o.variant != "" {
		arm, ok := t.variantArm(o.variant)
		if !ok {
			return
		}
		t.noteJoined(arm, o, trusted)
		for _, g := range t.byMetric[o.metric] {
			t.gauges[g].count(t, datum{arm: arm, unit: -1, o: o, weighs: t.weighs(o, trusted)})
		}
		return
	}
	if trusted && !t.hold(o, t.Clock+waitForExposure.Microseconds()) {
		t.unjoined()
	}
}

// hold lets an observation wait for an exposure, if there is room.
func (t *trial) hold(o *observation, until int64) bool {
	if t.heldLive >= MaxWaiting {
		return false
	}
	t.heldBy[o.unit] = append(t.heldBy[o.unit], t.heldBase+len(t.held))
	t.held = append(t.held, held{observation: *o, until: until})
	t.heldLive++
	return true
}

// waits says whether what is held is of a unit without an exposure. What is not
// came before its unit's first exposure, and counts for nothing unless an earlier
// one is under way.
func (t *trial) waits(h *held) bool {
	_, known := t.index[h.unit]
	return !h.done && !known
}

func (t *trial) join(i int32, o *observation, trusted bool) {
	u := &t.units[i]
	if o.t < u.first-earliest.Microseconds() {
		if trusted {
			t.hold(o, t.Clock+waitForExposure.Microseconds())
		}
		return
	}
	t.noteJoined(int(u.latest), o, trusted)
	if u.crossed {
		return
	}
	if trusted {
		t.hear(u, o)
	}
	for _, g := range t.byMetric[o.metric] {
		t.gauges[g].count(t, datum{arm: int(u.latest), unit: i, o: o, weighs: t.weighs(o, trusted)})
	}
}

// noteJoined keeps count of what has an arm.
func (t *trial) noteJoined(arm int, o *observation, trusted bool) {
	if !trusted {
		t.Untrusted++
		return
	}
	t.Joined++
	t.StepJoined++
	t.Last[arm] = t.Clock
	if t.weighs(o, trusted) {
		t.noteLag(t.Clock - o.t)
	} else {
		t.Late++
	}
}

// weighs says whether an observation counts as evidence, not in totals only.
func (t *trial) weighs(o *observation, trusted bool) bool {
	return trusted && t.Clock-o.t <= latest.Microseconds()
}

func (t *trial) unjoined() {
	t.Unjoined++
	t.StepUnjoined++
}

// resume joins what waited for a unit.
func (t *trial) resume(key string) {
	waiting := t.heldBy[key]
	if len(waiting) == 0 {
		return
	}
	delete(t.heldBy, key)
	i := t.index[key]
	for _, n := range waiting {
		h := &t.held[n-t.heldBase]
		h.done = true
		t.heldLive--
		o := h.observation // which may come to wait again, and t.held grow
		t.join(i, &o, true)
	}
}

// giveUp counts what has waited long enough as unjoined.
func (t *trial) giveUp() {
	n := 0
	for n < len(t.held) && (t.held[n].done || t.held[n].until < t.Clock) {
		if h := &t.held[n]; !h.done {
			if t.waits(h) {
				t.unjoined()
			}
			t.heldLive--
			if rest := t.heldBy[h.unit]; len(rest) > 1 {
				t.heldBy[h.unit] = rest[1:]
			} else {
				delete(t.heldBy, h.unit)
			}
		}
		n++
	}
	t.heldBase += n
	t.held = t.held[n:]
	if len(t.held) == 0 {
		t.held = nil // let go of what lies before
	}
}
