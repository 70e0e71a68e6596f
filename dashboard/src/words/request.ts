// Requests for approval in words, and whose turn each is.
import { refusal, type Session } from "../api/auth";
import type { ChangeRequest } from "../api/governance";
import { place } from "./access";

const acts: Record<string, string> = {
  "flag.default": "Change the default of", "flag.configure": "Change what is served by", "flag.enable": "Enable", "flag.disable": "Disable", "flag.resume": "Lift the kill of", "flag.kill": "Kill", "flag.create": "Create", "flag.update": "Redefine", "flag.archive": "Archive", "flag.revert": "Put back",
  "rule.add": "Add a rule to", "rule.update": "Change a rule of", "rule.move": "Move a rule of", "rule.remove": "Remove a rule of", "rollout.start": "Start a rollout of", "rollout.resume": "Resume the rollout of", "segment.update": "Change the segment", "segment.create": "Create the segment",
};

// titleOf says what a request wants; an action without words of its own keeps
// its name.
export function titleOf(c: Pick<ChangeRequest, "plan">): string {
  const where = Object.keys(c.plan.versions ?? {});
  return `${acts[c.plan.action] ?? c.plan.action} ${c.plan.subject}${where.length === 1 ? ` in ${where[0]}` : ""}`;
}

// approvable says why somebody may not approve a request, if they may not. The
// server judges anew.
export function approvable(c: Pick<ChangeRequest, "proposer" | "approvals" | "plan">, who: Session): string | undefined {
  if (who.user && !who.user.startsWith("user:")) return "Only people approve, and this token is not a person’s.";
  if (who.user === c.proposer.id) return "You proposed it, and nobody approves their own: somebody else must.";
  if (who.user && who.user === c.proposer.onBehalfOf) return "An agent proposed it on your behalf: you and it are one party, so somebody else must approve.";
  if ((c.approvals ?? []).some((a) => a.by === who.user)) return "You approved it already; others must too.";
  for (const g of c.plan.needs.from ?? []) {
    const why = refusal(who, { role: g.role ?? "approver", environment: g.environment, team: g.team });
    if (why) return why;
  }
  return undefined;
}

// appliable says why somebody may not apply what was approved: it takes whoever
// may change it themselves.
export function appliable(c: Pick<ChangeRequest, "plan">, who: Session): string | undefined {
  return (c.plan.needs.from ?? []).map((g) => refusal(who, { role: "editor", environment: g.environment, team: g.team })).find(Boolean);
}

export type Turn = "review" | "yours" | "ready" | "others" | "closed";

export function turnOf(c: ChangeRequest, who: Session): Turn {
  if (c.state === "review") return "review";
  if (c.state !== "open") return "closed";
  if ((c.approvals?.length ?? 0) >= c.plan.needs.number) return "ready";
  return approvable(c, who) ? "others" : "yours";
}

// missing names who else must agree.
export function missing(c: Pick<ChangeRequest, "plan">): string {
  const from = c.plan.needs.from ?? [];
  return from.length === 0 ? "for another person" : `for an ${from.map((g) => `${g.role ?? "approver"} ${place(g)}`).join(" and ")}`;
}
