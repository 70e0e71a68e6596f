package flyball

import (
	"encoding/json"
	"time"
)

// A Plan is what a change would do, found out by doing it and taking it back.
type Plan struct {
	Action  string `json:"action" example:"flag.default"`
	Subject string `json:"subject" example:"payments.checkout.new-flow"`
	// Digest stands for the action, the subject and every edit, before and
	// after: whoever edits any of it in between makes it another.
	Digest     string    `json:"digest" doc:"SHA-256 of the exact change"`
	Edits      []Edit    `json:"edits" doc:"each noun before and after"`
	Difference []string  `json:"difference" doc:"the same in words"`
	Retreat    bool      `json:"retreat,omitempty" doc:"whether it only puts users back on what they had"`
	Staged     bool      `json:"staged,omitempty" doc:"whether it exposes users by a rollout that guardrails watch"`
	Risk       Risk      `json:"risk" enum:"none,low,medium,high"`
	Why        []string  `json:"why" doc:"why the risk is what it is"`
	Previews   []Preview `json:"previews,omitempty" doc:"who gets something else, by environment"`
	Needs      Approvals `json:"needs" doc:"what must be approved before it can be applied"`
	// Versions are what the change would be made upon.
	Versions map[string]int64 `json:"versions,omitempty" doc:"the ruleset version of each environment that it alters, before it"`
	Refused  string           `json:"refused,omitempty" doc:"why nobody may do this now, such as a freeze"`
	Beyond   *Beyond          `json:"beyond,omitempty" doc:"how it goes beyond the envelope of the agent that planned it: people can approve it, and a person must apply it"`
}

// Approvals say how many people must approve, and who they may be.
type Approvals struct {
	Number int     `json:"number"`
	From   []Grant `json:"from,omitempty" doc:"each must have all of these, and be neither the proposer nor an agent"`
}

// A Preview is the blast radius of a change in one environment: how many users
// get something else, estimated from contexts that were seen lately.
type Preview struct {
	Environment string       `json:"environment"`
	Users       Estimate     `json:"users" doc:"users seen lately"`
	Affected    Estimate     `json:"affected" doc:"who get something else"`
	Share       Estimate     `json:"share" doc:"affected of all, 0 to 1"`
	Gain        Estimate     `json:"gain" doc:"who leave the safe variant"`
	Lose        Estimate     `json:"lose" doc:"who come to the safe variant"`
	Flags       []FlagImpact `json:"flags,omitempty" doc:"by flag, those that depend on what was edited included"`
	Further     int          `json:"further,omitempty" doc:"how many flags more are affected, less than those told"`
	Sample      int          `json:"sample" doc:"how many contexts were evaluated"`
	Effective   float64      `json:"effective,omitempty" doc:"how many equally likely contexts are worth as much"`
	Oldest      *Time        `json:"oldest,omitempty" doc:"when the oldest of them was seen"`
	Newest      *Time        `json:"newest,omitempty" doc:"when the newest of them was seen"`
	By          string       `json:"by,omitempty" doc:"the attribute by which it is divided"`
	Basis       string       `json:"basis" enum:"sample,structure,unused" doc:"what it rests on: contexts; for one flag at least the rules alone, as an upper bound; or that no program evaluates the flags"`
	Note        string       `json:"note,omitempty"`
}

// A FlagImpact is what a change does to those who get one flag.
type FlagImpact struct {
	Flag     string              `json:"flag"`
	Edited   bool                `json:"edited,omitempty" doc:"false for one that only depends on what was edited"`
	Basis    string              `json:"basis" enum:"sample,structure"`
	Affected Estimate            `json:"affected"`
	Share    Estimate            `json:"share" doc:"affected of all, 0 to 1"`
	Latent   float64             `json:"latent,omitempty" doc:"share that a retreat, which waits for nobody, could give something else later, and could not before"`
	Named    float64             `json:"-"` // share whom its rules name one by one, in the sample or not
	Moves    []Move              `json:"moves,omitempty" doc:"from which variant to which"`
	By       map[string]Estimate `json:"by,omitempty" doc:"affected, by the value of the attribute that was asked for"`
	Examples []Example           `json:"examples,omitempty"`
}

// A Move counts users who go from one variant to another.
type Move struct {
	From  string   `json:"from"`
	To    string   `json:"to"`
	Users Estimate `json:"users"`
}

// An Example is one context that gets something else. Its unit is not told, but
// by a name that is of no use elsewhere.
type Example struct {
	Unit       string     `json:"unit" doc:"a hash of the unit, with a key of the installation"`
	Attributes Attributes `json:"attributes"`
	From       string     `json:"from"`
	To         string     `json:"to"`
}

// An Estimate is a number with an interval that holds it 19 times in 20.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// A RequestState says how a request for approval stands.
type RequestState string

// The states of requests.
const (
	RequestOpen     RequestState = "open"
	RequestApplied  RequestState = "applied"
	RequestRejected RequestState = "rejected"
	RequestExpired  RequestState = "expired"
	RequestReview   RequestState = "review" // applied by breaking the glass, and not yet looked at
)

// A ChangeRequest is a change that somebody proposes, for others to approve.
type ChangeRequest struct {
	ID         string          `json:"id"`
	Operation  string          `json:"operation" doc:"the capability, as in the API's document"`
	Flag       string          `json:"flag,omitempty" doc:"the flag that it concerns; none if it concerns more"`
	Input      json.RawMessage `json:"input,omitempty" doc:"what the capability is run with once it is approved; sealed if it holds secrets"`
	Plan       Plan            `json:"plan" doc:"as it was when proposed"`
	Proposer   Actor           `json:"proposer"`
	Reason     string          `json:"reason"`
	CreatedAt  time.Time       `json:"createdAt"`
	ExpiresAt  time.Time       `json:"expiresAt"`
	State      RequestState    `json:"state" enum:"open,applied,rejected,expired,review"`
	Approvals  []Approval      `json:"approvals,omitempty"`
	RejectedBy ActorID         `json:"rejectedBy,omitempty"`
	RejectedAs string          `json:"rejectedAs,omitempty" doc:"why it was rejected"`
	AppliedBy  ActorID         `json:"appliedBy,omitempty"`
	AppliedAt  *Time           `json:"appliedAt,omitempty"`
	AppliedAs  string          `json:"appliedAs,omitempty" doc:"what whoever applied it said"`
}

// An Approval is one person's consent to exactly one change. It is used once.
type Approval struct {
	By     ActorID   `json:"by"`
	At     time.Time `json:"at"`
	Digest string    `json:"digest"`
	Reason string    `json:"reason,omitempty"`
}
