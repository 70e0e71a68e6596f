package flyball

import (
	"time"
)

// A TelemetryBatch is what an SDK, or any program, sends about the evaluations
// it made and the values it measured. It is idempotent by Batch.
type TelemetryBatch struct {
	Batch        string            `json:"batch"`            // a UUID
	Seq          int64             `json:"seq"`              // rises by one per instance; a gap is lost evidence
	SentAt       time.Time         `json:"sentAt"`           // by the sender's clock; corrects every t in the batch
	Dropped      Dropped           `json:"dropped,omitzero"` // since the last batch, for want of room
	Instance     InstanceInfo      `json:"instance"`
	Applied      *RulesetID        `json:"applied,omitempty"` // the ruleset that the instance runs; nil if it never holds one
	Errors       []string          `json:"errors,omitempty"`  // flags of that ruleset that it could not read, and why
	Exposures    []Exposure        `json:"exposures,omitempty"`
	Observations []Observation     `json:"observations,omitempty"`
	Contexts     []SampledContext  `json:"contexts,omitempty"`
	ContextLevel int               `json:"contextLevel,omitempty"` // contexts are of one unit in two to the power of this; see [SampledContext]
	Counts       []EvaluationCount `json:"counts,omitempty"`
	UnknownFlags []string          `json:"unknownFlags,omitempty"` // keys that were evaluated and are not in the ruleset
	Leaving      bool              `json:"leaving,omitempty"`      // the instance ends with this batch
}

// Dropped counts what a sender had no room for.
type Dropped struct {
	Exposures    int64 `json:"exposures"`
	Observations int64 `json:"observations"`
}

// An InstanceInfo names a running copy of a program.
type InstanceInfo struct {
	ID      string `json:"id"`
	Service string `json:"service,omitempty"`
	Version string `json:"version,omitempty"` // of the program
	SDK     string `json:"sdk,omitempty"`     // such as "go/0.1.0"
}

// A RulesetID orders rulesets: by epoch, then by version.
type RulesetID struct {
	Epoch   int64 `json:"epoch"`
	Version int64 `json:"version"`
}

// Before says whether a is an older ruleset than b.
func (a RulesetID) Before(b RulesetID) bool {
	return a.Epoch < b.Epoch || a.Epoch == b.Epoch && a.Version < b.Version
}

// A SampledContext is the latest context of one unit, told so that the effect of
// changes can be foreseen. It has no attribute but those that the server asked
// for in a [SampleWish].
//
// A sender with too many units leaves some out, the same as every other sender:
// at level n it tells of those alone whose point on the ring [ContextRing] lies
// below one million over two to the power of n. So those that are told of are
// a fair sample of all, and how many there are in all is known still.
type SampledContext struct {
	T          time.Time  `json:"t"`
	Unit       string     `json:"unit,omitempty"`
	Attributes Attributes `json:"attributes,omitempty"`
}

// ContextRing is the seed of the ring by which contexts are sampled. It is no
// flag's, so that who is in the sample says nothing of what they are served.
const ContextRing = "flyball contexts"

// Limits of sampled contexts. One that is over them is not sampled.
const (
	MaxContextLevel = 16      // of every 65,536th unit
	MaxContextBytes = 4 << 10 // its attributes, as JSON
	MaxContextUnit  = 1024    // bytes of its unit
)

// Validate says what is wrong with a context; it is told to the sender and the
// rest of the batch counts. The size of its attributes is for those who have
// them as text.
func (c SampledContext) Validate() error {
	if c.Unit == "" || len(c.Unit) > MaxContextUnit {
		return FieldErrorf("unit", "needs 1 to %d bytes", MaxContextUnit)
	}
	return nil
}

// An EvaluationCount says how often a flag served a variant in a while.
type EvaluationCount struct {
	Flag    string    `json:"flag"`
	Variant string    `json:"variant"`
	N       int64     `json:"n"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
}

// MaxCount is the largest number of evaluations that one count tells: sums of
// more would run over.
const MaxCount = 1_000_000_000_000

// Validate says what is wrong with a count; it is told to the sender and the
// rest of the batch counts.
func (c EvaluationCount) Validate() error {
	switch {
	case c.Flag == "" || len(c.Flag) > 128:
		return FieldErrorf("flag", "needs 1 to 128 bytes")
	case len(c.Variant) > 128:
		return FieldErrorf("variant", "has at most 128 bytes")
	case c.N <= 0 || c.N > MaxCount:
		return FieldErrorf("n", "must lie between 1 and %d", int64(MaxCount))
	}
	return nil
}

// Limits of a telemetry batch. Whatever is over them is refused whole.
const (
	MaxBatchItems     = 10_000  // exposures and observations together
	MaxBatchBytes     = 1 << 20 // as sent
	MaxBatchInflated  = 4 << 20 // after inflation
	MaxBatchInflation = 20      // inflated over compressed
)

// Validate reports every problem of the batch's envelope at once. Its items
// are validated one by one, since a bad one does not spoil the others.
func (b TelemetryBatch) Validate() error {
	p := newProblems()
	if n := len(b.Batch); n < 8 || n > 64 {
		p.add("batch", "needs an id of 8 to 64 bytes, such as a UUID")
	}
	if b.Seq < 0 {
		p.add("seq", "must not be negative")
	}
	if b.Instance.ID == "" || len(b.Instance.ID) > 128 {
		p.add("instance.id", "needs 1 to 128 bytes")
	}
	if len(b.Instance.Service) > 128 || len(b.Instance.Version) > 128 || len(b.Instance.SDK) > 128 {
		p.add("instance", "service, version and sdk have at most 128 bytes each")
	}
	if b.Dropped.Exposures < 0 || b.Dropped.Observations < 0 {
		p.add("dropped", "must not be negative")
	}
	if n := len(b.Exposures) + len(b.Observations); n > MaxBatchItems {
		p.add("observations", "%d exposures and observations, at most %d a batch", n, MaxBatchItems)
	}
	if b.ContextLevel < 0 || b.ContextLevel > MaxContextLevel {
		p.add("contextLevel", "must lie between 0 and %d", MaxContextLevel)
	}
	for _, list := range []struct {
		field string
		n     int
	}{{"errors", len(b.Errors)}, {"contexts", len(b.Contexts)}, {"counts", len(b.Counts)}, {"unknownFlags", len(b.UnknownFlags)}} {
		if list.n > MaxBatchItems {
			p.add(list.field, "%d entries, at most %d", list.n, MaxBatchItems)
		}
	}
	return p.err()
}

// A TelemetryReply acknowledges a batch that is durable.
type TelemetryReply struct {
	Accepted  int        `json:"accepted"`
	Duplicate bool       `json:"duplicate,omitempty"` // the batch had arrived before
	Unmatched int        `json:"unmatched,omitempty"` // of those accepted, exposures to no live rollout: it ended, or never was
	Rejected  []Rejected `json:"rejected,omitempty"`
	// FlushAfter is how long the sender should wait before its next batch.
	FlushAfter Duration `json:"flushAfter"`
	// Sample asks for contexts; without it none are wanted.
	Sample *SampleWish `json:"sample,omitempty"`
}

// A SampleWish says what a server wants to be told of contexts: their units, and
// these attributes, none if there are none. Nothing else may leave the program.
type SampleWish struct {
	Attributes []string `json:"attributes"`
}

// Rejected says why one item of a batch does not count. Index counts within
// its own list.
type Rejected struct {
	List  string `json:"list"` // such as "exposures"
	Index int    `json:"index"`
	Why   string `json:"why"`
}

// An Instance is a running copy of a program, as its telemetry tells.
type Instance struct {
	InstanceInfo
	Environment string     `json:"environment"`
	Applied     *RulesetID `json:"applied,omitempty"` // nil if it never told one: it holds no ruleset
	LastSeen    time.Time  `json:"lastSeen"`
	Errors      []string   `json:"errors,omitempty"`
	Gone        bool       `json:"gone,omitempty"` // it said that it ends, or somebody declared it gone
}

// A Fleet says how far the instances of an environment have come.
//
// An instance that falls silent is part of its fleet for [InstanceMemory] more:
// it may well be running, cut off, with the values of long ago.
type Fleet struct {
	Environment string         `json:"environment"`
	Head        RulesetID      `json:"head" doc:"the ruleset in force"`
	Instances   int            `json:"instances" doc:"those that hold a ruleset"`
	Converged   int            `json:"converged" doc:"how many of them run the ruleset in force, without errors"`
	Remote      int            `json:"remote,omitempty" doc:"further instances, that tell no ruleset: the server evaluates for them"`
	Services    []ServiceFleet `json:"services,omitempty"`
	Behind      []Instance     `json:"behind,omitempty" doc:"those that do not, at most 100 of them"`
}

// InstanceMemory is how long a silent instance is still waited for, unless it
// said that it ends or somebody declares it gone.
const InstanceMemory = time.Hour

// A ServiceFleet is the part of a fleet that runs one program.
type ServiceFleet struct {
	Service   string         `json:"service"`
	Instances int            `json:"instances"`
	Converged int            `json:"converged"`
	Remote    int            `json:"remote,omitempty" doc:"further instances, that tell no ruleset"`
	Errors    int            `json:"errors,omitempty" doc:"how many report flags that they cannot read"`
	Rulesets  map[string]int `json:"rulesets" doc:"instances by epoch.version of the ruleset that they run"`
	Versions  map[string]int `json:"versions" doc:"instances by version of the program"`
}

// A Usage counts how often a flag served a variant in an environment.
type Usage struct {
	Environment string    `json:"environment"`
	Flag        string    `json:"flag"`
	Variant     string    `json:"variant"`
	N           int64     `json:"n"`
	Last        time.Time `json:"last"`
}

// An UnknownFlag is a key that a program evaluates and that is no flag.
type UnknownFlag struct {
	Environment string    `json:"environment"`
	Flag        string    `json:"flag"`
	Service     string    `json:"service"`
	Version     string    `json:"version"` // of the program
	Last        time.Time `json:"last"`
}
