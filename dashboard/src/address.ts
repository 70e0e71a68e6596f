// What stands in an address, and the addresses of other pages.
import { useNavigate, useSearch } from "@tanstack/react-router";

export type Search = Record<string, string | undefined>;

// Searches are plain text both ways: 1 stays "1", and nothing is quoted.
export function parseSearch(text: string) {
  return Object.fromEntries(new URLSearchParams(text));
}

export function stringifySearch(search: Record<string, unknown>) {
  const text = new URLSearchParams(Object.entries(search).filter(([, v]) => v !== undefined && v !== "").map(([k, v]) => [k, String(v)])).toString();
  return text && `?${text}`;
}

// useAddress is what stands in the address behind the ?, and how to change it.
export function useAddress(): [Search, (next: Search, keep?: "push" | "replace") => void] {
  const search = useSearch({ strict: false }) as Search;
  const navigate = useNavigate();
  return [search, (next, how = "replace") => void navigate({ to: ".", search: ((old: Search) => ({ ...old, ...next })) as never, replace: how === "replace" })];
}

export const to = {
  flag: (key: string, environment?: string, tab?: string) => `#/flags/${encodeURIComponent(key)}` + stringifySearch({ environment, tab }),
  rollout: (id: string) => `#/rollouts/${encodeURIComponent(id)}`,
  approval: (id: string) => `#/approvals/${encodeURIComponent(id)}`,
  newRollout: (flag: string, environment: string) => "#/rollouts/new" + stringifySearch({ flag, environment }),
  person: (id: string, search: Search = {}) => `#/people/${encodeURIComponent(id.replace(/^user:/, ""))}` + stringifySearch(search),
  team: (key: string, search: Search = {}) => `#/teams/${encodeURIComponent(key)}` + stringifySearch(search),
  audit: (narrow: Search) => "#/audit" + stringifySearch(narrow),
};
