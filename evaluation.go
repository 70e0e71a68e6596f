package flyball

// An EvaluationContext is what a flag is evaluated for. The targeting key
// names the unit, as a rule a user; attributes describe it.
type EvaluationContext struct {
	TargetingKey string     `json:"targetingKey,omitempty"`
	Attributes   Attributes `json:"attributes,omitempty"`
}

// A Reason says why a resolution has its value.
type Reason string

// The reasons, in OpenFeature's words.
const (
	ReasonStatic         Reason = "STATIC"
	ReasonDefault        Reason = "DEFAULT"
	ReasonTargetingMatch Reason = "TARGETING_MATCH"
	ReasonSplit          Reason = "SPLIT"
	ReasonDisabled       Reason = "DISABLED"
	ReasonError          Reason = "ERROR"
)

// An ErrorCode says what went wrong in an evaluation.
type ErrorCode string

// The error codes, in OpenFeature's words.
const (
	ErrorFlagNotFound        ErrorCode = "FLAG_NOT_FOUND"
	ErrorTargetingKeyMissing ErrorCode = "TARGETING_KEY_MISSING"
	ErrorTypeMismatch        ErrorCode = "TYPE_MISMATCH"
	ErrorProviderNotReady    ErrorCode = "PROVIDER_NOT_READY"
	ErrorInvalidContext      ErrorCode = "INVALID_CONTEXT"
	ErrorParse               ErrorCode = "PARSE_ERROR"
	ErrorGeneral             ErrorCode = "GENERAL"
)

// A Resolution is the outcome of evaluating a flag. With an error code, Value
// is nil and the caller's own default stands.
type Resolution struct {
	Value     any       `json:"value,omitempty"`
	Variant   string    `json:"variant,omitempty"`
	Reason    Reason    `json:"reason"`
	ErrorCode ErrorCode `json:"errorCode,omitempty"`
	Rule      string    `json:"rule,omitempty"` // the id of the rule that matched
	Version   int64     `json:"version"`        // of the ruleset
	Rollout   string    `json:"rollout,omitempty"`
	Step      int       `json:"step,omitempty"` // of the rollout, counted from 0
	// By is the bucketing value, if a rollout served and its unit is another
	// attribute than the targeting key.
	By string `json:"by,omitempty"`
	// Exposed says that the unit counts as exposed to the rollout: it is in
	// its population, whichever arm it got.
	Exposed bool `json:"-"`
}
