package flyball_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flyballdev/flyball"
)

func TestABatchTellsEveryProblemOfItsEnvelope(t *testing.T) {
	long := strings.Repeat("x", 129)
	for _, tt := range []struct {
		name  string
		alter func(*flyball.TelemetryBatch)
		want  []string
	}{
		{"a sound one", func(*flyball.TelemetryBatch) {}, nil},
		{"its items are judged one by one", func(b *flyball.TelemetryBatch) {
			b.Exposures, b.Observations = make([]flyball.Exposure, 1), make([]flyball.Observation, 1)
		}, nil},
		{"everything wrong at once", func(b *flyball.TelemetryBatch) {
			*b = flyball.TelemetryBatch{
				Seq: -1, Instance: flyball.InstanceInfo{Service: long}, Dropped: flyball.Dropped{Exposures: -1},
				Exposures: make([]flyball.Exposure, 5_001), Observations: make([]flyball.Observation, 5_000), Errors: make([]string, 10_001),
				Contexts: make([]flyball.SampledContext, 10_001), Counts: make([]flyball.EvaluationCount, 10_001), UnknownFlags: make([]string, 10_001),
			}
		}, []string{
			"batch: needs an id of 8 to 64 bytes, such as a UUID", "seq: must not be negative", "instance.id: needs 1 to 128 bytes",
			"instance: service, version and sdk have at most 128 bytes each", "dropped: must not be negative",
			"observations: 10001 exposures and observations, at most 10000 a batch",
			"errors: 10001 entries, at most 10000", "contexts: 10001 entries, at most 10000", "counts: 10001 entries, at most 10000", "unknownFlags: 10001 entries, at most 10000",
		}},
		{"a full one", func(b *flyball.TelemetryBatch) { b.Observations = make([]flyball.Observation, 10_000) }, nil},
		{"a long id", func(b *flyball.TelemetryBatch) { b.Batch, b.Instance.ID = strings.Repeat("x", 65), long }, []string{
			"batch: needs an id of 8 to 64 bytes, such as a UUID", "instance.id: needs 1 to 128 bytes",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := flyball.TelemetryBatch{Batch: "0192f3a4-7b1c-7d2e-8f90-a1b2c3d4e5f6", Seq: 412, Instance: flyball.InstanceInfo{ID: "i1", Service: "checkout"}}
			tt.alter(&b)
			told(t, b.Validate(), tt.want...)
		})
	}
}

// The wire format, which programs in other languages write as well.
func TestABatchIsReadAsItIsSent(t *testing.T) {
	const sent = `{"batch":"0192f3a4","seq":412,"sentAt":"2026-11-21T19:00:00Z","dropped":{"exposures":1,"observations":2},
	 "instance":{"id":"i1","service":"checkout","version":"1.4.2","sdk":"go/0.1.0"},
	 "applied":{"epoch":1,"version":1093},"errors":["payments.x: unknown operator"],
	 "exposures":[{"t":"2026-11-21T19:00:00Z","flag":"payments.checkout.new-flow","variant":"on","unit":"user-1","rollout":"r1","step":2,"version":1093}],
	 "observations":[{"t":"2026-11-21T19:00:00Z","metric":"checkout.latency","unit":"user-1","value":182.4,"attributes":{"route":"checkout","size":9007199254740993}}],
	 "contexts":[{"t":"2026-11-21T19:00:00Z","unit":"user-1","attributes":{"country":"CA"}}],
	 "counts":[{"flag":"a.b","variant":"on","n":4812,"from":"2026-11-21T19:00:00Z","to":"2026-11-21T19:00:00Z"}],
	 "unknownFlags":["typo.flag"],"ofTomorrow":true}`
	var got flyball.TelemetryBatch
	if err := json.Unmarshal([]byte(sent), &got); err != nil {
		t.Fatal(err)
	}
	now := at(19).Time
	want := flyball.TelemetryBatch{
		Batch: "0192f3a4", Seq: 412, SentAt: now, Dropped: flyball.Dropped{Exposures: 1, Observations: 2},
		Instance: flyball.InstanceInfo{ID: "i1", Service: "checkout", Version: "1.4.2", SDK: "go/0.1.0"},
		Applied:  &flyball.RulesetID{Epoch: 1, Version: 1093}, Errors: []string{"payments.x: unknown operator"},
		Exposures:    []flyball.Exposure{{T: now, Flag: "payments.checkout.new-flow", Variant: "on", Unit: "user-1", Rollout: "r1", Step: 2, Version: 1093}},
		Observations: []flyball.Observation{{T: now, Metric: "checkout.latency", Unit: "user-1", Value: 182.4, Attributes: flyball.Attributes{"route": "checkout", "size": int64(9007199254740993)}}},
		Contexts:     []flyball.SampledContext{{T: now, Unit: "user-1", Attributes: flyball.Attributes{"country": "CA"}}},
		Counts:       []flyball.EvaluationCount{{Flag: "a.b", Variant: "on", N: 4812, From: now, To: now}},
		UnknownFlags: []string{"typo.flag"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	told(t, got.Validate())
}

func TestRulesetsAreOrderedByEpochFirst(t *testing.T) {
	ordered := []flyball.RulesetID{{Epoch: 0, Version: 0}, {Epoch: 1, Version: 1}, {Epoch: 1, Version: 900}, {Epoch: 2, Version: 1}, {Epoch: 2, Version: 2}}
	for i, a := range ordered {
		for j, b := range ordered {
			if a.Before(b) != (i < j) {
				t.Errorf("%+v before %+v: %v", a, b, a.Before(b))
			}
		}
	}
}
