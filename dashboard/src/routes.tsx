// The addresses of all pages. They stand behind the #, so that the page works
// wherever the server puts it.
import { createHashHistory, createRootRoute, createRoute, createRouter, lazyRouteComponent, redirect, useNavigate, useSearch } from "@tanstack/react-router";

import { Empty, Waiting } from "./parts/basics";
import { Home } from "./pages/home";
import { Shell } from "./shell";

const root = createRootRoute({
  component: Shell,
  notFoundComponent: () => <Empty title="There is no such page" action={<a href="#/">Home</a>}>The address leads nowhere. Ctrl-K finds flags and pages.</Empty>,
});

export type Search = Record<string, string | undefined>;

// What stands in the address is text, whatever it looks like.
const validateSearch = (search: Record<string, unknown>): Search =>
  Object.fromEntries(Object.entries(search).filter(([, v]) => v !== undefined && v !== "").map(([k, v]) => [k, String(v)]));

const home = createRoute({ getParentRoute: () => root, path: "/", component: Home });

function page(path: string, load: () => Promise<Record<string, unknown>>, name: string) {
  return createRoute({ getParentRoute: () => root, path, validateSearch, component: lazyRouteComponent(load as () => Promise<Record<string, never>>, name) });
}

const pages = [
  page("/flags", () => import("./pages/flags"), "Flags"),
  page("/flags/new", () => import("./pages/new-flag"), "NewFlag"),
  page("/flags/$key", () => import("./pages/flag"), "FlagPage"),
  page("/rollouts", () => import("./pages/rollouts"), "Rollouts"),
  page("/rollouts/new", () => import("./pages/new-rollout"), "NewRollout"),
  page("/rollouts/$id", () => import("./pages/rollout"), "RolloutPage"),
  page("/approvals", () => import("./pages/approvals"), "Approvals"),
  page("/approvals/$id", () => import("./pages/approvals"), "Approval"),
  page("/audit", () => import("./pages/audit"), "AuditPage"),
  page("/fleet", () => import("./pages/fleet"), "FleetPage"),
  page("/segments", () => import("./pages/segments"), "Segments"),
  page("/metrics", () => import("./pages/metrics"), "Metrics"),
  page("/people", () => import("./pages/people"), "People"),
  page("/people/$id", () => import("./pages/people"), "Person"),
  page("/teams", () => import("./pages/teams"), "Teams"),
  page("/teams/$key", () => import("./pages/teams"), "TeamPage"),
  page("/agents", () => import("./pages/agents"), "Agents"),
  page("/environments", () => import("./pages/environments"), "Environments"),
  page("/policy", () => import("./pages/policy"), "PolicyPage"),
  page("/setup", () => import("./pages/account"), "SetUpElsewhere"),
  page("/account", () => import("./pages/account"), "Account"),
  page("/tokens", () => import("./pages/tokens"), "Tokens"),
  page("/webhooks", () => import("./pages/webhooks"), "Webhooks"),
  createRoute({ getParentRoute: () => root, path: "/settings", beforeLoad: () => { throw redirect({ to: "/environments" as string }); } }), // where three of these stood
];

export const router = createRouter({
  routeTree: root.addChildren([home, ...pages]), history: createHashHistory(), defaultPreload: false, scrollRestoration: true,
  defaultPendingComponent: Waiting, parseSearch, stringifySearch,
});

// Searches are plain text both ways: 1 stays "1", and nothing is quoted.
function parseSearch(text: string) {
  return Object.fromEntries(new URLSearchParams(text));
}

function stringifySearch(search: Record<string, unknown>) {
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
  flag: (key: string, environment?: string, tab?: string) => `#/flags/${encodeURIComponent(key)}` + query({ environment, tab }),
  rollout: (id: string) => `#/rollouts/${encodeURIComponent(id)}`,
  approval: (id: string) => `#/approvals/${encodeURIComponent(id)}`,
  newRollout: (flag: string, environment: string) => "#/rollouts/new" + query({ flag, environment }),
  person: (id: string, search: Search = {}) => `#/people/${encodeURIComponent(id.replace(/^user:/, ""))}` + query(search),
  team: (key: string, search: Search = {}) => `#/teams/${encodeURIComponent(key)}` + query(search),
  audit: (narrow: Search) => "#/audit" + query(narrow),
};

const query = (of: Search) => stringifySearch(of);
