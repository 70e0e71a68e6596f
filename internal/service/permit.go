package service

import (
	"encoding/json"
	"slices"

	"github.com/flyballdev/flyball"
)

// A concern is what an edit touches: something that a team owns, in an
// environment. Empty, they are every one.
type concern struct {
	environment, team string
}

// permitted says whether the principal has the role that each edit takes, in
// each environment whose ruleset it alters and for the team that owns what is
// edited, before and after.
func (e *edit) permitted() error {
	if e.principal.automatic() || e.change.action == "rollout.pass" && e.principal.Kind != flyball.TokenAgent { // a gate says itself which people open it
		return nil
	}
	concerns, err := e.concerns()
	if err != nil {
		return err
	}
	for _, c := range concerns {
		if !e.principal.allows(flyball.RoleEditor, c.environment, c.team) {
			return e.forbidden(c)
		}
	}
	return nil
}

func (e *edit) forbidden(c concern) error {
	what, where := "what belongs to team "+c.team, "in "+c.environment
	if c.team == "" {
		what = "what belongs to every team"
	}
	if c.environment == "" {
		where = "in every environment"
	}
	return flyball.Errorf(flyball.Forbidden, "%s may not change %s %s: it takes the role editor there; an admin can grant it", e.principal.ID, what, where).
		With("role", flyball.RoleEditor).With("team", c.team).With("environment", c.environment)
}

// concerns lists what the edits touch, each once.
func (e *edit) concerns() ([]concern, error) {
	var all []concern
	add := func(environment, team string) {
		if c := (concern{environment, team}); !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	for _, edit := range e.edits {
		switch edit.Noun {
		case "config":
			owner, err := e.owner(edit.Key)
			if err != nil {
				return nil, err
			}
			add(edit.Environment, owner)
		case "flag", "segment":
			owners, err := owners(edit)
			if err != nil {
				return nil, err
			}
			for _, owner := range owners {
				altered := e.altered()
				for _, env := range altered {
					add(env, owner)
				}
				if len(altered) == 0 { // nobody gets anything else
					add(anywhere, owner)
				}
			}
		case "rollout":
			var of flyball.RolloutPlan
			if err := json.Unmarshal(edit.After, &of); err != nil {
				return nil, err
			}
			owner, err := e.owner(of.Flag)
			if err != nil {
				return nil, err
			}
			add(edit.Environment, owner)
		case "instance": // that rollouts wait for
			add(edit.Environment, anyone)
		case "metric":
			add(anywhere, anyone)
		}
	}
	return all, nil
}

// anywhere and anyone ask for a role in some environment, for some team.
const anywhere, anyone = "*", "*"

// owner returns the team that owns a flag.
func (e *edit) owner(key string) (string, error) {
	f, err := e.tx.Flag(key)
	return f.Owner, err
}

// owners returns who owned a flag or a segment before an edit and who does after.
func owners(edit flyball.Edit) ([]string, error) {
	var found []string
	for _, body := range []json.RawMessage{edit.Before, edit.After} {
		if body == nil {
			continue
		}
		var owned struct {
			Owner string `json:"owner"`
		}
		if err := json.Unmarshal(body, &owned); err != nil {
			return nil, err
		}
		if !slices.Contains(found, owned.Owner) {
			found = append(found, owned.Owner)
		}
	}
	return found, nil
}

// altered lists the environments whose rulesets the change alters.
func (e *edit) altered() []string {
	var names []string
	for env, r := range e.rulesets {
		if r.changed() {
			names = append(names, env)
		}
	}
	slices.Sort(names)
	return names
}

// automatic says that it is the platform itself that acts.
func (p Principal) automatic() bool { return p.ID.Kind() == "system" }

// allows says whether every set of grants that bounds the principal gives a
// role, or admin, in an environment for a team.
func (p Principal) allows(role flyball.Role, environment, team string) bool {
	if len(p.Rights) == 0 {
		return false
	}
	for _, grants := range p.Rights {
		if !slices.ContainsFunc(grants, func(g flyball.Grant) bool {
			one := flyball.Grants{g}
			env, own := environment, team
			if env == anywhere {
				env = g.Environment
			}
			if own == anyone {
				own = g.Team
			}
			return one.Allow(role, env, own)
		}) {
			return false
		}
	}
	return true
}

// runs says whether the principal runs the installation.
func (p Principal) runs() bool {
	return len(p.Rights) > 0 && !slices.ContainsFunc(p.Rights, func(g flyball.Grants) bool { return !g.Runs() })
}
