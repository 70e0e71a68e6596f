package service

import (
	"context"
	"time"

	"github.com/flyballdev/flyball"
)

// Evaluate asks what a flag serves for a context.
type Evaluate struct {
	Key         string             `json:"key" doc:"the flag's key"`
	Environment string             `json:"environment" doc:"where" example:"production"`
	Context     flyball.Attributes `json:"context,omitempty" doc:"the evaluation context: targetingKey and attributes" example:"{\"targetingKey\":\"user-1\",\"country\":\"CA\"}"`
}

// Evaluated is what a flag serves for a context, and why.
type Evaluated struct {
	Flag string `json:"flag"`
	flyball.Resolution
}

// Evaluate tells what a flag serves for a context, and why. It exposes nobody.
func (s *Service) Evaluate(ctx context.Context, in Evaluate) (Evaluated, error) {
	p, err := principalOf(ctx)
	if err != nil {
		return Evaluated{}, err
	}
	if err := p.may(in.Key); err != nil {
		return Evaluated{}, err
	}
	head, err := s.Published(in.Environment)
	if err != nil {
		return Evaluated{}, err
	}
	ec, err := ContextOf(in.Context)
	if err != nil {
		return Evaluated{}, err
	}
	r := head.Compiled.Evaluate(in.Key, &ec, time.Now, nil)
	if r.ErrorCode == flyball.ErrorFlagNotFound {
		return Evaluated{}, flyball.Errorf(flyball.NotFound, "there is no flag %q in %s", in.Key, in.Environment)
	}
	return Evaluated{Flag: in.Key, Resolution: r}, nil
}

// ContextOf makes an evaluation context of attributes, one of which may be the
// targeting key.
func ContextOf(attributes flyball.Attributes) (flyball.EvaluationContext, error) {
	ec := flyball.EvaluationContext{Attributes: attributes}
	switch key := attributes[flyball.AttributeTargetingKey].(type) {
	case nil:
	case string:
		ec.TargetingKey = key
	default:
		return ec, flyball.FieldErrorf("context.targetingKey", "must be a string")
	}
	return ec, nil
}
