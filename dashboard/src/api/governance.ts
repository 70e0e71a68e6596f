// Plans, requests for approval and policy. A server says in its OpenAPI document
// whether it has them; one that has not makes changes at once.
import { queryOptions } from "@tanstack/react-query";

import { authorise, base } from "./auth";
import { problemOf, type Edit, type Schemas } from "./client";
import { parse } from "./json";

export type Estimate = Schemas["Estimate"];
export type Preview = Schemas["Preview"];
export interface Plan {
  action: string;
  subject: string;
  digest: string;
  edits: Edit[];
  difference: string[] | null;
  retreat?: boolean;
  staged?: boolean;
  risk: "none" | "low" | "medium" | "high";
  why: string[] | null;
  previews?: Preview[];
  needs: { number: number; from?: { role?: string; team?: string; environment?: string }[] };
  refused?: string;
  versions?: Record<string, number>;
  beyond?: Schemas["Beyond"];
}
export interface ChangeRequest {
  id: string;
  operation: string;
  flag?: string;
  plan: Plan;
  proposer: { id: string; onBehalfOf?: string };
  reason: string;
  createdAt: string;
  expiresAt: string;
  state: "open" | "applied" | "rejected" | "expired" | "review";
  approvals?: { by: string; at: string; digest: string; reason?: string }[];
  rejectedBy?: string;
  rejectedAs?: string;
  appliedBy?: string;
  appliedAt?: string;
}

export type Policy = Schemas["Policy"];

export interface Doors { plans: boolean; changes: boolean; policy: boolean }

async function ask(path: string): Promise<unknown> {
  const response = await fetch(base + path, { headers: authorise(new Headers()), cache: "no-store" });
  if (!response.ok) throw await problemOf(response);
  return parse(await response.text());
}

interface Document { paths: Record<string, Record<string, { parameters?: { name: string; in: string }[] }>> }

// A dry run on a server that knows none would be the change itself, so it is
// only asked for where the document has it.
export function doorsOf(document: Document): Doors {
  const create = document.paths["/api/v1/flags"]?.post;
  return {
    plans: create?.parameters?.some((p) => p.in === "query" && p.name === "dryRun") ?? false,
    changes: "/api/v1/changes" in document.paths,
    policy: "/api/v1/policy" in document.paths,
  };
}

const kept = `flyball.doors ${new URL(import.meta.url).pathname}`; // another build may face another server

export const doors = queryOptions({
  queryKey: ["doors"],
  staleTime: Infinity,
  queryFn: async (): Promise<Doors> => {
    const known = sessionStorage.getItem(kept);
    if (known) return JSON.parse(known);
    const found = doorsOf((await ask("/api/v1/openapi.json")) as Document);
    sessionStorage.setItem(kept, JSON.stringify(found));
    return found;
  },
});

export const changes = (open: boolean, all = false) => queryOptions({
  queryKey: ["changes", all ? "all" : "open"],
  enabled: open, refetchInterval: 20_000,
  queryFn: async () => ((await ask(all ? "/api/v1/changes?all=true&limit=200" : "/api/v1/changes")) as { changes: ChangeRequest[] | null }).changes ?? [],
});

export const changeRequest = (id: string) => queryOptions({
  queryKey: ["changes", "one", id], refetchInterval: 5000,
  queryFn: async () => (await ask(`/api/v1/changes/${encodeURIComponent(id)}`)) as ChangeRequest,
});

export const policy = (open = true) => queryOptions({
  queryKey: ["policy"], staleTime: 60_000, enabled: open,
  queryFn: async () => (await ask("/api/v1/policy")) as Policy,
});

// asPlan tells a plan from the answer of a server that made the change.
export function asPlan(body: unknown): Plan | undefined {
  const plan = body as Plan | null;
  return plan && typeof plan === "object" && "digest" in plan && "risk" in plan && "needs" in plan ? plan : undefined;
}
