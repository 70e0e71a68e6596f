// What a rollout waits for, and the points that its charts are drawn of.
import type { AuditEntry, Evidence, Rollout, Schemas } from "../api/client";
import { milliseconds, plural, progress, share } from "./numbers";

export const holdOf = (s: Schemas["Step"] | undefined) => milliseconds(s?.hold) ?? 300_000;

// least is how long a plan takes at least.
export const least = (steps: Schemas["Step"][]) => steps.reduce((sum, s) => sum + holdOf(s), 0);

export interface Wait { what: string; done: boolean; until?: number; part?: number }

// waits lists what must hold before a rollout advances, and what does already.
export function waits(r: Rollout, now: number): Wait[] {
  const steps = r.steps ?? [], step = steps[r.at], next = steps[r.at + 1];
  if (!step) return [];
  const list: Wait[] = [];
  const due = Date.parse(r.steppedAt) + holdOf(step);
  list.push({ what: `held for ${step.hold ?? "5m"}`, done: now >= due, until: due, part: 1 - Math.max(0, due - now) / Math.max(1, holdOf(step)) });
  (step.gates ?? []).forEach((g, i) => {
    const passed = (r.passed ?? []).filter((p) => p.step === r.at && p.gate === i && p.at >= r.steppedAt);
    const wants = g.agent ? 1 : g.approval ?? 1;
    list.push({ what: g.agent ? `agent ${g.agent} opens its gate` : `${plural(wants, "person", "people")} open the gate (${passed.length} so far)`, done: passed.length >= wants });
  });
  const e = r.evidence;
  if (!e) return [...list, { what: "the judge hears of both arms", done: false }];
  if (!next) return list;
  list.push({ what: "at least 100 treatment units in this step", done: e.stepUnits.treatment >= 100, part: e.stepUnits.treatment / 100 });
  for (const g of e.guardrails ?? []) {
    if (g.stream) list.push({ what: `${g.metric} is within its limit`, done: g.stream.state === "normal" || g.stream.state === "learning" });
    else list.push({ what: `${g.metric} is shown to be healthy at ${share(next.ppm)}`, done: g.advanceE >= g.advanceThreshold && g.advanceThreshold > 0, part: progress(g.advanceE, g.advanceThreshold) });
  }
  for (const b of e.blocks ?? []) list.push({ what: b, done: false });
  if (e.lossy) list.push({ what: `telemetry is whole: ${e.lossy}`, done: false });
  return list;
}

// A Point is the evidence at a moment.
export interface Point { t: number; ppm: number; evidence: Evidence }

// pointOf is what a rollout tells now.
export function pointOf(r: Rollout, now: number): Point | undefined {
  return r.evidence && { t: now / 1000, ppm: r.steps?.[r.evidence.step]?.ppm ?? 0, evidence: r.evidence };
}

// points joins what the audit log holds with what was seen while the page was
// open, in time order, and thins it out so that a day remains drawable.
export function points(r: Rollout, entries: AuditEntry[], seen: Point[]): Point[] {
  const held = entries.flatMap((e) => {
    const evidence = (e.evidence as { evidence?: Evidence } | undefined)?.evidence;
    return evidence && evidence.rollout === r.id ? [{ t: Date.parse(e.at) / 1000, ppm: r.steps?.[evidence.step]?.ppm ?? 0, evidence }] : [];
  });
  const all = [...held, ...seen].sort((a, b) => a.t - b.t);
  const every = Math.ceil(all.length / 1500);
  return all.filter((p, i) => i % every === 0 || i === all.length - 1 || held.includes(p));
}

export type Series = (number | null)[];

// seriesOf is one guardrail's numbers over time.
export function seriesOf(all: Point[], metric: string, by: "guardrails" | "success") {
  const of = all.map((p) => (p.evidence[by] ?? []).find((m) => m.metric === metric));
  const pick = (f: (m: NonNullable<(typeof of)[number]>) => number | null | undefined): Series => of.map((m) => (m ? f(m) ?? null : null));
  return {
    t: all.map((p) => p.t),
    estimate: pick((m) => m.estimate), low: pick((m) => m.interval?.[0]), high: pick((m) => m.interval?.[1]),
    e: pick((m) => (m.e > 0 ? m.e : null)), threshold: pick((m) => m.threshold), advance: pick((m) => (m.advanceE > 0 ? m.advanceE : null)), advanceThreshold: pick((m) => m.advanceThreshold || null),
    value: pick((m) => m.stream?.value), limit: pick((m) => m.stream?.limit),
  };
}

// margin is where harm begins, on the scale of the estimate: a ratio for rates,
// a difference for means.
export function marginLine(m: Schemas["MetricEvidence"], better: "lower" | "higher", ratio: boolean): number | undefined {
  const way = better === "lower" ? 1 : -1;
  if (m.margin?.absolute) return ratio ? undefined : way * m.margin.absolute;
  if (m.margin?.relative === undefined) return ratio ? 1 : 0;
  if (ratio) return 1 + way * m.margin.relative;
  return m.control !== null && m.control !== undefined ? way * m.margin.relative * Math.abs(m.control) : undefined;
}

// detectable is about how large a relative rise of a rate is noticed with n
// units in the smaller arm and m in the other: the classical size at which a
// test of level alpha has a power of 80 %, with a third more for looking at all
// times.
export function detectable(rate: number, n: number, m: number, alpha: number): number {
  if (!(rate > 0) || !(n > 0) || !(m > 0)) return Infinity;
  const z = Math.sqrt(2 * Math.log(1 / alpha)) + 0.84;
  return (1.33 * z * Math.sqrt(rate * (1 - rate) * (1 / n + 1 / m))) / rate;
}
