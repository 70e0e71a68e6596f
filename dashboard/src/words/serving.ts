// Conditions, rules and configurations in words.
import type { Condition, Config, Flag, Rule, Serve } from "../api/client";
import { stringify } from "../api/json";
import { share } from "./numbers";

export type Tone = "good" | "warn" | "bad" | "soft";

// value is a variant's value, short enough for a line.
export function value(v: unknown, most = 60): string {
  const text = typeof v === "string" ? v : stringify(v);
  return text === undefined ? "nothing" : text.length > most ? text.slice(0, most - 1) + "…" : text;
}

export function serveWords(s: Serve | undefined): string {
  if (!s) return "nothing";
  if (!s.split) return s.variant ?? "nothing";
  return (s.split.weights ?? []).map((w) => `${share(w.ppm)} ${w.variant}`).join(", ") + (s.split.by && s.split.by !== "targetingKey" ? ` by ${s.split.by}` : "");
}

// operators in the order in which people look for them: what each is called,
// what it reads, and what its values are.
export const operators = [
  { op: "in", label: "is", kind: "any" },
  { op: "startsWith", label: "starts with", kind: "text" },
  { op: "endsWith", label: "ends with", kind: "text" },
  { op: "contains", label: "contains", kind: "text" },
  { op: "matches", label: "matches pattern", kind: "pattern" },
  { op: "lt", label: "<", kind: "number" },
  { op: "lte", label: "≤", kind: "number" },
  { op: "gt", label: ">", kind: "number" },
  { op: "gte", label: "≥", kind: "number" },
  { op: "before", label: "is before", kind: "time" },
  { op: "after", label: "is after", kind: "time" },
  { op: "semverEq", label: "version =", kind: "version", said: "is version" },
  { op: "semverLt", label: "version <", kind: "version", said: "is older than version" },
  { op: "semverLte", label: "version ≤", kind: "version", said: "is at most version" },
  { op: "semverGt", label: "version >", kind: "version", said: "is newer than version" },
  { op: "semverGte", label: "version ≥", kind: "version", said: "is at least version" },
  { op: "cidr", label: "is in network", kind: "network" },
  { op: "exists", label: "exists", kind: "exists" },
] as const;

export type Op = (typeof operators)[number]["op"];
export type OpKind = (typeof operators)[number]["kind"];

export const operator = (op: string | undefined) => operators.find((o) => o.op === op) ?? operators[0];

export function conditionWords(c: Condition | undefined, within = false): string {
  if (!c) return "everybody";
  const parts = c.all ?? c.any;
  if (parts) {
    const text = parts.map((p) => conditionWords(p, parts.length > 1)).join(c.all ? " and " : " or ");
    return within && parts.length > 1 ? `(${text})` : text;
  }
  if (c.not) return `not (${conditionWords(c.not)})`;
  if (c.segment) return `in segment ${c.segment}`;
  const values = c.values ?? [];
  if (c.op === "exists") return values[0] === false ? `${c.attribute} is missing` : `${c.attribute} is present`;
  const op = operator(c.op);
  const shown = values.slice(0, 5).map((v) => (typeof v === "string" ? `“${value(v, 40)}”` : value(v))).join(" or ");
  return `${c.attribute} ${"said" in op ? op.said : op.label} ${shown || "…"}${values.length > 5 ? ` or ${values.length - 5} more` : ""}`;
}

export const ruleWords = (r: Rule) => `if ${conditionWords(r.if)}: ${serveWords(r.serve)}`;

// liveNow says whether a rule exists at a moment: outside its dates it does not.
export function lease(r: { notBefore?: string; notAfter?: string }, now: number): "open" | "coming" | "over" | "none" {
  if (!r.notBefore && !r.notAfter) return "none";
  if (r.notBefore && Date.parse(r.notBefore) > now) return "coming";
  return r.notAfter && Date.parse(r.notAfter) <= now ? "over" : "open";
}

export interface Serving { text: string; note: string; tone: Tone; state: "killed" | "off" | "rollout" | "on" }

// serving tells in a few words what an environment serves for a flag, and how
// grave that is.
export function serving(config: Config, flag: Pick<Flag, "safeVariant">): Serving {
  if (config.killed) return { state: "killed", text: `killed: ${flag.safeVariant}`, note: config.killed.reason, tone: "bad" };
  if (!config.enabled) return { state: "off", text: "disabled", note: `serves ${config.offVariant}`, tone: "soft" };
  const rules = config.rules?.length ?? 0;
  const note = rules === 0 ? "" : rules === 1 ? "but for 1 rule" : `but for ${rules} rules`;
  if (config.rollout) {
    const r = config.rollout;
    return { state: "rollout", text: `${r.treatment} to ${share(r.ppm)}`, note: r.where === "default" ? note : `in rule ${r.where}`, tone: "warn" };
  }
  const nobody = rules === 0 && config.default.variant === flag.safeVariant; // gets anything but the safe variant
  return { state: "on", text: serveWords(config.default), note, tone: nobody ? "soft" : "good" };
}
