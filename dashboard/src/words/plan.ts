// A plan for a rollout as somebody writes it, and what it lacks.
import type { Schemas } from "../api/client";
import { milliseconds, share } from "./numbers";

export type Step = Schemas["Step"];
export interface Guard { metric: string; kind: "relative" | "absolute"; size: number; by?: string }
export interface Waiting<T extends string> { after: string; then: T }

export interface PlanDraft {
  treatment: string; control: string; where: string; unit: string; steps: Step[]; then: "keep" | "off";
  guardrails: Guard[]; success: string; alpha: number; onBreach: "abort" | "stepBack" | "hold";
  onUnsure: Waiting<"hold" | "advance">; onSilence: Waiting<"hold" | "abort">;
  exposedUnits: number; unitMinutes: number; // ceilings; 0 is none
  traffic: { unitsPerDay?: number; requestsPerSecond?: number; baseline: Record<string, number> }; // what somebody knows better than the server
}

export const presets: Record<string, { about: string; steps: Step[] }> = {
  careful: { about: "0.1 % to 100 % over three days", steps: [{ ppm: 1000, hold: "30m" }, { ppm: 10_000, hold: "2h" }, { ppm: 50_000, hold: "6h" }, { ppm: 200_000, hold: "12h" }, { ppm: 500_000, hold: "24h" }, { ppm: 1_000_000, hold: "24h" }] },
  usual: { about: "1 % to 100 % within a day", steps: [{ ppm: 10_000, hold: "30m" }, { ppm: 50_000, hold: "1h" }, { ppm: 200_000, hold: "2h" }, { ppm: 500_000, hold: "4h" }, { ppm: 1_000_000, hold: "12h" }] },
  quick: { about: "1 % to 100 % within half an hour", steps: [{ ppm: 10_000, hold: "5m" }, { ppm: 100_000, hold: "5m" }, { ppm: 500_000, hold: "10m" }, { ppm: 1_000_000, hold: "10m" }] },
};

export const holdOf = (s: Step | undefined) => milliseconds(s?.hold) ?? 300_000;

// least is how long a plan takes at least.
export const least = (steps: Step[]) => steps.reduce((sum, s) => sum + holdOf(s), 0);

export function troubleOf(d: PlanDraft): string | undefined {
  if (d.steps.length === 0) return "A rollout has at least one step.";
  if (d.steps.some((s, i) => i > 0 && s.ppm <= d.steps[i - 1].ppm)) return "Shares must rise from step to step.";
  const bad = d.steps.find((s) => milliseconds(s.hold) === undefined || (s.lease && milliseconds(s.lease) === undefined));
  if (bad) return `${share(bad.ppm)}: write times as 90s, 10m or 24h.`;
  if (milliseconds(d.onUnsure.after) === undefined || milliseconds(d.onSilence.after) === undefined) return "Write the times of patience as 90s, 10m or 24h.";
  if (d.guardrails.some((g) => !g.metric)) return "A guardrail names no metric.";
  if (!d.unit) return "Name the unit: the attribute whose value moves as one.";
  return undefined;
}

export function bodyOf(d: PlanDraft, flag: string, environment: string) {
  const budget = { ...(d.exposedUnits > 0 && { exposedUnits: d.exposedUnits }), ...(d.unitMinutes > 0 && { unitMinutes: d.unitMinutes }) };
  return {
    flag, environment, treatment: d.treatment, control: d.control, where: d.where, unit: d.unit, then: d.then, alpha: d.alpha, onBreach: d.onBreach, onUnsure: d.onUnsure, onSilence: d.onSilence,
    steps: d.steps.map((s) => ({ ppm: s.ppm, hold: s.hold, ...(s.lease && { lease: s.lease }), ...(s.gates?.length && { gates: s.gates }) })),
    guardrails: d.guardrails.map((g) => ({ metric: g.metric, margin: g.kind === "relative" ? { relative: g.size / 100 } : { absolute: g.size }, ...(g.by && { by: g.by }) })),
    ...(d.success && { success: [{ metric: d.success }] }), ...(Object.keys(budget).length > 0 && { budget }),
  };
}
