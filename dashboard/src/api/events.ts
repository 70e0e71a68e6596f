// The stream of what changes. Each event makes the queries that it touches be
// read again; while the stream is down, their own intervals do.
import type { QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";

import { authorise, base, current, signOut } from "./auth";
import type { Flag } from "./client";
import { flag as flagQuery } from "./queries";

export interface Happening { seq: number; at: string; actor: string; action: string; subject: string; environment?: string; version?: number; rollout?: string }

type Connection = "connecting" | "live" | "away";
let connection: Connection = "connecting";
const listeners = new Set<() => void>();

function become(next: Connection) {
  if (next === connection) return;
  connection = next;
  for (const tell of listeners) tell();
}

export function useConnection(): Connection {
  return useSyncExternalStore((tell) => {
    listeners.add(tell);
    return () => listeners.delete(tell);
  }, () => connection);
}

export interface Event { id: string; name: string; data: string }

// eventsIn takes whole events off a text, and returns them with what is left.
export function eventsIn(text: string): [Event[], string] {
  const found: Event[] = [];
  for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
    const event: Event = { id: "", name: "message", data: "" };
    for (const line of text.slice(0, end).split("\n")) {
      const [, field, value] = /^(\w*): ?(.*)$/.exec(line) ?? [];
      if (field === "id") event.id = value;
      else if (field === "event") event.name = value;
      else if (field === "data") event.data += value;
    }
    text = text.slice(end + 2);
    if (event.data) found.push(event);
  }
  return [found, text];
}

// follow listens until signal ends it. It comes back ever more slowly, and with
// the last entry that it heard of, so that nothing is missed.
export async function follow(client: QueryClient, signal: AbortSignal) {
  let last = "";
  for (let wait = 500; !signal.aborted; wait = Math.min(2 * wait, 15_000)) {
    try {
      const headers = authorise(new Headers(last ? { "Last-Event-ID": last } : {}));
      const response = await fetch(`${base}/api/v1/events`, { headers, signal, cache: "no-store" });
      if (response.status === 401) return void signOut("You were signed out: the token or session is over.");
      if (!response.ok || !response.body) throw new Error(String(response.status));
      become("live");
      wait = 500;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ""; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        const [events, rest] = eventsIn(text + value);
        text = rest;
        for (const event of events) {
          if (event.name === "hello" && last) void client.invalidateQueries(); // too much was missed
          if (event.id) last = event.id;
          if (event.name === "change") heard(client, JSON.parse(event.data));
        }
      }
    } catch {
      if (signal.aborted) return;
    }
    become(current().state === "in" ? "away" : "connecting");
    await new Promise((resolve) => setTimeout(resolve, wait * (0.5 + Math.random())));
  }
}

let waiting: Happening[] = [];

// heard gathers what comes together: one change may make several entries.
function heard(client: QueryClient, h: Happening) {
  if (waiting.push(h) > 1) return;
  setTimeout(() => {
    const all = waiting;
    waiting = [];
    refresh(client, all);
  }, 120);
}

const byAction: Record<string, string[]> = {
  segment: ["segments"], metric: ["metrics"], team: ["teams"], token: ["tokens", "agents"], agents: ["agents"], webhook: ["webhooks", "deliveries"],
  environment: ["environments", "flags", "flag", "fleet"], fleet: ["fleet"], policy: ["policy"], change: ["changes"], user: ["users"],
};

export function touched(all: Happening[]): { keys: Set<string>; flags: Set<string> } {
  const keys = new Set(["audit", "changes"]), flags = new Set<string>();
  for (const h of all) {
    const noun = h.action.split(".")[0];
    for (const key of byAction[noun] ?? []) keys.add(key);
    if (noun === "flag" || noun === "rule" || noun === "rollout") flags.add(h.subject);
    if (noun === "rollout" || h.rollout) keys.add("rollouts").add("rollout").add("agents").add("worklist");
    if (noun === "apply" || noun === "files") keys.add("flags").add("flag").add("segments").add("metrics").add("teams");
    if (h.version) keys.add("environments").add("fleet");
  }
  return { keys, flags };
}

function refresh(client: QueryClient, all: Happening[]) {
  const { keys, flags } = touched(all);
  if (flags.size > 20) keys.add("flags").add("flag");
  else for (const key of flags) void refreshFlag(client, key, all.some((h) => h.subject === key && /^flag\.(create|archive)$/.test(h.action)));
  for (const key of keys) void client.invalidateQueries({ queryKey: [key] });
}

// refreshFlag reads one flag again and puts it in its place in the list, which
// may be thousands long.
async function refreshFlag(client: QueryClient, key: string, comesOrGoes: boolean) {
  const list = client.getQueryData<Flag[]>(["flags", false]);
  const shown = client.getQueryState(["flag", key]);
  if (comesOrGoes) void client.invalidateQueries({ queryKey: ["flags"] });
  if (!list && !shown) return;
  const fresh = await client.fetchQuery({ ...flagQuery(key), staleTime: 0 }).catch(() => undefined);
  // A list that is to be read again stays so: what is put into it is not all that it lacks.
  if (fresh && !client.getQueryState(["flags", false])?.isInvalidated) client.setQueryData<Flag[]>(["flags", false], (old) => old?.map((f) => (f.key === key ? fresh : f)));
}
