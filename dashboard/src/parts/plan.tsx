// A plan: how risky a change is, whom it affects, and who must agree.
import { Alert } from "@mantine/core";
import type { ReactNode } from "react";

import type { Estimate, Plan, Preview } from "../api/governance";
import { differences } from "../words/difference";
import { count, plural } from "../words/numbers";
import { type Tone, value } from "../words/serving";
import { Moment, Tag } from "./basics";

const tones: Record<Plan["risk"], Tone> = { none: "good", low: "good", medium: "warn", high: "bad" };

export function PlanView({ plan }: { plan: Plan }) {
  return (
    <div className="plan-view">
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

const whole = (n: number) => count(Math.round(n));
const range = (e: Estimate) => `${whole(e.value)}${e.high > e.low ? ` (${whole(e.low)} to ${whole(e.high)})` : ""}`;
const percent = (n: number) => `${Number((100 * n).toPrecision(2))} %`;

const bases: Record<Preview["basis"], (p: Preview) => ReactNode> = {
  sample: (p) => <>by both rulesets over {plural(p.sample, "context")}{p.oldest && <>, seen <Moment at={p.oldest} /> and later</>}</>,
  structure: () => "an upper bound from the rules alone: no contexts are known",
  unused: () => "no program evaluated it in the last seven days",
};

function PreviewView({ of }: { of: Preview }) {
  const known = of.users.value > 0 && of.basis === "sample";
  const flags = of.flags ?? [];
  return (
    <section className="blast" aria-label={`Who gets something else in ${of.environment}`}>
      <div className="line"><b>{of.environment}</b><span className="push small soft">{bases[of.basis](of)}</span></div>
      <div className="blast-said">{known && of.affected.high > 0 ? <><b>{whole(of.affected.value)}</b> of {whole(of.users.value)} users get something else, <b>{percent(of.share.value)}</b></> : of.share.high > 0 ? <>up to <b>{percent(of.share.high)}</b> of users get something else</> : "nobody gets something else"}</div>
      {of.share.high > 0 && <Reach of={of.share} />}
      {known && of.affected.high > 0 && <div className="small soft">{whole(of.affected.low)} to {whole(of.affected.high)} with 95 % certainty; {whole(of.gain.value)} leave the safe variant, {whole(of.lose.value)} come back to it</div>}
      {flags.map((f) => (
        <div key={f.flag} className="small">
          {!f.edited && <div>{f.flag}, which depends on it:</div>}
          {(f.moves ?? []).map((m) => <div key={m.from + m.to}>{m.from} → {m.to}: {range(m.users)}</div>)}
          {of.by && Object.keys(f.by ?? {}).length > 0 && <table className="plain"><tbody>{Object.entries(f.by!).sort(([, a], [, b]) => b.value - a.value).slice(0, 12).map(([v, e]) => <tr key={v}><td>{of.by} {v || <span className="soft">missing</span>}</td><td className="num">{range(e)}</td></tr>)}</tbody></table>}
          {(f.examples?.length ?? 0) > 0 && <details><summary>such as {plural(f.examples!.length, "user")}</summary><ul className="evidence">{f.examples!.map((x) => <li key={x.unit}><span className="mono">#{x.unit}</span> {Object.keys(x.attributes ?? {}).length > 0 && <span className="mono soft">{value(x.attributes, 100)}</span>} {x.from} → {x.to}</li>)}</ul></details>}
        </div>
      ))}
      {(of.further ?? 0) > 0 && <div className="small soft">and {plural(of.further!, "flag")} more</div>}
      {of.note && <div className="small soft">{of.note}</div>}
    </section>
  );
}

// Reach is the share of users, and how sure it is, on one line from nobody to
// everybody.
function Reach({ of }: { of: Estimate }) {
  const at = (n: number) => `${Math.min(100, 100 * n)}%`;
  return <div className="reach" role="img" aria-label={`${percent(of.low)} to ${percent(of.high)} of users`}><span style={{ left: at(of.low), width: `max(2px, ${at(of.high - of.low)})` }} /><i style={{ left: at(of.value) }} /></div>;
}
