package flyball

import (
	"fmt"
	"slices"
)

// MaxSegmentKeys is how many targeting keys a segment may list, included and
// excluded together.
const MaxSegmentKeys = 100_000

// A Segment is a named set of units: those excluded are out, those included
// are in, and of all others those for whom If holds. A change of a segment is
// a change of every flag that uses it.
type Segment struct {
	Key         string     `json:"key" example:"beta-testers"`
	Description string     `json:"description,omitempty" doc:"who is in it"`
	Owner       string     `json:"owner" doc:"the team that answers for the segment"`
	Include     []string   `json:"include,omitempty" doc:"targeting keys that are in, whatever the condition says"`
	Exclude     []string   `json:"exclude,omitempty" doc:"targeting keys that are out; beats include and condition"`
	If          *Condition `json:"if,omitempty" doc:"who else is in"`
}

// Validate reports every problem of the segment at once.
func (s Segment) Validate() error {
	p := newProblems()
	p.key("key", s.Key)
	p.text("description", s.Description)
	if s.Owner == "" {
		p.add("owner", "name the team that answers for the segment")
	}
	if n := len(s.Include) + len(s.Exclude); n > MaxSegmentKeys {
		p.add("include", "%d targeting keys with exclude, at most %d", n, MaxSegmentKeys)
	}
	p.units("include", s.Include)
	p.units("exclude", s.Exclude)
	if s.If != nil {
		s.If.validate(p.at("if"))
	}
	return p.err()
}

// uses returns the keys of the segments that s's condition names.
func (s Segment) uses() []string {
	if s.If == nil {
		return nil
	}
	return s.If.Segments(nil)
}

func (p problems) units(field string, units []string) {
	for i, u := range units {
		if u == "" || len(u) > 1024 {
			p.add(fmt.Sprintf("%s[%d]", field, i), "a targeting key has 1 to 1024 bytes")
			return
		}
	}
}

// Segments appends to found the keys of the segments that c uses.
func (c Condition) Segments(found []string) []string {
	for _, part := range c.All {
		found = part.Segments(found)
	}
	for _, part := range c.Any {
		found = part.Segments(found)
	}
	if c.Not != nil {
		found = c.Not.Segments(found)
	}
	if c.Segment != "" && !slices.Contains(found, c.Segment) {
		found = append(found, c.Segment)
	}
	return found
}
