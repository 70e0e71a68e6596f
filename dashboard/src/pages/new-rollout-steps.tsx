// The ladder of a plan, and beside each step what it is expected to come to.
import { ActionIcon, Button, NumberInput, TextInput } from "@mantine/core";

import type { Schemas } from "../api/client";
import { Card, Tag } from "../parts/basics";
import { Icon } from "../parts/icons";
import { count, milliseconds, number, percentToPPM, span } from "../words/numbers";
import { holdOf, least, type PlanDraft, presets, type Step } from "../words/plan";
import { same } from "../words/difference";
import type { Forecast } from "./new-rollout-forecast";

type StepForecast = Schemas["StepForecast"];

export function Steps({ d, set, forecast }: { d: PlanDraft; set: (p: Partial<PlanDraft>) => void; forecast: Forecast }) {
  const put = (i: number, part: Partial<Step>) => set({ steps: d.steps.with(i, { ...d.steps[i], ...part }) });
  const told = forecast.told?.ladder?.length === d.steps.length ? forecast.told : undefined;
  const takes = milliseconds(told?.takes ?? undefined);
  const last = d.steps.at(-1);
  return (
    <Card title="Steps" actions={<>
      <Tag tone="accent">{takes !== undefined ? `about ${span(takes)} in all` : `${span(least(d.steps))} at least`}</Tag>
      {Object.entries(presets).map(([name, p]) => <Button key={name} variant={same(p.steps, d.steps) ? "light" : "default"} size="compact-xs" aria-pressed={same(p.steps, d.steps)} title={p.about} onClick={() => set({ steps: p.steps })}>{name}</Button>)}
    </>}>
      <div className="scroll" tabIndex={0} role="region" aria-label="Steps" aria-busy={forecast.asking}>
        <table className="plain plan"><thead><tr><th>Share</th><th>Held at least</th><th>Lease</th><th>Approvals to leave</th><th>Begins about</th><th>Expected to take</th><th className="num">Users by its end</th><th>Smallest harm found</th><th><span className="soft" /></th></tr></thead>
          <tbody>{d.steps.map((s, i) => (
            <tr key={i}>
              <td><NumberInput aria-label={`Step ${i + 1}: share`} w={96} min={0.0001} max={100} decimalScale={4} suffix=" %" hideControls value={s.ppm / 10_000} onChange={(v) => typeof v === "number" && put(i, { ppm: percentToPPM(v) })} error={i > 0 && s.ppm <= d.steps[i - 1].ppm ? "must rise" : undefined} /></td>
              <td><TextInput aria-label={`Step ${i + 1}: hold`} w={76} value={s.hold ?? ""} onChange={(e) => put(i, { hold: e.currentTarget.value })} error={milliseconds(s.hold) === undefined && "such as 30m"} /></td>
              <td><TextInput aria-label={`Step ${i + 1}: lease`} w={76} placeholder="none" value={s.lease ?? ""} onChange={(e) => put(i, { lease: e.currentTarget.value || undefined })} title="After it, programs serve control by themselves, unless evidence renews it" /></td>
              <td><NumberInput aria-label={`Step ${i + 1}: approvals`} w={64} min={0} max={5} value={s.gates?.[0]?.approval ?? 0} onChange={(v) => put(i, { gates: v ? [{ approval: Number(v) }] : undefined })} /></td>
              <Expected of={told?.ladder?.[i]} told={told} before={told ? beginsIn(told.ladder!, i) : i === 0 ? 0 : undefined} least={least(d.steps.slice(0, i))} d={d} step={s} />
              <td><ActionIcon variant="subtle" color="gray" disabled={d.steps.length === 1} onClick={() => set({ steps: d.steps.toSpliced(i, 1) })} aria-label={`Remove step ${i + 1}`}><Icon name="cross" size={13} /></ActionIcon></td>
            </tr>
          ))}</tbody>
        </table>
      </div>
      <div className="line" style={{ marginTop: 6 }}>
        <Button variant="subtle" size="compact-xs" disabled={last?.ppm === 1_000_000 || d.steps.length >= 50} title={last?.ppm === 1_000_000 ? "The last step reaches everybody already" : undefined} onClick={() => set({ steps: [...d.steps, { ppm: Math.min(1_000_000, (last?.ppm ?? 5000) * 2), hold: last?.hold ?? "30m" }] })}>+ step</Button>
        <span className="small soft">Who is in the first step stays in each one after it. “Smallest harm found” is found four times in five; larger harm sooner.</span>
      </div>
    </Card>
  );
}

// beginsIn is when a step begins, if all before it take as long as expected.
function beginsIn(ladder: StepForecast[], i: number): number | undefined {
  let sum = 0;
  for (const s of ladder.slice(0, i)) {
    const takes = milliseconds(s.takes ?? undefined);
    if (takes === undefined) return undefined;
    sum += takes;
  }
  return sum;
}

function Expected({ of, told, before, least: atLeast, d, step }: { of?: StepForecast; told?: Schemas["RolloutForecast"]; before?: number; least: number; d: PlanDraft; step: Step }) {
  const begins = before === 0 ? "at once" : before !== undefined ? `in ${span(before)}` : <span className="soft">after {span(atLeast)} at least</span>;
  const takes = milliseconds(of?.takes ?? undefined);
  return (
    <>
      <td>{begins}</td>
      <td>{of ? takes === undefined ? <span className="warn">not known</span> : <>{span(takes)}{of.waitsFor !== "hold" && <div className="small soft">{waitsWords(of.waitsFor)}</div>}</> : <span className="soft">{span(holdOf(step))} at least</span>}</td>
      <td className="num">{of?.exposes !== null && of?.exposes !== undefined ? count(Math.round(of.exposes)) : <span className="soft">–</span>}</td>
      <td style={{ minWidth: 150 }}>{d.guardrails.length === 0 ? <span className="warn">none: no guardrails</span> : !of ? <span className="soft">–</span> : step.ppm === 1_000_000 ? <span className="soft">nobody is left to compare with</span>
        : (of.guardrails ?? []).map((g) => <div key={g.metric} className="small"><b>{harm(g, told)}</b>{d.guardrails.length > 1 && <span className="soft"> {g.metric}</span>}{g.shownIn && <div className="soft">shown healthy in {span(milliseconds(g.shownIn) ?? 0)}</div>}{g.why && <div className="soft">{g.why}</div>}</div>)}</td>
    </>
  );
}

const waitsWords = (what: string) => (what === "units" ? "until 100 users have it" : what === "unsure" ? "then it goes on without proof" : `until ${what} is shown healthy`);

// harm is in percent of control where the metric is a rate, and in its own unit
// where it is not: only of those is there a deviation.
function harm(g: Schemas["GuardrailForecast"], told: Schemas["RolloutForecast"] | undefined): string {
  if (g.detectable === null || g.detectable === undefined) return g.why ? "not known" : "none";
  const rate = told?.traffic?.find((t) => t.metric === g.metric)?.deviation === undefined;
  return rate ? `${g.detectable > 1 ? "+" : ""}${number(Number((100 * (g.detectable - 1)).toPrecision(3)))} %` : `${g.detectable > 0 ? "+" : ""}${number(g.detectable)}`;
}
