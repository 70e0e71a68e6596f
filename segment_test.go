package flyball_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

func TestASegmentTellsEveryProblem(t *testing.T) {
	const noKey = ` is not a key: 3 to 128 of a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends`
	deep := nested(6)
	for _, tt := range []struct {
		name    string
		segment flyball.Segment
		want    []string
	}{
		{"a list of users", flyball.Segment{Key: "beta-testers", Owner: "team", Include: []string{"user-1"}, Exclude: []string{"user-2"}}, nil},
		{"nobody at all", flyball.Segment{Key: "beta-testers", Owner: "team"}, nil},
		{"an empty one tells all of them at once", flyball.Segment{}, []string{`key: ""` + noKey, "owner: name the team that answers for the segment"}},
		{"users without a name, or with a very long one", flyball.Segment{Key: "beta-testers", Owner: "team", Include: []string{"u", ""}, Exclude: []string{strings.Repeat("x", 1025)}}, []string{
			"include[1]: a targeting key has 1 to 1024 bytes", "exclude[0]: a targeting key has 1 to 1024 bytes",
		}},
		{"a condition too deep", flyball.Segment{Key: "beta-testers", Owner: "team", If: &deep}, []string{
			"if.any[0].all[0].not.any[0].all[0]: nested more than 5 deep: move the inner part into a segment",
		}},
		{"too many users", flyball.Segment{Key: "beta-testers", Owner: "team", Include: slices.Repeat([]string{"u"}, 60_000), Exclude: slices.Repeat([]string{"u"}, 40_001)}, []string{
			"include: 100001 targeting keys with exclude, at most 100000",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { told(t, tt.segment.Validate(), tt.want...) })
	}
}

func TestTheSegmentsOfAConditionAreNamedOnce(t *testing.T) {
	c := flyball.Condition{All: []flyball.Condition{
		{Segment: "b"},
		{Any: []flyball.Condition{{Segment: "a"}, {Not: &flyball.Condition{Segment: "b"}}, {Not: &flyball.Condition{Segment: "c"}}}},
		nested(1),
	}}
	if diff := cmp.Diff([]string{"b", "a", "c"}, c.Segments(nil)); diff != "" {
		t.Error(diff)
	}
}
