package ingest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/flyballdev/flyball"
)

// A fleet remembers the instances that send telemetry.
type fleet struct {
	places map[place]*instance
}

type place struct{ environment, id string }

type instance struct {
	flyball.Instance
	Seq     int64 `json:"seq"`
	Missing int64 `json:"missing,omitempty"` // numbers that were skipped and did not come yet
	Changed bool  `json:"-"`                 // since it was written to the store
}

func newFleet() fleet { return fleet{places: make(map[place]*instance)} }

// note takes over what a batch says of its sender. It returns by how many the
// batches have grown that should have come and did not: batches of an instance
// are numbered, and one that comes late after all counts back.
func (f *fleet) note(environment string, r *record, clock int64) (missing int64) {
	p := place{environment, r.instance.ID}
	i := f.places[p]
	if i == nil {
		if len(f.places) >= MaxInstances {
			f.forget(clock - (seenLately).Microseconds())
		}
		if len(f.places) >= MaxInstances {
			return 0
		}
		i = &instance{Seq: r.seq - 1}
		f.places[p] = i
	}
	switch gap := r.seq - i.Seq - 1; {
	case gap > 0:
		i.Missing += gap
		missing = gap
		i.Seq = r.seq
	case gap == 0:
		i.Seq = r.seq
	case i.Missing > 0: // one that was thought lost
		i.Missing--
		missing = -1
	default: // the instance counts anew
		i.Seq = r.seq
	}
	i.Instance = flyball.Instance{
		InstanceInfo: r.instance, Environment: environment, Applied: cmp.Or(r.applied, i.Applied), LastSeen: fromMicros(clock), Errors: r.errors, Gone: r.leaving,
	}
	i.Changed = true
	return missing
}

// forget drops the instances that were not seen since a time.
func (f *fleet) forget(before int64) {
	for p, i := range f.places {
		if micros(i.LastSeen) < before {
			delete(f.places, p)
		}
	}
}

// all returns all instances, in a fixed order.
func (f *fleet) all() []*instance {
	all := make([]*instance, 0, len(f.places))
	for _, i := range f.places {
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b *instance) int {
		return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// declareGone forgets an instance until it is heard of again.
func (f *fleet) declareGone(environment, id string) {
	if i := f.places[place{environment, id}]; i != nil {
		i.Gone, i.Changed = true, true
	}
}

// seen returns the instances of an environment that were seen since a time.
func (f *fleet) seen(environment string, since time.Time) (all []flyball.Instance) {
	for p, i := range f.places {
		if p.environment == environment && !i.LastSeen.Before(since) && !i.Gone {
			all = append(all, i.Instance)
		}
	}
	slices.SortFunc(all, func(a, b flyball.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// maxBehind is how many instances a fleet names.
const maxBehind = 100

// fleetOf holds instances against the ruleset in force. One that has errors in
// it has not converged, though it has the number. One that never told a ruleset
// holds none: nobody waits for it.
func fleetOf(environment string, instances []flyball.Instance, head flyball.RulesetID) flyball.Fleet {
	f := flyball.Fleet{Environment: environment, Head: head}
	services := make(map[string]*flyball.ServiceFleet)
	for _, i := range instances {
		if i.Gone {
			continue
		}
		s := services[i.Service]
		if s == nil {
			s = &flyball.ServiceFleet{Service: i.Service, Rulesets: map[string]int{}, Versions: map[string]int{}}
			services[i.Service] = s
		}
		s.Versions[i.Version]++
		if i.Applied == nil {
			f.Remote++
			s.Remote++
			continue
		}
		f.Instances++
		s.Instances++
		s.Rulesets[fmt.Sprintf("%d.%d", i.Applied.Epoch, i.Applied.Version)]++
		if len(i.Errors) > 0 {
			s.Errors++
		}
		if !i.Applied.Before(head) && len(i.Errors) == 0 {
			f.Converged++
			s.Converged++
		} else if len(f.Behind) < maxBehind {
			f.Behind = append(f.Behind, i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		f.Services = append(f.Services, *services[name])
	}
	return f
}

// changedInstances returns those that were heard of since they were written.
func (j *Judge) changedInstances() (all []flyball.Instance) {
	for _, i := range j.fleet.all() {
		if i.Changed {
			all = append(all, i.Instance)
		}
	}
	return all
}

// instancesWritten tells that they were written.
func (j *Judge) instancesWritten() {
	for _, i := range j.fleet.places {
		i.Changed = false
	}
}
