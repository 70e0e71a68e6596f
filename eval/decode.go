package eval

import (
	"encoding/json"
	"fmt"

	"github.com/flyballdev/flyball"
)

// MaxDocumentBytes bounds a ruleset's JSON.
const MaxDocumentBytes = 16 << 20

// Decode reads a ruleset's JSON as an evaluator must, which may meet a server
// of a later version: fields that it does not know are ignored, and a flag or
// segment that it cannot read is left in the document as its key alone, with
// whether it is killed or disabled, so that [Update] keeps its previous
// definition. It fails if the document as a whole cannot be read.
func Decode(data []byte) (flyball.Ruleset, error) {
	if len(data) > MaxDocumentBytes {
		return flyball.Ruleset{}, flyball.Errorf(flyball.TooLarge, "a ruleset has at most %d bytes, this one %d", MaxDocumentBytes, len(data))
	}
	var doc flyball.Ruleset
	if err := json.Unmarshal(data, &doc); err == nil {
		return doc, named(doc)
	}
	var raw struct {
		Environment string            `json:"environment"`
		Epoch       int64             `json:"epoch"`
		Version     int64             `json:"version"`
		Flags       []json.RawMessage `json:"flags"`
		Segments    []json.RawMessage `json:"segments"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return flyball.Ruleset{}, flyball.Errorf(flyball.Invalid, "not a ruleset: %v", err)
	}
	doc = flyball.Ruleset{Environment: raw.Environment, Epoch: raw.Epoch, Version: raw.Version}
	for i, data := range raw.Flags {
		f, err := decodeFlag(data)
		if err != nil {
			return flyball.Ruleset{}, flyball.FieldErrorf(fmt.Sprintf("flags[%d]", i), "not a flag: %v", err)
		}
		doc.Flags = append(doc.Flags, f)
	}
	for i, data := range raw.Segments {
		s, err := decodeSegment(data)
		if err != nil {
			return flyball.Ruleset{}, flyball.FieldErrorf(fmt.Sprintf("segments[%d]", i), "not a segment: %v", err)
		}
		doc.Segments = append(doc.Segments, s)
	}
	return doc, named(doc)
}

// named refuses what is JSON, such as null, but no ruleset.
func named(doc flyball.Ruleset) error {
	if doc.Environment == "" {
		return flyball.FieldErrorf("environment", "not a ruleset: it names no environment")
	}
	return nil
}

// decodeFlag reads a flag, or as much of it as it takes to leave its previous
// definition in force, unless it is killed or disabled.
func decodeFlag(data []byte) (flyball.RulesetFlag, error) {
	var f flyball.RulesetFlag
	if json.Unmarshal(data, &f) == nil {
		return f, nil
	}
	var stub struct {
		Key     string          `json:"key"`
		Enabled json.RawMessage `json:"enabled"`
		Killed  json.RawMessage `json:"killed"`
	}
	if err := json.Unmarshal(data, &stub); err != nil {
		return flyball.RulesetFlag{}, err
	}
	f = flyball.RulesetFlag{Key: stub.Key}
	f.Enabled = string(stub.Enabled) != "false"
	if len(stub.Killed) > 0 && string(stub.Killed) != "null" {
		f.Killed = &flyball.Kill{Reason: "killed"}
	}
	return f, nil
}

func decodeSegment(data []byte) (flyball.Segment, error) {
	var s flyball.Segment
	if json.Unmarshal(data, &s) == nil {
		return s, nil
	}
	var stub struct {
		Key string `json:"key"`
	}
	err := json.Unmarshal(data, &stub)
	return flyball.Segment{Key: stub.Key}, err
}
