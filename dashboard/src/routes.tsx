// All pages, by their addresses. They stand behind the #, so that the page works
// wherever the server puts it.
import { createHashHistory, createRootRoute, createRoute, createRouter, lazyRouteComponent, redirect } from "@tanstack/react-router";

import { parseSearch, type Search, stringifySearch } from "./address";
import { Empty, Waiting } from "./parts/basics";
import { Home } from "./pages/home";
import { StillIn } from "./pages/sign-in";
import { Shell } from "./shell";

const root = createRootRoute({
  component: Shell,
  notFoundComponent: () => <Empty title="There is no such page" action={<a href="#/">Home</a>}>The address leads nowhere. Ctrl-K finds flags and pages.</Empty>,
});

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
  createRoute({ getParentRoute: () => root, path: "/sign-in", component: StillIn }),
  page("/account", () => import("./pages/account"), "Account"),
  page("/tokens", () => import("./pages/tokens"), "Tokens"),
  page("/webhooks", () => import("./pages/webhooks"), "Webhooks"),
  createRoute({ getParentRoute: () => root, path: "/settings", beforeLoad: () => { throw redirect({ to: "/environments" as string }); } }), // where three of these stood
];

export const router = createRouter({
  routeTree: root.addChildren([home, ...pages]), history: createHashHistory(), defaultPreload: false, scrollRestoration: true,
  defaultPendingComponent: Waiting, parseSearch, stringifySearch,
});
