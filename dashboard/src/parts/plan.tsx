// A plan: how risky a change is, whom it affects, and who must agree.
import { Alert } from "@mantine/core";

import type { Estimate, Plan, Preview } from "../api/governance";
import { differences } from "../words/difference";
import { count, plural } from "../words/numbers";
import type { Tone } from "../words/serving";
import { Tag } from "./basics";

const tones: Record<Plan["risk"], Tone> = { none: "good", low: "good", medium: "warn", high: "bad" };

export function PlanView({ plan }: { plan: Plan }) {
  return (
    <div className="card">
      <div className="line">
        <Tag tone={tones[plan.risk]}>{plan.risk === "none" ? "no risk" : `${plan.risk} risk`}</Tag>
        {plan.retreat && <Tag tone="good">a retreat: it waits for nobody</Tag>}
        {plan.staged && <Tag tone="accent">watched by guardrails</Tag>}
        <span className="small soft">{needs(plan)}</span>
      </div>
      {(plan.why?.length ?? 0) > 0 && <p className="small soft">{plan.why!.join("; ")}</p>}
      {(plan.previews ?? []).map((p) => <PreviewView key={p.environment} of={p} />)}
      {plan.refused && <Alert color="red" variant="light">{plan.refused}</Alert>}
    </div>
  );
}

// planLines are the edits in the page's words, or else in the server's.
export function planLines(plan: Plan): string[] {
  const lines = differences(plan.edits);
  return lines.length > 0 ? lines : plan.difference ?? [];
}

export { PreviewView };

export function needs(plan: Plan): string {
  const { number, from } = plan.needs ?? { number: 0 };
  if (number === 0) return "Nobody has to approve it.";
  const who = (from ?? []).map((g) => [g.role ?? "approver", g.team && `of ${g.team}`, g.environment && `in ${g.environment}`].filter(Boolean).join(" ")).join(" and ");
  return `${plural(number, "person", "people")} must approve it${who ? `: ${who}` : ""}.`;
}

const range = (e: Estimate) => `${count(Math.round(e.value))}${e.high > e.low ? ` (${count(Math.round(e.low))} to ${count(Math.round(e.high))})` : ""}`;
const percent = (n: number) => `${Number((100 * n).toPrecision(2))} %`;

const bases: Record<Preview["basis"], (p: Preview) => string> = {
  sample: (p) => `by both rulesets over ${plural(p.sample, "context")} seen lately`,
  structure: () => "an upper bound from the rules alone: no contexts are known",
  unused: () => "no program evaluates it",
};

function PreviewView({ of }: { of: Preview }) {
  return (
    <dl className="facts">
      <dt>{of.environment}</dt>
      <dd>
        {of.users.value > 0 ? <><b>{range(of.affected)}</b> of {count(Math.round(of.users.value))} users get something else, {percent(of.share.value)}</> : of.share.high > 0 ? <>up to <b>{percent(of.share.high)}</b> of users get something else</> : "nobody gets something else"}
        <div className="small soft">{bases[of.basis]?.(of)}{of.note && `; ${of.note}`}</div>
        {(of.flags ?? []).flatMap((f) => (f.moves ?? []).map((m) => <div key={f.flag + m.from + m.to} className="small">{f.edited ? "" : `${f.flag}: `}{m.from} → {m.to}: {range(m.users)}</div>))}
      </dd>
    </dl>
  );
}
