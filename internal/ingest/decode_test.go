package ingest_test

import (
	"strings"
	"testing"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/internal/ingest"
)

func TestABatchOfTheWrongShapeIsToldByItsField(t *testing.T) {
	for body, want := range map[string]string{
		`[]`:                        "this is no telemetry batch: it is a JSON object, not a JSON array",
		`7`:                         "this is no telemetry batch: it is a JSON object, not a JSON number",
		`{"seq": "1"}`:              "seq: cannot be a JSON string",
		`{"instance": []}`:          "instance: cannot be a JSON array",
		`{"instance": {"id": 7}}`:   "instance.id: cannot be a JSON number",
		`{"dropped": true}`:         "dropped: cannot be a JSON bool",
		`{"unknownFlags": {}}`:      "unknownFlags: cannot be a JSON object",
		`{"exposures": {}}`:         "exposures: cannot be a JSON object",
		`{"counts": {"n": "x"}}`:    "counts: cannot be a JSON object",
		`{"observations": [{`:       "",
		`{"observations":[{"t":7}]`: "",
	} {
		_, _, err := ingest.DecodeBatch(strings.NewReader(body), "", ingest.Limits{})
		if flyball.CodeOf(err) != flyball.Invalid || want != "" && err.Error() != want {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "struct") || strings.Contains(err.Error(), "Go ")) {
			t.Errorf("%s: the answer speaks of our code: %v", body, err)
		}
	}
}
