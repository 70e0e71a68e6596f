package flagd

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/flyballdev/flyball"
)

// Words that are no variant, since none begins like this: to flagd they are
// errors.
const (
	noUnit logic = `"!TARGETING_KEY_MISSING"`
	unsure logic = `"!UNREADABLE_VALUE"`
)

// flag compiles a flag, once.
func (e *exporter) flag(key string) *expression {
	x := e.done[key]
	if x == nil {
		x = &expression{err: fmt.Errorf("flag %s is not there, or needs itself", key)}
		e.done[key] = x
		if f := e.flags[key]; f != nil {
			if x.logic, x.err = e.compile(f, &x.needs); len(x.logic) > maxTargeting {
				x.err = fmt.Errorf("its rules take %d KiB, at most %d", len(x.logic)>>10, maxTargeting>>10)
			}
		}
	}
	return x
}

func (e *exporter) compile(f *flyball.RulesetFlag, n *needs) (logic, error) {
	for name, v := range f.Variants {
		if _, isList := v.([]any); isList {
			return "", fmt.Errorf("variant %s is a list; in flagd it must be an object", name)
		}
		if !exact(v) {
			return "", fmt.Errorf("variant %s holds an integer beyond 2^53, which not every evaluator keeps apart from the next", name)
		}
	}
	switch {
	case f.Killed != nil:
		return literal(f.SafeVariant), nil
	case !f.Enabled:
		return literal(f.OffVariant), nil
	}
	hold, err := e.prerequisites(f, n)
	if err != nil {
		return "", err
	}
	if hold == never {
		return literal(f.OffVariant), nil
	}
	var steps []logic
	if hold != always {
		steps = append(steps, not(hold), literal(f.OffVariant))
	}
	for _, r := range f.Rules {
		matches, outcome, err := e.rule(f, r, n)
		if err != nil {
			return "", fmt.Errorf("rule %s: %w", r.ID, err)
		}
		if matches == always {
			return choose(steps, outcome), nil
		}
		if matches != never {
			steps = append(steps, matches, outcome)
		}
	}
	otherwise, err := serve(f, f.Default, flyball.WhereDefault, n)
	if err != nil {
		return "", fmt.Errorf("default: %w", err)
	}
	return choose(steps, otherwise), nil
}

// choose takes the first outcome whose condition holds.
func choose(steps []logic, otherwise logic) logic {
	if len(steps) == 0 {
		return otherwise
	}
	return call("if", append(steps, otherwise)...)
}

// prerequisites writes those that the flag needs into it.
func (e *exporter) prerequisites(f *flyball.RulesetFlag, n *needs) (logic, error) {
	var parts []logic
	for _, p := range f.Prerequisites {
		x := e.flag(p.Flag)
		if x.err != nil {
			return "", fmt.Errorf("prerequisite %s: %w", p.Flag, x.err)
		}
		switch variant := literal(p.Variant); {
		case x.logic == variant:
		case x.logic.constant():
			return never, nil
		default:
			n.add(x.needs)
			for u := range x.needs.units {
				n.doubt(u)
			}
			parts = append(parts, equal(x.logic, variant))
		}
	}
	return all(parts...), nil
}

func (e *exporter) rule(f *flyball.RulesetFlag, r flyball.Rule, n *needs) (matches, outcome logic, err error) {
	clock := []logic{}
	for _, date := range []struct {
		at       *flyball.Time
		operator string
	}{{r.NotBefore, ">="}, {r.NotAfter, "<"}} {
		if date.at == nil {
			continue
		}
		if date.at.Nanosecond() != 0 {
			return "", "", fmt.Errorf("its dates have fractions of a second; flagd's clock has none")
		}
		clock = append(clock, call(date.operator, timestamp, whole(date.at.Unix())))
	}
	if matches, err = e.condition(r.If, n); err != nil {
		return "", "", err
	}
	outcome, err = serve(f, r.Serve, r.ID, n)
	return all(append(clock, matches)...), outcome, err
}

// timestamp is flagd's clock, in whole seconds since 1970.
const timestamp logic = `{"var":"$flagd.timestamp"}`

// serve compiles what stands at a rule or at the default: one variant, a
// split, or what a live rollout puts in its place.
func serve(f *flyball.RulesetFlag, s flyball.Serve, where string, n *needs) (logic, error) {
	if o := f.Rollout; o != nil && o.Where == where {
		return overlay(f, o, n)
	}
	if s.Split == nil {
		return literal(s.Variant), nil
	}
	a, seed, err := bucketing(f, s.Split.By, n)
	if err != nil {
		return "", err
	}
	return call("if", a.isUnit(), bucket(seed, a, s.Split.Weights), noUnit), nil
}

// overlay gives the treatment to units below the rollout's share while its
// lease lasts, and the control to all others.
func overlay(f *flyball.RulesetFlag, o *flyball.Overlay, n *needs) (logic, error) {
	a, seed, err := bucketing(f, o.Unit, n)
	if err != nil {
		return "", err
	}
	control := literal(o.Control)
	var steps []logic
	if o.NotAfter != nil {
		steps = append(steps, call(">=", timestamp, whole(o.NotAfter.Unix())), control)
	}
	steps = append(steps, a.isUnit(), bucket(seed, a, []flyball.Weight{
		{Variant: o.Treatment, PPM: o.PPM}, {Variant: o.Control, PPM: flyball.PPM - o.PPM},
	}))
	if large := a.isLargeUnit(); large != never {
		steps = append(steps, large, unsure)
	}
	return choose(steps, control), nil
}

// bucketing checks that flagd buckets as we do: by the same hash, of a seed
// that JavaScript counts the same bytes of.
func bucketing(f *flyball.RulesetFlag, by string, n *needs) (a attribute, seed string, err error) {
	for i := range len(f.Seed) {
		if f.Seed[i] >= 0x80 {
			return a, "", fmt.Errorf("its seed is not ASCII, and flagd's evaluators hash others differently")
		}
	}
	if f.HashVersion != flyball.HashVersion || strings.TrimSpace(f.Seed) != f.Seed {
		return a, "", fmt.Errorf("its seed or hash version is none that flagd hashes as we do")
	}
	if a, err = attributeAt(by); err == nil && !a.unit {
		n.unit(a.isLargeUnit())
	}
	return a, f.Seed + ":", err
}

// bucket picks by the point of a unit on the ring of the seed.
func bucket(seed string, a attribute, weights []flyball.Weight) logic {
	args := []logic{call("cat", literal(seed), a.unitText())}
	for _, w := range weights {
		args = append(args, list(literal(w.Variant), logic(strconv.Itoa(w.PPM))))
	}
	return call("fractional", args...)
}
