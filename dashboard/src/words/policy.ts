// What policy asks of changes, in plain words.
import type { Schemas } from "../api/client";
import { milliseconds, number, plural, span } from "./numbers";

export type Policy = Pick<Schemas["Policy"], "approvals" | "approvalTTL" | "freezes" | "guardrails" | "requireDescription">;
export type RequiredGuardrail = Schemas["RequiredGuardrail"];
export type Freeze = Schemas["Freeze"];

export const risks = ["none", "low", "medium", "high"] as const;
export type Risk = (typeof risks)[number];

// What a risk is, as the server computes it.
export const riskWords: Record<Risk, string> = {
  none: "nobody gets something else", low: "fewer than 1 in 100 users get something else", medium: "fewer than 1 in 10", high: "1 in 10 or more",
};

// The policy of a new installation; a test in a browser holds it to the server's.
export const defaultPolicy: Policy = {
  approvals: { none: { direct: 0, staged: 0 }, low: { direct: 0, staged: 0 }, medium: { direct: 1, staged: 0 }, high: { direct: 2, staged: 1 } }, approvalTTL: "24h0m0s",
};

export function needWords(n: number): string {
  return n < 0 ? "never at once" : n === 0 ? "a reason is enough" : `${plural(n, "other person", "other people")} must approve`;
}

export const samePolicy = (a: Policy, b: Policy) => policyDifference(a, b).length === 0;

const freezeWords = (f: Freeze) => `${f.from.slice(0, 16).replace("T", " ")} to ${f.to.slice(0, 16).replace("T", " ")} UTC, ${f.environments?.length ? f.environments.join(", ") : "every protected environment"}: ${f.reason}`;

export function guardrailWords({ metric, margin, environments }: RequiredGuardrail): string {
  const most = margin?.relative ? `, at most ${number(100 * margin.relative)} % worse` : margin?.absolute ? `, at most ${number(margin.absolute)} worse` : "";
  return `${metric}${most}, in ${environments?.length ? environments.join(", ") : "every protected environment"}`;
}

export function policyDifference(before: Policy, after: Policy): string[] {
  const lines: string[] = [];
  for (const risk of risks) {
    const [was, is] = [before.approvals[risk], after.approvals[risk]];
    if (was.direct !== is.direct) lines.push(`${risk} risk, at once: ${needWords(was.direct)} → ${needWords(is.direct)}`);
    if (was.staged !== is.staged) lines.push(`${risk} risk, by a guarded rollout: ${needWords(was.staged)} → ${needWords(is.staged)}`);
  }
  const [was, is] = [milliseconds(before.approvalTTL) ?? 0, milliseconds(after.approvalTTL) ?? 0];
  if (was !== is) lines.push(`a request is good for ${span(was)} → ${span(is)}`);
  if (Boolean(before.requireDescription) !== Boolean(after.requireDescription)) lines.push(after.requireDescription ? "a new flag must say what it does" : "a new flag need not say what it does");
  const differ = (told: (p: Policy) => string[], more: string, less: string) => {
    const [old, now] = [told(before), told(after)];
    lines.push(...now.filter((f) => !old.includes(f)).map((f) => `${more} ${f}`), ...old.filter((f) => !now.includes(f)).map((f) => `${less} ${f}`));
  };
  differ((p) => (p.guardrails ?? []).map(guardrailWords), "a guarded rollout watches", "a guarded rollout need not watch");
  differ((p) => (p.freezes ?? []).map(freezeWords), "frozen from", "no longer frozen from");
  return lines;
}

// policyTrouble says what is wrong with a policy, before the server would.
export function policyTrouble(p: Policy): string | undefined {
  const ttl = milliseconds(p.approvalTTL);
  if (ttl === undefined || ttl < 60_000 || ttl > 30 * 86_400_000) return "A request is good for a minute to 30 days: write 90m, 24h or 72h.";
  if (p.guardrails?.some((g) => !g.metric)) return "Choose the metric that a guarded rollout must watch.";
  for (const f of p.freezes ?? []) {
    if (!f.from || !f.to) return "A freeze has a beginning and an end.";
    if (Date.parse(f.from) >= Date.parse(f.to)) return "A freeze ends after it begins.";
    if (!f.reason.trim()) return "Say of each freeze why nothing is raised: whoever is refused reads it.";
  }
  return undefined;
}

export type FreezeState = "now" | "later" | "over";
export const freezeState = (f: Freeze, now: number): FreezeState => (Date.parse(f.to) <= now ? "over" : Date.parse(f.from) <= now ? "now" : "later");
