package flyball

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
)

// A Kind says what a flag is for, and so how long it may live.
type Kind string

// The kinds of flags. Release and experiment flags must expire; the others are
// long-lived by declaration.
const (
	KindRelease    Kind = "release"
	KindOps        Kind = "ops"
	KindExperiment Kind = "experiment"
	KindPermission Kind = "permission"
)

// A FlagType is the type that all of a flag's variants share.
type FlagType string

// The types of flags.
const (
	TypeBoolean FlagType = "boolean"
	TypeString  FlagType = "string"
	TypeInteger FlagType = "integer" // 64 bits, signed
	TypeNumber  FlagType = "number"  // finite, double precision
	TypeObject  FlagType = "object"  // a JSON object or list
)

// A RiskTier says how much harm a wrong value can do.
type RiskTier string

// The risk tiers.
const (
	TierLow    RiskTier = "low"
	TierMedium RiskTier = "medium"
	TierHigh   RiskTier = "high"
)

// Consistency says whether instances may briefly disagree about a flag.
type Consistency string

// A cosmetic flag may differ between instances for a moment; a stateful one
// wants a converged fleet before each step of a rollout.
const (
	Cosmetic Consistency = "cosmetic"
	Stateful Consistency = "stateful"
)

// Limits of a flag.
const (
	MaxVariants     = 50
	MaxRules        = 100
	MaxVariantBytes = 64 << 10 // of one variant's value, as JSON
	MaxTextLen      = 2000     // of a description or a reason, in bytes
	MaxTags         = 50
)

// A Flag selects one of its variants for each evaluation context. It is the
// same in every environment; what an environment serves for it is a
// [FlagConfig].
//
// A key is permanent and never reused: the code that read the old flag may
// still be deployed, and would then obey the new one.
type Flag struct {
	Key           string      `json:"key" doc:"team.domain.purpose; lower-case letters, digits and . _ -; permanent, never reused" example:"payments.checkout.new-flow"`
	Kind          Kind        `json:"kind" enum:"release,ops,experiment,permission" doc:"what the flag is for; release and experiment flags must expire"`
	Description   string      `json:"description,omitempty" doc:"what the flag does, for someone who meets it in code"`
	Owner         string      `json:"owner" doc:"the team that answers for the flag" example:"payments-team"`
	Tags          []string    `json:"tags,omitempty" doc:"words to find it by"`
	RiskTier      RiskTier    `json:"riskTier,omitempty" enum:"low,medium,high" doc:"how much harm a wrong value can do (default medium)"`
	ExpiresAt     *Time       `json:"expiresAt,omitempty" doc:"by when the flag must be gone; required for release and experiment" example:"2027-02-01"`
	Type          FlagType    `json:"type" enum:"boolean,string,integer,number,object" doc:"the type that all variants share"`
	Variants      Variants    `json:"variants" doc:"1 to 50 variants by name, all of one type"`
	SafeVariant   string      `json:"safeVariant" doc:"the variant that the system survives on indefinitely; what a kill serves"`
	ClientVisible bool        `json:"clientVisible,omitempty" doc:"whether browser and mobile keys see the flag"`
	Consistency   Consistency `json:"consistency,omitempty" enum:"cosmetic,stateful" doc:"whether instances may briefly disagree (default cosmetic)"`
}

// WithDefaults returns f with its optional fields filled in.
func (f Flag) WithDefaults() Flag {
	if f.RiskTier == "" {
		f.RiskTier = TierMedium
	}
	if f.Consistency == "" {
		f.Consistency = Cosmetic
	}
	return f
}

// Validate reports every problem of the flag at once.
func (f Flag) Validate() error {
	p := newProblems()
	p.key("key", f.Key)
	oneOf(p, "kind", f.Kind, KindRelease, KindOps, KindExperiment, KindPermission)
	oneOf(p, "riskTier", f.RiskTier, TierLow, TierMedium, TierHigh)
	oneOf(p, "consistency", f.Consistency, Cosmetic, Stateful)
	p.text("description", f.Description)
	if f.Owner == "" {
		p.add("owner", "name the team that answers for the flag")
	}
	if len(f.Tags) > MaxTags {
		p.add("tags", "%d tags, at most %d", len(f.Tags), MaxTags)
	}
	for i, tag := range f.Tags {
		if tag == "" || len(tag) > 64 {
			p.add(fmt.Sprintf("tags[%d]", i), "a tag has 1 to 64 bytes")
		}
	}
	if (f.Kind == KindRelease || f.Kind == KindExperiment) && (f.ExpiresAt == nil || f.ExpiresAt.IsZero()) {
		p.add("expiresAt", "a flag of kind %s needs a date by which it goes", f.Kind)
	}
	f.validateVariants(p)
	return p.err()
}

func (f Flag) validateVariants(p problems) {
	if !oneOf(p, "type", f.Type, TypeBoolean, TypeString, TypeInteger, TypeNumber, TypeObject) {
		return
	}
	if n := len(f.Variants); n == 0 || n > MaxVariants {
		p.add("variants", "%d variants; a flag has 1 to %d", n, MaxVariants)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Variants)) {
		p.name("variants", name)
		switch v := f.Variants[name]; {
		case !f.Type.holds(v):
			p.add("variants."+name, "not of the flag's type %s", f.Type)
		case !fits(v):
			p.add("variants."+name, "more than %d bytes as JSON, or none at all", MaxVariantBytes)
		}
	}
	if _, ok := f.Variants[f.SafeVariant]; !ok {
		p.add("safeVariant", "%s is not one of the variants", quote(f.SafeVariant))
	}
}

// holds says whether v, as [Variants] decodes it, is a value of type t.
func (t FlagType) holds(v any) bool {
	switch v := v.(type) {
	case bool:
		return t == TypeBoolean
	case string:
		return t == TypeString
	case int64:
		return t == TypeInteger || t == TypeNumber
	case float64:
		return t == TypeNumber && !math.IsNaN(v) && !math.IsInf(v, 0)
	case map[string]any, []any:
		return t == TypeObject
	}
	return false
}

// fits says whether a variant's value is of a size that every SDK is sent.
func fits(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) <= MaxVariantBytes
	case map[string]any, []any:
		body, err := json.Marshal(v)
		return err == nil && len(body) <= MaxVariantBytes
	}
	return true
}

var (
	keyPattern  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,126}[a-z0-9]$`)
	namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

// key checks a permanent key: of a flag, a segment, a metric, a team.
func (p problems) key(field, key string) {
	if !keyPattern.MatchString(key) {
		p.add(field, "%s is not a key: 3 to 128 of a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends", quote(key))
	}
}

// name checks a short name: of a variant, a rule.
func (p problems) name(field, name string) {
	if !namePattern.MatchString(name) {
		p.add(field, "%s is not a name: 1 to 64 letters, digits, '.', '_' and '-', starting with a letter or digit", quote(name))
	}
}

func (p problems) text(field, s string) {
	if len(s) > MaxTextLen {
		p.add(field, "%d bytes, at most %d", len(s), MaxTextLen)
	}
}

// oneOf reports whether v is one of the allowed words, and adds a problem that
// names them if it is not.
func oneOf[T ~string](p problems, field string, v T, allowed ...T) bool {
	if slices.Contains(allowed, v) {
		return true
	}
	p.add(field, "%s is not one of %v", quote(string(v)), allowed)
	return false
}

// quote quotes what a caller sent, cut to a length that is safe to repeat.
func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return fmt.Sprintf("%q", s)
}
