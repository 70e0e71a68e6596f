// What a rollout waits for, and the points that its charts are drawn of.
import type { AuditEntry, Evidence, Rollout, Schemas } from "../api/client";
import { interval, milliseconds, number, plural, progress, share } from "./numbers";
import { holdOf } from "./plan";

export interface Wait { what: string; done: boolean; until?: number; part?: number; about?: number }

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
    else list.push({ what: `${g.metric} is shown to be healthy at ${share(next.ppm)}`, done: g.advanceE >= g.advanceThreshold && g.advanceThreshold > 0, part: progress(g.advanceE, g.advanceThreshold), about: milliseconds(g.enoughIn ?? undefined) });
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

// joined adds a point. How a step's evidence came about is kept once for each
// step, with its latest point, and that of the whole rollout with the latest alone.
export function joined(old: Point[], point: Point): Point[] {
  const last = old.at(-1);
  if (last?.t === point.t) return old;
  if (!last || last.evidence.step !== point.evidence.step) return [...old, point];
  const brief = (all: Evidence["guardrails"]) => all?.map(({ track: _track, course: _course, ...rest }) => rest) ?? null;
  return [...old.slice(-5000, -1), { ...last, evidence: { ...last.evidence, course: undefined, guardrails: brief(last.evidence.guardrails), ...(last.evidence.success && { success: brief(last.evidence.success) }) } }, point];
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

// sharesOver is the share that was intended, by the decisions that moved it.
export function sharesOver(r: Rollout, entries: AuditEntry[], now: number): { t: number[]; values: Series } {
  const steps = r.steps ?? [], over = (state?: string) => state !== undefined && !["pending", "running", "paused", "holding", "completed"].includes(state);
  const moves = entries.toSorted((a, b) => a.seq - b.seq).flatMap((e) => {
    const after = e.edits?.find((x) => x.noun === "rollout" && x.key === r.id)?.after as Partial<Rollout> | undefined;
    return after ? [{ t: Date.parse(e.at) / 1000, ppm: over(after.state) ? 0 : steps[after.at ?? 0]?.ppm ?? 0 }] : [];
  });
  const end = (r.endedAt ? Date.parse(r.endedAt) : now) / 1000, last = moves.at(-1);
  if (last && end > last.t) moves.push({ t: end, ppm: last.ppm });
  return { t: moves.map((m) => m.t), values: moves.map((m) => m.ppm / 10_000) };
}

export type Series = (number | null)[];

// unitsOver is who was exposed over time: what was seen, and what the judge still
// knows of the whole rollout before.
export function unitsOver(all: Point[]): { t: number[]; treatment: Series; control: Series } {
  const at = new Map((all.at(-1)?.evidence.course ?? []).map((c) => [Date.parse(c.at) / 1000, c.units]));
  for (const p of all) at.set(p.t, p.evidence.units);
  const t = [...at.keys()].sort((a, b) => a - b);
  return { t, treatment: t.map((x) => at.get(x)!.treatment), control: t.map((x) => at.get(x)!.control) };
}

// seriesOf is one guardrail's numbers over time, those that the judge still knows
// from before too.
export function seriesOf(all: Point[], metric: string, by: "guardrails" | "success") {
  type Known = Partial<Pick<Schemas["MetricEvidence"], "estimate" | "interval" | "advanceMargin" | "stream">>;
  const find = (p?: Point) => (p?.evidence[by] ?? []).find((m) => m.metric === metric);
  const at = new Map<number, Known | undefined>((find(all.at(-1))?.course ?? []).map((c) => [Date.parse(c.at) / 1000, { estimate: c.estimate, interval: c.interval }]));
  for (const p of all) at.set(p.t, find(p));
  const t = [...at.keys()].sort((a, b) => a - b);
  const of = t.map((x) => at.get(x));
  const pick = (f: (m: Known) => number | null | undefined): Series => of.map((m) => (m ? f(m) ?? null : null));
  return {
    t,
    estimate: pick((m) => m.estimate), low: pick((m) => m.interval?.[0]), high: pick((m) => m.interval?.[1]), next: pick((m) => m.advanceMargin || null),
    value: pick((m) => m.stream?.value), limit: pick((m) => m.stream?.limit),
  };
}

// evidenceOver is how a guardrail's evidence grew: what was seen, and of the
// step in force what the judge still knows of the time before.
export function evidenceOver(all: Point[], metric: string, by: "guardrails" | "success") {
  const at = new Map<number, { e: number; advance: number }>();
  let threshold = 0, advanceThreshold = 0;
  for (const p of all) {
    const m = (p.evidence[by] ?? []).find((x) => x.metric === metric);
    if (!m) continue;
    at.set(p.t, { e: m.e, advance: m.advanceE });
    for (const x of m.track ?? []) at.set(Date.parse(x.at) / 1000, { e: x.e, advance: x.advanceE });
    threshold = m.threshold;
    advanceThreshold = m.advanceThreshold || advanceThreshold;
  }
  const t = [...at.keys()].sort((a, b) => a - b);
  const drawn = (v: number) => (v > 0 ? v : null); // an axis of logarithms has no zero
  return { t, e: t.map((x) => drawn(at.get(x)!.e)), advance: t.map((x) => drawn(at.get(x)!.advance)), threshold: t.map(() => drawn(threshold)), advanceThreshold: t.map(() => drawn(advanceThreshold)) };
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

// effectWords tells the treatment against control: of rates a ratio, of means a
// difference.
export function effectWords(m: Schemas["MetricEvidence"], ratio: boolean): string {
  if (m.estimate === null || m.estimate === undefined) return "not known yet";
  return `${ratio ? "×" : m.estimate > 0 ? "+" : ""}${interval(m.estimate, m.interval)}`;
}

// isRatio says on which scale a metric is compared.
export const isRatio = (all: Schemas["MetricView"][] | undefined, key: string) => (all ?? []).find((m) => m.key === key)?.type === "rate";

export function marginWords(m: { relative?: number; absolute?: number } | undefined): string {
  if (m?.absolute) return `at most ${number(m.absolute)} worse`;
  return m?.relative ? `at most ${number(100 * m.relative)} % worse` : "no worse at all";
}
