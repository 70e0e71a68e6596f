import { describe, expect, test } from "vitest";

import type { Evidence, Flag, Rollout } from "../api/client";
import { asked, at, put } from "./context";
import { find } from "./finding";
import { bodyOf, least, type PlanDraft, presets, troubleOf } from "./plan";
import { evidenceOver, joined, seriesOf, sharesOver, unitsOver } from "./rollout";

const now = Date.parse("2026-03-01T00:00:00Z");
const config = (more = {}) => ({ flag: "f", enabled: true, offVariant: "off", default: { variant: "on" }, version: 1, ...more });
const flag = (key: string, more: Partial<Flag> = {}): Flag => ({
  key, kind: "ops", owner: "shop", type: "boolean", variants: { on: true, off: false }, safeVariant: "off", state: "active", version: 1, createdAt: "2026-01-01T00:00:00Z", createdBy: "user:a",
  environments: { production: config(), staging: config({ enabled: false }) }, ...more,
});
const keys = (all: Flag[]) => all.map((f) => f.key);

describe("finding flags", () => {
  const all = [
    flag("a.one", { description: "Pays twice", tags: ["pay"], expiresAt: "2026-03-05T00:00:00Z", lastEvaluated: "2026-02-28T23:59:00Z" }),
    flag("b.two", { kind: "release", expiresAt: "2026-02-01T00:00:00Z", environments: { production: config({ killed: { at: "", by: "user:a", reason: "fire" } }), staging: config() } }),
    flag("c.three", { owner: "search", lastEvaluated: "2026-01-01T00:00:00Z", environments: { production: config({ enabled: false }), staging: config() } }),
  ];
  test("every word of a search must be found, wherever", () => {
    expect(keys(find(all, { q: "PAYS one" }, now))).toEqual(["a.one"]);
    expect(keys(find(all, { q: "pays two" }, now))).toEqual([]);
  });
  test("a state is that of the environment that was chosen, or of any", () => {
    expect(keys(find(all, { state: "on" }, now))).toEqual(["a.one", "b.two", "c.three"]);
    expect(keys(find(all, { state: "on", in: "production" }, now))).toEqual(["a.one"]);
    expect(keys(find(all, { state: "killed", in: "staging" }, now))).toEqual([]);
  });
  test("expiry and the last evaluation narrow on their own", () => {
    expect(keys(find(all, { expiry: "soon" }, now))).toEqual(["a.one"]);
    expect(keys(find(all, { expiry: "overdue", kind: "release" }, now))).toEqual(["b.two"]);
    expect(keys(find(all, { seen: "never" }, now))).toEqual(["b.two"]);
    expect(keys(find(all, { seen: "month" }, now))).toEqual(["b.two", "c.three"]);
  });
  test("sorting leaves the list that it was given alone", () => {
    expect(keys(find(all, { sort: "expiry" }, now))).toEqual(["b.two", "a.one", "c.three"]);
    expect(keys(all)).toEqual(["a.one", "b.two", "c.three"]);
  });
});

describe("contexts", () => {
  test("what rules ask for is found through groups, segments, splits and rollouts", () => {
    const rules = [{ id: "r", if: { all: [{ not: { attribute: "country", op: "in", values: ["CA"] } }, { segment: "staff" }] }, serve: { split: { by: "account.id", weights: [] } } }];
    const of = flag("f", { environments: { production: config({ rules }) } });
    expect(asked(of, [{ key: "staff", owner: "o", version: 1, if: { any: [{ attribute: "email", op: "endsWith", values: ["x"] }, { segment: "staff" }] } }] as never)).toEqual(["targetingKey", "country", "email", "account.id"]);
  });
  test("a dotted path is written and taken away without a trace", () => {
    const context = put({ targetingKey: "u" }, "app.version", "1.0");
    expect(context).toEqual({ targetingKey: "u", app: { version: "1.0" } });
    expect(at(context, "app.version")).toBe("1.0");
    expect(put(context, "app.version", undefined)).toEqual({ targetingKey: "u" });
    expect(put({ "app.version": "2" }, "app.version", "3")).toEqual({ "app.version": "3" });
  });
});

describe("plans", () => {
  const draft: PlanDraft = {
    treatment: "on", control: "off", where: "default", unit: "targetingKey", steps: presets.quick.steps, then: "keep", guardrails: [{ metric: "errors", kind: "relative", size: 5, by: "route" }], success: "", alpha: 0.01,
    onBreach: "abort", onUnsure: { after: "4h", then: "hold" }, onSilence: { after: "10m", then: "hold" }, exposedUnits: 500, unitMinutes: 0, traffic: { baseline: {} },
  };
  test("a plan lasts at least as long as its holds", () => expect(least(presets.quick.steps)).toBe(30 * 60_000));
  test("what a plan lacks is told", () => {
    expect(troubleOf(draft)).toBeUndefined();
    expect(troubleOf({ ...draft, steps: [{ ppm: 5000, hold: "1m" }, { ppm: 5000, hold: "1m" }] })).toMatch("must rise");
    expect(troubleOf({ ...draft, onSilence: { after: "soon", then: "hold" } })).toMatch("patience");
  });
  test("a percentage becomes a part, and no ceiling is no budget", () => {
    const body = bodyOf(draft, "f", "production");
    expect(body.guardrails).toEqual([{ metric: "errors", margin: { relative: 0.05 }, by: "route" }]);
    expect(body.budget).toEqual({ exposedUnits: 500 });
    expect(bodyOf({ ...draft, exposedUnits: 0 }, "f", "production")).not.toHaveProperty("budget");
  });
});

describe("rollouts", () => {
  const steps = [{ ppm: 10_000 }, { ppm: 500_000 }];
  const rollout = { id: "r", steps, state: "aborted", endedAt: "2026-03-01T00:00:10Z" } as unknown as Rollout;
  const entry = (seq: number, at: string, after: object) => ({ seq, at, edits: [{ noun: "rollout", key: "r", after }] }) as never;
  test("the share is what was decided, and nothing once it is taken back", () => {
    const entries = [entry(3, "2026-03-01T00:00:10Z", { at: 1, state: "aborted" }), entry(2, "2026-03-01T00:00:05Z", { at: 1, state: "running" }), entry(1, "2026-03-01T00:00:00Z", { at: 0, state: "running" })];
    expect(sharesOver(rollout, entries, now)).toEqual({ t: [0, 5, 10].map((s) => now / 1000 + s), values: [1, 50, 0] });
  });
  test("exposure and effects are drawn from the start of the rollout, whenever the page was opened", () => {
    const course = (estimate: number) => [{ at: "2026-03-01T00:00:01Z", estimate, interval: null }, { at: "2026-03-01T00:00:03Z", estimate, interval: [0.5, 2] }];
    const point = (t: number, n: number, estimate: number) => ({ t: now / 1000 + t, ppm: 0, evidence: {
      step: 1, units: { treatment: n, control: 2 * n }, course: [{ at: "2026-03-01T00:00:01Z", units: { treatment: 1, control: 2 } }],
      guardrails: [{ metric: "m", estimate, interval: [0.8, 1.4], advanceMargin: 1.1, course: course(estimate + 1) }],
    } as unknown as Evidence });
    const all = joined(joined([], point(8, 4, 1.2)), point(9, 5, 1.1));
    expect(unitsOver(all)).toEqual({ t: [1, 8, 9].map((s) => now / 1000 + s), treatment: [1, 4, 5], control: [2, 8, 10] });
    expect(seriesOf(all, "m", "guardrails")).toMatchObject({
      t: [1, 3, 8, 9].map((s) => now / 1000 + s), estimate: [2.1, 2.1, 1.2, 1.1], low: [null, 0.5, 0.8, 0.8], high: [null, 2, 1.4, 1.4], next: [null, null, 1.1, 1.1],
    });
    expect(all[0].evidence.guardrails![0].course).toBeUndefined(); // kept once
    expect(unitsOver([]).t).toEqual([]);
  });
  test("evidence is drawn from before the page was opened, and never at zero", () => {
    const guardrail = { metric: "m", e: 4, advanceE: 0, threshold: 100, advanceThreshold: 20, track: [{ at: "2026-03-01T00:00:01Z", e: 2, advanceE: 1 }] };
    const all = [{ t: now / 1000 + 9, ppm: 0, evidence: { guardrails: [guardrail] } as unknown as Evidence }];
    expect(evidenceOver(all, "m", "guardrails")).toMatchObject({ t: [now / 1000 + 1, now / 1000 + 9], e: [2, 4], advance: [1, null], threshold: [100, 100] });
  });
});
