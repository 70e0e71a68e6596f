// Contexts: what a flag's rules ask of them, and values at dotted paths.
import type { Condition, Flag, Schemas } from "../api/client";

type Context = Record<string, unknown>;

// asked lists the attributes that decide what a flag serves, in any of its
// environments, the targeting key first.
export function asked(of: Flag, known: Schemas["Segment"][]): string[] {
  const names = new Set(["targetingKey"]), seen = new Set<string>();
  function look(c: Condition | undefined) {
    if (!c) return;
    for (const part of c.all ?? c.any ?? []) look(part);
    look(c.not);
    if (c.attribute) names.add(c.attribute);
    if (!c.segment || seen.has(c.segment)) return;
    seen.add(c.segment);
    look(known.find((s) => s.key === c.segment)?.if);
  }
  for (const config of Object.values(of.environments ?? {})) {
    for (const rule of config.rules ?? []) {
      look(rule.if);
      names.add(rule.serve.split?.by || "targetingKey");
    }
    names.add(config.default.split?.by || "targetingKey").add(config.rollout?.unit || "targetingKey");
  }
  return [...names];
}

// at is the value of a dotted path; one that is written with its dots wins.
export function at(of: Context, path: string): unknown {
  if (path in of) return of[path];
  return path.split(".").reduce<unknown>((o, name) => (o && typeof o === "object" ? (o as Context)[name] : undefined), of);
}

// put sets the value of a dotted path, or takes it away, and leaves the rest.
export function put(of: Context, path: string, value: unknown): Context {
  const [first, ...rest] = path in of ? [path] : path.split(".");
  const inner = of[first];
  const next = rest.length === 0 ? value : put(inner && typeof inner === "object" && !Array.isArray(inner) ? (inner as Context) : {}, rest.join("."), value);
  const gone = next === undefined || (rest.length > 0 && Object.keys(next as Context).length === 0);
  const { [first]: _old, ...others } = of;
  return gone ? others : { ...of, [first]: next };
}
