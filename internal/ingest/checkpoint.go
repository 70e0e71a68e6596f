package ingest

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/flyballdev/flyball"
)

// The form of a checkpoint. One of another version is not read: the judge then
// begins anew, which the runner tells.
const checkpointVersion = 2

// A judgeState is that part of a judge which is saved as JSON.
type judgeState struct {
	Seq       int64              `json:"seq"`
	Clock     int64              `json:"clock"`
	Strays    int64              `json:"strays,omitempty"`
	Swept     int64              `json:"swept"`
	Instances []*instance        `json:"instances,omitempty"`
	Ended     []flyball.Evidence `json:"ended,omitempty"`
	Flows     []*flow            `json:"flows,omitempty"`
	Trials    int                `json:"trials"`
}

// Checkpoint returns all that the judge knows. Equal judges give equal bytes.
func (j *Judge) Checkpoint() ([]byte, error) {
	w := &recordWriter{}
	w.uint(checkpointVersion)
	head := judgeState{Seq: j.seq, Clock: j.clock, Strays: j.strays, Swept: j.swept, Instances: j.fleet.all(), Ended: j.ended, Flows: j.flows.all(), Trials: len(j.trials)}
	if err := w.json(head); err != nil {
		return nil, err
	}
	for _, t := range j.trials {
		if err := t.save(w); err != nil {
			return nil, fmt.Errorf("rollout %s: %w", t.Entry.Rollout.ID, err)
		}
	}
	return w.buf, nil
}

// Restore returns a judge as it was when the checkpoint was taken.
func Restore(checkpoint []byte) (*Judge, error) {
	r := &recordReader{buf: checkpoint}
	if v := r.uint(); v != checkpointVersion {
		return nil, fmt.Errorf("a checkpoint of version %d, not %d", v, checkpointVersion)
	}
	var head judgeState
	if err := r.json(&head); err != nil {
		return nil, err
	}
	j := NewJudge()
	j.seq, j.clock, j.strays, j.swept, j.ended = head.Seq, head.Clock, head.Strays, head.Swept, head.Ended
	for _, i := range head.Instances {
		j.fleet.places[place{i.Environment, i.ID}] = i
	}
	for _, f := range head.Flows {
		if f.Units == nil {
			f.Units = map[uint64]int64{}
		}
		j.flows.flows[place{f.Environment, f.Observation}] = f
	}
	for range head.Trials {
		t, err := restoreTrial(r)
		if err != nil {
			return nil, err
		}
		j.trials = append(j.trials, t)
	}
	if r.bad || len(r.buf) > 0 {
		return nil, errRecord
	}
	return j, nil
}

func (w *recordWriter) json(v any) error {
	b, err := json.Marshal(v)
	w.string(string(b))
	return err
}

func (r *recordReader) json(v any) error {
	b := r.string()
	if r.bad {
		return errRecord
	}
	return json.Unmarshal([]byte(b), v)
}

// save writes a trial: what is small as JSON, and units in a form of their own.
func (t *trial) save(w *recordWriter) error {
	if err := w.json(&t.trialState); err != nil {
		return err
	}
	w.uint(uint64(len(t.units)))
	for i := range t.units {
		u := &t.units[i]
		w.string(u.key)
		w.int(u.first - t.Started)
		w.int(u.entry)
		w.int(int64(u.stratum))
		w.int(int64(u.cohort))
		w.uint(uint64(u.origin) | uint64(u.latest)<<1 | flag(u.treated)<<2 | flag(u.crossed)<<3 | flag(u.heard)<<4)
	}
	for i := range t.slots {
		w.slot(&t.slots[i])
	}
	w.uint(uint64(len(t.parts)))
	for i := range t.parts {
		p := &t.parts[i]
		w.uint(uint64(p.unit))
		w.uint(uint64(p.gauge))
		w.slot(&p.slot)
	}
	w.uint(uint64(len(t.aliases)))
	for _, a := range t.aliases {
		w.string(a.key)
		w.uint(uint64(a.unit))
	}
	w.uint(uint64(len(t.entries)))
	for _, e := range t.entries {
		w.uint(uint64(e))
	}
	w.uint(uint64(t.heldLive))
	for i := range t.held {
		if h := &t.held[i]; !h.done {
			w.int(h.t)
			w.word(h.metric)
			w.word(h.flag)
			w.string(h.unit)
			w.float(h.value)
			w.int(h.until)
			w.attributes(h.attributes)
		}
	}
	return nil
}

func (w *recordWriter) slot(s *slot) {
	if *s == (slot{}) {
		w.uint(0)
		return
	}
	w.uint(uint64(s.flags) + 1)
	w.float(s.sum)
	w.float(s.per)
	w.int(int64(s.n))
	w.int(int64(s.warm))
	w.int(int64(s.counts))
}

func (r *recordReader) slot() slot {
	n := r.uint()
	if n == 0 {
		return slot{}
	}
	return slot{flags: uint8(n - 1), sum: r.float(), per: r.float(), n: int32(r.int()), warm: int32(r.int()), counts: int32(r.int())}
}

func restoreTrial(r *recordReader) (*trial, error) {
	t := &trial{}
	if err := r.json(&t.trialState); err != nil {
		return nil, err
	}
	if n := len(t.Entry.Rollout.Guardrails) + len(t.Entry.Rollout.Success); n != len(t.Gauges)+len(t.Streams) {
		return nil, fmt.Errorf("rollout %s has %d metrics and the state of %d", t.Entry.Rollout.ID, n, len(t.Gauges)+len(t.Streams))
	}
	t.prepare()
	t.units = make([]unit, r.count(6))
	for i := range t.units {
		u := unit{key: r.string(), first: r.int() + t.Started, entry: r.int(), stratum: int32(r.int()), cohort: int16(r.int())}
		bits := r.uint()
		u.origin, u.latest = uint8(bits&1), uint8(bits>>1&1)
		u.treated, u.crossed = bits>>2&1 == 1, bits>>3&1 == 1
		u.heard = bits>>4&1 == 1
		if int(u.cohort) < 0 || int(u.cohort) >= len(t.treated) {
			return nil, errRecord
		}
		if u.treated {
			t.treated[u.cohort]++
		}
		t.units[i] = u
		t.index[u.key] = int32(i)
	}
	t.slots = make([]slot, len(t.units)*len(t.gauges))
	for i := range t.slots {
		t.slots[i] = r.slot()
	}
	for range r.count(3) {
		p := part{unit: int32(r.uint()), gauge: int32(r.uint()), slot: r.slot()}
		if int(p.unit) >= len(t.units) || p.unit < 0 {
			return nil, errRecord
		}
		t.addPart(p)
	}
	return t, t.restoreLists(r)
}

func (t *trial) restoreLists(r *recordReader) error {
	for range r.count(2) {
		a := alias{key: r.string(), unit: int32(r.uint())}
		t.aliases = append(t.aliases, a)
		t.index[a.key] = a.unit
	}
	for range r.count(1) {
		t.entries = append(t.entries, int32(r.uint()))
	}
	for range r.count(14) {
		h := held{observation: observation{t: r.int(), metric: r.word(), flag: r.word(), unit: r.string(), value: r.float()}, until: r.int()}
		h.attributes = r.attributes()
		t.heldBy[h.unit] = append(t.heldBy[h.unit], len(t.held))
		t.held = append(t.held, h)
		t.heldLive++
	}
	outside := func(i int32) bool { return int(i) >= len(t.units) || i < 0 }
	if r.bad || slices.ContainsFunc(t.entries, outside) || slices.ContainsFunc(t.aliases, func(a alias) bool { return outside(a.unit) }) {
		return errRecord
	}
	return nil
}
