package main

import (
	"context"
	"fmt"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldbuilders"
	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldmodel"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/launchdarkly/go-server-sdk/v7/testhelpers/ldtestdata"

	"github.com/flyballdev/flyball"
	"github.com/flyballdev/flyball/bench/workload"
)

// launchDarkly is the LaunchDarkly SDK with its source of test data, sending
// no events. A rule there is a list of clauses that must all hold, so that what
// W4 nests stands in segments with rules.
func launchDarkly(ctx context.Context) ([]contestant, error) {
	source := ldtestdata.DataSource()
	source.UsePreconfiguredSegment(ldbuilders.NewSegmentBuilder(workload.SegmentKey).Version(1).Included(workload.Testers...).Build())
	for i := range workload.Rules {
		source.UsePreconfiguredSegment(ldbuilders.NewSegmentBuilder(fmt.Sprint("grown-", i)).Version(1).
			AddRule(ldbuilders.NewSegmentRuleBuilder().Clauses(
				ldbuilders.Clause("plan", ldmodel.OperatorIn, ldvalue.String("pro"), ldvalue.String("enterprise")),
				ldbuilders.Clause("age", ldmodel.OperatorGreaterThanOrEqual, ldvalue.Int(workload.Least(i))))).
			AddRule(ldbuilders.NewSegmentRuleBuilder().Clauses(ldbuilders.SegmentMatchClause(workload.SegmentKey))).Build())
	}
	for _, key := range workload.Everything {
		source.UsePreconfiguredFlag(launchDarklyFlag(key))
	}
	client, err := ld.MakeCustomClient("sdk-bench", ld.Config{
		DataSource: source, Events: ldcomponents.NoEvents(), Logging: ldcomponents.NoLogging(), DiagnosticOptOut: true,
	}, 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("LaunchDarkly: %w", err)
	}
	context.AfterFunc(ctx, func() { client.Close() })
	on := func(w workload.Workload, user *flyball.EvaluationContext) (evaluator, bool) {
		build := ldcontext.NewBuilder(user.TargetingKey)
		for name, v := range user.Attributes {
			build.SetValue(name, ldvalue.CopyArbitraryValue(v))
		}
		who := build.Build()
		if w.Kind == workload.KindObject {
			call := func(key string) ldvalue.Value { v, _ := client.JSONVariation(key, who, ldvalue.Null()); return v }
			return evaluating(call, func(v ldvalue.Value) any { return v.AsArbitraryValue() }), !w.Everywhere
		}
		return evaluating(func(key string) bool { v, _ := client.BoolVariation(key, who, false); return v }, same), !w.Everywhere
	}
	return []contestant{{Name: "LaunchDarkly", on: on, own: true}}, nil
}

func launchDarklyFlag(key string) ldmodel.FeatureFlag {
	const on, off = 0, 1
	f := ldbuilders.NewFlagBuilder(key).Version(1).On(true).Salt(key).
		Variations(ldvalue.Bool(true), ldvalue.Bool(false)).OffVariation(off).FallthroughVariation(off)
	rule := func(id string, clauses ...ldmodel.Clause) {
		f.AddRule(ldbuilders.NewRuleBuilder().ID(id).Variation(on).Clauses(clauses...))
	}
	switch workload.KindOf(key) {
	case workload.KindPlain:
		f.FallthroughVariation(on)
	case workload.KindObject:
		f.Variations(ldvalue.CopyArbitraryValue(workload.Thing), ldvalue.ObjectBuild().Build()).FallthroughVariation(on)
	case workload.KindCanada:
		rule("canada", ldbuilders.Clause("country", ldmodel.OperatorIn, ldvalue.String("CA")),
			ldbuilders.Clause("email", ldmodel.OperatorEndsWith, ldvalue.String("@mycompany.com")))
	case workload.KindTenth:
		f.Fallthrough(ldbuilders.Rollout(ldbuilders.Bucket(on, 10_000), ldbuilders.Bucket(off, 90_000))) // of 100,000
	case workload.KindTen:
		for i := range workload.Rules {
			rule(fmt.Sprint("r", i), ldbuilders.SegmentMatchClause(fmt.Sprint("grown-", i)),
				ldbuilders.Clause("country", ldmodel.OperatorIn, ldvalue.String(workload.Country(i)), ldvalue.String("YY")),
				ldbuilders.Negate(ldbuilders.Clause("email", ldmodel.OperatorEndsWith, ldvalue.String("@rival.com"))))
		}
	}
	return f.Build()
}
