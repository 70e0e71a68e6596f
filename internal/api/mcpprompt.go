package api

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const shipPrompt = `Ship the feature behind the flag that is named below.
1. explain_flag: make sure that the flag is dark in production, and that the code that reads it is deployed (last_evaluated).
2. expose it to a small share for a few minutes, with the guardrails that the flag's owner uses; then await_verdict.
3. get_evidence. If it is breached, stop: say what the numbers are. If it is unsure, expose more users, within your envelope.
4. If it is healthy, plan_change a start_rollout in rising steps with guardrails. If the plan needs approval or goes beyond your envelope, request_approval with its digest and wait for people; else apply_plan.
5. await_verdict for the end, and tell what the evidence says.`

const cleanUpPrompt = `Clean up after the flags that are done.
1. worklist, for the owner that is named below if there is one: completed and expired flags.
2. For each completed flag, delete from the code every path but that of the variant that everybody has, and the evaluation itself.
3. When that is deployed and explain_flag tells that no program has evaluated it for seven days, plan_change an archive_flag and apply_plan it.
4. Tell what is left, and why.`

// addPrompts adds ways of working that clients can offer.
func addPrompts(s *mcp.Server) {
	add := func(name, title, about, text, argument, argumentAbout string, required bool) {
		s.AddPrompt(&mcp.Prompt{Name: name, Title: title, Description: about, Arguments: []*mcp.PromptArgument{{Name: argument, Description: argumentAbout, Required: required}}},
			func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
				body := text
				if v := cleaned(r.Params.Arguments[argument]); v != "" {
					body += "\n\n" + argument + ": " + v
				}
				return &mcp.GetPromptResult{Description: about, Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: body}}}}, nil
			})
	}
	add("ship", "Ship a feature", "Bring a feature to its users, step by step, judged by its metrics.", shipPrompt, "flag", "the flag's key", true)
	add("clean-up", "Clean up flags", "Take flags that are done out of the code, and then out of Flyball.", cleanUpPrompt, "owner", "the team whose flags are meant", false)
}
