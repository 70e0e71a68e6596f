// What a change changes, in words: of a configuration as people think of it,
// and of any other noun by its fields.
import type { Config, Edit, Rule } from "../api/client";
import { stringify } from "../api/json";
import { localTime } from "./numbers";
import { conditionWords, ruleWords, serveWords, value } from "./serving";

export type Draft = Pick<Config, "enabled" | "offVariant" | "prerequisites" | "rules" | "default">;

// kept takes what people write out of what an environment serves.
export function kept(c: Config | Draft): Draft {
  return { enabled: c.enabled, offVariant: c.offVariant, prerequisites: c.prerequisites ?? [], rules: c.rules ?? [], default: c.default };
}

export const same = (a: unknown, b: unknown) => stringify(a) === stringify(b);

type Loose = Partial<Config>;

export function configDifference(before: Loose | undefined, after: Loose | undefined): string[] {
  if (!before) return [`serves ${serveWords(after?.default)}${after?.enabled ? "" : ", disabled"}`];
  if (!after) return ["is taken away"];
  const lines: string[] = [];
  if (!before.killed && after.killed) lines.push("killed: everybody gets the safe variant");
  if (before.killed && !after.killed) lines.push("the kill is lifted");
  if (before.enabled !== after.enabled) lines.push(after.enabled ? "enabled: rules and default apply" : `disabled: everybody gets ${after.offVariant}`);
  if (before.offVariant !== after.offVariant) lines.push(`off variant: ${before.offVariant} → ${after.offVariant}`);
  if (!same(before.default, after.default)) lines.push(`default: ${serveWords(before.default)} → ${serveWords(after.default)}`);
  const needs = (c: Loose) => (c.prerequisites ?? []).map((p) => `${p.flag} = ${p.variant}`).join(", ") || "none";
  if (needs(before) !== needs(after)) lines.push(`prerequisites: ${needs(before)} → ${needs(after)}`);
  lines.push(...rulesDifference(before.rules ?? [], after.rules ?? []));
  const [was, is] = [before.rollout, after.rollout];
  if (!was && is) lines.push(`rollout begins: ${is.treatment} to ${is.ppm / 10_000} %`);
  if (was && !is) lines.push(`rollout ends at ${was.ppm / 10_000} %`);
  if (was && is && was.ppm !== is.ppm) lines.push(`rollout: ${was.treatment} ${was.ppm / 10_000} % → ${is.ppm / 10_000} %`);
  if (was && is && was.ppm === is.ppm && was.notAfter !== is.notAfter) lines.push("the rollout's lease is renewed");
  return lines;
}

function rulesDifference(before: Rule[], after: Rule[]): string[] {
  const lines: string[] = [];
  const was = new Map(before.map((r) => [r.id, r])), is = new Map(after.map((r) => [r.id, r]));
  for (const r of before) if (!is.has(r.id)) lines.push(`rule ${r.id} removed: ${ruleWords(r)}`);
  for (const r of after) {
    const old = was.get(r.id);
    if (!old) lines.push(`rule ${r.id} added: ${ruleWords(r)}`);
    else lines.push(...ruleDifference(old, r));
  }
  const order = (from: Rule[], among: Map<string, Rule>) => from.map((r) => r.id).filter((id) => among.has(id));
  const [old, now] = [order(before, is), order(after, was)];
  if (!same(old, now)) lines.push(`order of rules: ${old.join(", ")} → ${now.join(", ")}`);
  return lines;
}

const moment = (at: string | undefined, none: string) => (at ? localTime(at) : none);

function ruleDifference(old: Rule, now: Rule): string[] {
  const lines: string[] = [];
  if (!same(old.if, now.if)) lines.push(`rule ${now.id}, who: ${conditionWords(old.if)} → ${conditionWords(now.if)}`);
  if (!same(old.serve, now.serve)) lines.push(`rule ${now.id}, serves: ${serveWords(old.serve)} → ${serveWords(now.serve)}`);
  if (old.notBefore !== now.notBefore) lines.push(`rule ${now.id}, from: ${moment(old.notBefore, "always")} → ${moment(now.notBefore, "always")}`);
  if (old.notAfter !== now.notAfter) lines.push(`rule ${now.id}, until: ${moment(old.notAfter, "for good")} → ${moment(now.notAfter, "for good")}`);
  if ((old.description ?? "") !== (now.description ?? "")) lines.push(`rule ${now.id}, description: ${now.description || "none"}`);
  return lines;
}

const unsaid = new Set(["version", "revision"]);

export function fieldDifference(before: unknown, after: unknown): string[] {
  const [was, is] = [(before ?? {}) as Record<string, unknown>, (after ?? {}) as Record<string, unknown>];
  const lines: string[] = [];
  for (const key of new Set([...Object.keys(was), ...Object.keys(is)])) {
    if (unsaid.has(key) || same(was[key], is[key])) continue;
    if (was[key] === undefined) lines.push(`${key}: ${value(is[key], 120)}`);
    else lines.push(`${key}: ${value(was[key], 120)} → ${is[key] === undefined ? "none" : value(is[key], 120)}`);
  }
  return lines;
}

// editDifference tells one edit of an audit entry.
export function editDifference(e: Edit): string[] {
  const about = e.environment ? `${e.environment}: ` : "";
  if (e.noun === "config") return configDifference(e.before as Loose, e.after as Loose).map((line) => about + line);
  if (e.before === undefined && e.after !== undefined) return [`${e.noun} ${e.key} is made`];
  if (e.before !== undefined && e.after === undefined) return [`${e.noun} ${e.key} is taken away`];
  const lines = e.noun === "rollout" ? rolloutDifference(e.before, e.after) : fieldDifference(e.before, e.after);
  return lines.map((line) => `${e.noun} ${e.key}: ${line}`);
}

const ofRollout = new Set(["state", "at", "why", "leaseUntil", "passed"]);

function rolloutDifference(before: unknown, after: unknown): string[] {
  return fieldDifference(before, after).filter((line) => ofRollout.has(line.split(":")[0]));
}

export const differences = (edits: Edit[] | null | undefined): string[] => (edits ?? []).flatMap(editDifference);
