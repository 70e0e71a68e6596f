// What the pages read, each once, and how soon it is read again. The stream of
// events tells of changes; the intervals are for what no change tells of.
import { queryOptions } from "@tanstack/react-query";

import { get, read } from "./client";

const minute = 60_000;

export const flags = (archived = false) => queryOptions({
  queryKey: ["flags", archived],
  staleTime: minute, refetchInterval: 2 * minute,
  queryFn: async () => (await read(get("/api/v1/flags", { params: { query: archived ? { archived } : {} } }))).flags ?? [],
});

export const flag = (key: string) => queryOptions({
  queryKey: ["flag", key],
  refetchInterval: 15_000,
  queryFn: () => read(get("/api/v1/flags/{key}", { params: { path: { key } } })),
});

// flagAt is a flag as it was at a moment, which never changes any more.
export const flagAt = (key: string, at: string | undefined) => queryOptions({
  queryKey: ["flag-at", key, at], enabled: at !== undefined, staleTime: Infinity, retry: false,
  queryFn: () => read(get("/api/v1/flags/{key}", { params: { path: { key }, query: { at } } })),
});

export const rollouts = (narrow: { live?: boolean; flag?: string; environment?: string } = {}) => queryOptions({
  queryKey: ["rollouts", narrow],
  refetchInterval: 20_000,
  queryFn: async () => (await read(get("/api/v1/rollouts", { params: { query: narrow } }))).rollouts ?? [],
});

const live = new Set(["pending", "running", "paused", "holding"]);
export const isLive = (state: string) => live.has(state);

export const rollout = (id: string) => queryOptions({
  queryKey: ["rollout", id],
  refetchInterval: (q: { state: { data?: { state: string } } }) => (q.state.data && !isLive(q.state.data.state) ? false : 1000),
  queryFn: () => read(get("/api/v1/rollouts/{id}", { params: { path: { id } } })),
});

export interface AuditFilter { environment?: string; subject?: string; actor?: string; action?: string; from?: string; to?: string }

export const audit = (narrow: AuditFilter, limit = 50) => queryOptions({
  queryKey: ["audit", narrow, limit],
  queryFn: async () => (await read(get("/api/v1/audit", { params: { query: { ...narrow, limit } } }))).entries ?? [],
});

export const auditBefore = async (narrow: AuditFilter, before: number, limit = 50) =>
  (await read(get("/api/v1/audit", { params: { query: { ...narrow, limit, ...(before > 0 && { before }) } } }))).entries ?? [];

// fleet is read sooner while some run what is old.
export const fleet = (every = 5000) => queryOptions({
  queryKey: ["fleet"],
  refetchInterval: (q: { state: { data?: { instances: number; converged: number }[] } }) => (q.state.data?.some((e) => e.converged < e.instances) ? Math.min(every, 1000) : every),
  queryFn: async () => (await read(get("/api/v1/fleet"))).environments ?? [],
});

export const environments = queryOptions({
  queryKey: ["environments"], staleTime: minute,
  queryFn: async () => {
    const all = (await read(get("/api/v1/environments"))).environments ?? [];
    const weight = (e: { key: string; protected: boolean }) => 2 * Number(e.protected) + Number(/^prod/.test(e.key));
    return all.toSorted((a, b) => weight(b) - weight(a) || a.key.localeCompare(b.key)); // where it matters most first
  },
});

export const teams = queryOptions({
  queryKey: ["teams"], staleTime: minute,
  queryFn: async () => (await read(get("/api/v1/teams"))).teams ?? [],
});

export const segments = queryOptions({
  queryKey: ["segments"], staleTime: minute,
  queryFn: async () => (await read(get("/api/v1/segments"))).segments ?? [],
});

export const metrics = queryOptions({
  queryKey: ["metrics"], staleTime: minute,
  queryFn: async () => (await read(get("/api/v1/metrics"))).metrics ?? [],
});

export const tokens = queryOptions({
  queryKey: ["tokens"],
  queryFn: async () => (await read(get("/api/v1/tokens"))).tokens ?? [],
});

export const webhooks = queryOptions({
  queryKey: ["webhooks"], refetchInterval: 10_000,
  queryFn: async () => (await read(get("/api/v1/webhooks"))).webhooks ?? [],
});

export const deliveries = (webhook: string) => queryOptions({
  queryKey: ["deliveries", webhook], refetchInterval: 5000,
  queryFn: async () => (await read(get("/api/v1/deliveries", { params: { query: { webhook } } }))).deliveries ?? [],
});

export const unknownFlags = queryOptions({
  queryKey: ["unknown-flags"], staleTime: minute,
  queryFn: async () => (await read(get("/api/v1/unknown-flags"))).unknown ?? [],
});

export const users = (may: boolean) => queryOptions({
  queryKey: ["users"], staleTime: minute, enabled: may,
  queryFn: async () => (await read(get("/api/v1/users"))).users ?? [],
});

export const agents = queryOptions({
  queryKey: ["agents"], refetchInterval: 10_000,
  queryFn: () => read(get("/api/v1/agents")),
});

export const worklist = queryOptions({
  queryKey: ["worklist"], staleTime: minute,
  queryFn: async () => (await read(get("/api/v1/worklist"))).work ?? [],
});
