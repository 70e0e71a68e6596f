package flyball_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/flyballdev/flyball"
)

// rulesetOf makes a ruleset of flags that need others ("a needs b c") and
// segments that use others ("segment s uses r").
func rulesetOf(stories ...string) flyball.Ruleset {
	rs := flyball.Ruleset{Environment: "production", Epoch: 1, Version: 1}
	for _, story := range stories {
		words := strings.Fields(story)
		if words[0] == "segment" {
			s := flyball.Segment{Key: words[1], Owner: "team"}
			for _, used := range words[2:] {
				if used != "uses" {
					s.If = &flyball.Condition{All: append(all(s.If), flyball.Condition{Segment: used})}
				}
			}
			rs.Segments = append(rs.Segments, s)
			continue
		}
		f := releaseFlag()
		f.Key = words[0]
		c := flyball.NewFlagConfig(f)
		for _, needed := range words[1:] {
			if needed != "needs" {
				c.Prerequisites = append(c.Prerequisites, flyball.Prerequisite{Flag: needed, Variant: "on"})
			}
		}
		rs.Flags = append(rs.Flags, flyball.NewRulesetFlag(f, c))
	}
	return rs
}

func all(c *flyball.Condition) []flyball.Condition {
	if c == nil {
		return nil
	}
	return c.All
}

func TestARulesetTellsWhatIsNotThereAndWhatNeedsItself(t *testing.T) {
	for _, tt := range []struct {
		name    string
		ruleset flyball.Ruleset
		want    []string
	}{
		{"nothing at all", flyball.Ruleset{}, nil},
		{"flags in a chain", rulesetOf("aaa needs bbb ccc", "bbb needs ccc", "ccc"), nil},
		{"segments in a chain", rulesetOf("segment aaa uses bbb ccc", "segment bbb uses ccc", "segment ccc"), nil},
		{"a flag that is not there", rulesetOf("aaa needs bbb"), []string{`flags["aaa"].prerequisites[0].flag: there is no flag "bbb"`}},
		{"a segment that is not there", rulesetOf("segment aaa uses bbb"), []string{`segments["aaa"].if: there is no segment "bbb"`}},
		{"two flags that need each other", rulesetOf("aaa needs bbb", "bbb needs aaa"), []string{
			`flags["bbb"].prerequisites: a cycle: aaa needs bbb needs aaa`,
		}},
		{"a cycle behind others is told by itself", rulesetOf("aaa needs bbb", "bbb needs ccc", "ccc needs ddd", "ddd needs bbb"), []string{
			`flags["ddd"].prerequisites: a cycle: bbb needs ccc needs ddd needs bbb`,
		}},
		{"a flag that needs itself is told once", rulesetOf("aaa needs aaa"), []string{`flags["aaa"].prerequisites[0].flag: a flag cannot be its own prerequisite`}},
		{"segments that use each other", rulesetOf("segment aaa uses bbb", "segment bbb uses aaa"), []string{`segments["bbb"].if: a cycle: aaa needs bbb needs aaa`}},
		{"a segment that uses itself", rulesetOf("segment aaa uses aaa"), []string{`segments["aaa"].if: a cycle: aaa needs aaa`}},
		{"everything at once", rulesetOf("aaa needs bbb zzz", "bbb needs aaa", "segment sss uses rrr sss"), []string{
			`segments["sss"].if: there is no segment "rrr"`, `flags["aaa"].prerequisites[1].flag: there is no flag "zzz"`,
			`segments["sss"].if: a cycle: sss needs sss`, `flags["bbb"].prerequisites: a cycle: aaa needs bbb needs aaa`,
		}},
		{"keys that occur twice", rulesetOf("aaa", "aaa", "segment sss", "segment sss"), []string{`segments[1].key: "sss" occurs twice`, `flags[1].key: "aaa" occurs twice`}},
	} {
		t.Run(tt.name, func(t *testing.T) { told(t, tt.ruleset.Validate(), tt.want...) })
	}
}

func TestARulesetChecksWhatItsRulesAndPrerequisitesName(t *testing.T) {
	rs := rulesetOf("aaa needs bbb", "bbb", "segment sss")
	rs.Flags[0].Prerequisites[0].Variant = "purple"
	rs.Flags[1].Rules = []flyball.Rule{
		{ID: "r0", If: flyball.Condition{Segment: "sss"}, Serve: flyball.Serve{Variant: "on"}},
		{ID: "r1", If: flyball.Condition{Not: &flyball.Condition{Segment: "gone"}}, Serve: flyball.Serve{Variant: "green"}},
	}
	told(t, rs.Validate(),
		`flags["bbb"].rules[1].serve.variant: "green" is not one of the variants of "bbb"`,
		`flags["aaa"].prerequisites[0].variant: "purple" is not one of the variants of "bbb"`,
		`flags["bbb"].rules[1].if: there is no segment "gone"`)
	told(t, flyball.About("bbb", rs.Validate()),
		`rules[1].serve.variant: "green" is not one of the variants of "bbb"`,
		`flags["aaa"].prerequisites[0].variant: "purple" is not one of the variants of "bbb"`,
		`rules[1].if: there is no segment "gone"`)
}

func TestARulesetChecksEachFlagAndSegment(t *testing.T) {
	rs := rulesetOf("aaa", "segment sss")
	rs.Flags[0].OffVariant, rs.Flags[0].SafeVariant, rs.Segments[0].Owner = "blue", "red", ""
	told(t, rs.Validate(),
		`segments["sss"].owner: name the team that answers for the segment`,
		`flags["aaa"].safeVariant: "red" is not one of the variants`,
		`flags["aaa"].offVariant: "blue" is not one of the variants of "aaa"`)
}

func TestALongChainOfFlagsIsChecked(t *testing.T) {
	var stories []string
	for i := range flyball.MaxFlags {
		stories = append(stories, fmt.Sprintf("flag-%d needs flag-%d", i, i+1))
	}
	stories[len(stories)-1] = fmt.Sprintf("flag-%d", flyball.MaxFlags-1)
	told(t, rulesetOf(stories...).Validate())
	told(t, rulesetOf(slices.Concat(stories, []string{"one-more"})...).Validate(), "flags: 10001 flags, at most 10000")
}

func TestEnvironmentsAndTeamsTellEveryProblem(t *testing.T) {
	const noKey = ` is not a key: 3 to 128 of a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends`
	told(t, flyball.Environment{Key: "production", Protected: true}.Validate())
	told(t, flyball.Environment{Key: "PROD"}.Validate(), `key: "PROD"`+noKey)
	told(t, flyball.Team{Key: "payments-team", Name: "Payments", Contact: "#payments"}.Validate())
	long := strings.Repeat("x", 2001)
	told(t, flyball.Team{Name: long, Contact: long}.Validate(), `key: ""`+noKey, "name: 2001 bytes, at most 2000", "contact: 2001 bytes, at most 2000")
}
