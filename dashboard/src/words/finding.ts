// Which flags somebody looks for, and in what order.
import type { Config, Flag } from "../api/client";

export interface Wanted { q?: string; owner?: string; kind?: string; tag?: string; state?: string; in?: string; expiry?: string; seen?: string; sort?: string }

const day = 86_400_000;

type Holds<T> = Record<string, { name: string; holds: (of: T, now: number) => boolean }>;

// states are of a flag in one environment; without one chosen, in any.
export const states: Holds<Config> = {
  on: { name: "enabled", holds: (c) => c.enabled && !c.killed },
  off: { name: "disabled", holds: (c) => !c.enabled && !c.killed },
  killed: { name: "killed", holds: (c) => Boolean(c.killed) },
  rollout: { name: "in a rollout", holds: (c) => Boolean(c.rollout) },
};

const until = (f: Flag, now: number) => (f.expiresAt ? Date.parse(f.expiresAt) - now : Infinity);
export const expiries: Holds<Flag> = {
  overdue: { name: "expired", holds: (f, now) => until(f, now) < 0 },
  soon: { name: "expires within two weeks", holds: (f, now) => until(f, now) >= 0 && until(f, now) < 14 * day },
  quarter: { name: "expires within three months", holds: (f, now) => until(f, now) >= 0 && until(f, now) < 91 * day },
  none: { name: "lives long", holds: (f) => !f.expiresAt },
};

const unseen = (last: string | undefined, now: number) => (last ? now - Date.parse(last) : Infinity);
export const seens: Holds<{ lastEvaluated?: string }> = {
  never: { name: "never evaluated", holds: (f) => !f.lastEvaluated },
  week: { name: "not for a week", holds: (f, now) => unseen(f.lastEvaluated, now) > 7 * day },
  month: { name: "not for a month", holds: (f, now) => unseen(f.lastEvaluated, now) > 30 * day },
  lately: { name: "within the hour", holds: (f, now) => unseen(f.lastEvaluated, now) < 3_600_000 },
};

export const sorts: Record<string, { name: string; by: (a: Flag, b: Flag) => number }> = {
  expiry: { name: "expires first", by: (a, b) => (a.expiresAt ?? "9").localeCompare(b.expiresAt ?? "9") },
  seen: { name: "evaluated last", by: (a, b) => (b.lastEvaluated ?? "").localeCompare(a.lastEvaluated ?? "") },
  made: { name: "newest first", by: (a, b) => b.createdAt.localeCompare(a.createdAt) },
};

// What people know a flag by, joined once for each.
const texts = new WeakMap<Flag, string>();
function textOf(f: Flag): string {
  let text = texts.get(f);
  if (text === undefined) texts.set(f, text = `${f.key} ${f.description ?? ""} ${f.owner} ${f.tags?.join(" ") ?? ""}`.toLowerCase());
  return text;
}

// find narrows and sorts flags. Every word of a search must be found.
export function find(all: Flag[], want: Wanted, now: number): Flag[] {
  const words = (want.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const state = states[want.state ?? ""], expiry = expiries[want.expiry ?? ""], seen = seens[want.seen ?? ""], sort = sorts[want.sort ?? ""];
  const found = all.filter((f) => {
    if (want.owner && f.owner !== want.owner || want.kind && f.kind !== want.kind || want.tag && !f.tags?.includes(want.tag)) return false;
    const there = want.in ? [f.environments?.[want.in]].filter((c) => c !== undefined) : Object.values(f.environments ?? {});
    if (state && !there.some((c) => state.holds(c, now))) return false;
    if (expiry && !expiry.holds(f, now)) return false;
    if (seen && !seen.holds(want.in ? there[0] ?? {} : f, now)) return false;
    return words.length === 0 || words.every((w) => textOf(f).includes(w));
  });
  return sort ? found.sort(sort.by) : found;
}
