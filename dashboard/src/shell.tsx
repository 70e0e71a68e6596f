// The frame around every page: where to go, what is connected, and the keys.
import { ActionIcon, AppShell, Burger, Button, Kbd, Modal, Table, Tooltip, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { useDisclosure, useHotkeys } from "@mantine/hooks";
import { Spotlight, type SpotlightActionData, spotlight } from "@mantine/spotlight";
import { useQuery } from "@tanstack/react-query";
import { Outlet, useLocation, useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";

import { signOut, useSession } from "./api/auth";
import { useConnection } from "./api/events";
import { changes } from "./api/governance";
import { flags, metrics, rollouts, segments, teams } from "./api/queries";
import { Icon, type IconName } from "./parts/icons";
import { nameOf } from "./words/access";
import { turnOf } from "./words/request";

interface Place { to: string; name: string; icon: IconName; key: string; group?: string }
const places: Place[] = [
  { to: "/", name: "Home", icon: "home", key: "h" },
  { to: "/flags", name: "Flags", icon: "flag", key: "f" },
  { to: "/rollouts", name: "Rollouts", icon: "rollout", key: "r" },
  { to: "/approvals", name: "Approvals", icon: "check", key: "p" },
  { to: "/audit", name: "Audit log", icon: "audit", key: "a" },
  { to: "/fleet", name: "Fleet", icon: "fleet", key: "l" },
  { to: "/segments", name: "Segments", icon: "segment", key: "s", group: "Define" },
  { to: "/metrics", name: "Metrics", icon: "metric", key: "m" },
  { to: "/people", name: "People", icon: "person", key: "u", group: "Who may what" },
  { to: "/teams", name: "Teams", icon: "team", key: "o" },
  { to: "/agents", name: "Agents", icon: "agent", key: "i" },
  { to: "/tokens", name: "Tokens", icon: "token", key: "t" },
  { to: "/policy", name: "Policy", icon: "policy", key: "y", group: "Set up" },
  { to: "/environments", name: "Environments", icon: "environment", key: "e" },
  { to: "/webhooks", name: "Webhooks", icon: "webhook", key: "w" },
];

export function Shell() {
  const [open, menu] = useDisclosure(false);
  const [help, keys] = useDisclosure(false);
  const location = useLocation();
  useEffect(() => menu.close(), [location.href]); // eslint-disable-line
  useKeys(keys.open);
  return (
    <AppShell header={{ height: 48 }} navbar={{ width: 236, breakpoint: 761, collapsed: { mobile: !open } }} padding={0}>
      <AppShell.Header>
        <a className="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to the page</a>
        <div className="line" style={{ height: "100%", padding: "0 14px", flexWrap: "nowrap" }}>
          <Burger opened={open} onClick={menu.toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />
          <a href="#/" className="line" style={{ color: "inherit", fontWeight: 700, fontSize: 16, gap: 8 }}><img src="./icon.svg" width={22} height={22} alt="" />Flyball</a>
          <Button variant="default" size="compact-sm" color="gray" ml={16} leftSection={<Icon name="search" size={14} />} onClick={spotlight.open} aria-label="Search flags and pages">
            <span className="hide-phone">Search&nbsp;<Kbd size="xs">Ctrl K</Kbd></span>
          </Button>
          <div className="push line" style={{ flexWrap: "nowrap" }}><Connected /><Colours /><You /><SignOut /></div>
        </div>
      </AppShell.Header>
      <AppShell.Navbar p={8}><Navigation /></AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1} style={{ outline: "none" }}><Outlet /></AppShell.Main>
      <Arrived at={location.pathname} />
      <Palette />
      <Modal opened={help} onClose={keys.close} size="lg" title="Keys" closeButtonProps={{ "aria-label": "Close" }}><Keys /></Modal>
    </AppShell>
  );
}

// Arrived tells who listens to the page that another is there.
function Arrived({ at }: { at: string }) {
  const [title, setTitle] = useState("");
  useEffect(() => {
    const told = new MutationObserver(() => setTitle(document.title.replace(" · Flyball", "")));
    told.observe(document.head, { childList: true, subtree: true, characterData: true });
    return () => told.disconnect();
  }, [at]);
  return <div className="only-reader" aria-live="polite">{title}</div>;
}

function Navigation() {
  const { pathname } = useLocation();
  const live = useQuery(rollouts({ live: true })).data?.length ?? 0;
  const session = useSession();
  const waiting = useQuery(changes(true)).data?.filter((c) => ["yours", "review"].includes(turnOf(c, session))).length ?? 0;
  const badges: Record<string, [number, string]> = { "/rollouts": [live, "live"], "/approvals": [waiting, "wait for you"] };
  return (
    <nav className="side" aria-label="Pages">
      {places.map((p) => {
        const here = p.to === "/" ? pathname === "/" : pathname.startsWith(p.to);
        return (
          <div key={p.to}>
            {p.group && <div className="group">{p.group}</div>}
            <a href={`#${p.to}`} aria-current={here ? "page" : undefined}><Icon name={p.icon} />{p.name}{badges[p.to]?.[0] > 0 && <span className="tag accent badge" title={badges[p.to].join(" ")}>{badges[p.to][0]}</span>}</a>
          </div>
        );
      })}
    </nav>
  );
}

const said = { live: ["good", "Live: changes appear as they happen"], connecting: ["warn", "Connecting to the server"], away: ["bad", "The server is not heard of. What you see may be old; it is tried again."] } as const;

function Connected() {
  const state = useConnection();
  const [tone, text] = said[state];
  return <Tooltip label={text}><span className="line small soft" role="status" tabIndex={0} aria-label={text}><span className={`dot ${tone}`} /><span className="hide-phone">{state === "live" ? "live" : state === "away" ? "not connected" : "connecting"}</span></span></Tooltip>;
}

function Colours() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme("light") === "dark";
  const label = dark ? "Light colours" : "Dark colours";
  return <Tooltip label={label}><ActionIcon variant="subtle" color="gray" aria-label={label} onClick={() => setColorScheme(dark ? "light" : "dark")}><Icon name={dark ? "sun" : "moon"} /></ActionIcon></Tooltip>;
}

// You leads to what somebody may do themselves.
function You() {
  const { user } = useSession();
  if (!user) return null;
  return <Tooltip label="What you may do, and your password"><a className="small you" href="#/account" aria-label={`${nameOf(user)}: your account`}><Icon name="person" size={14} /><span className="hide-phone">{nameOf(user)}</span></a></Tooltip>;
}

function SignOut() {
  const { user } = useSession();
  return <Tooltip label={user ? `Sign out ${user}` : "Sign out"}><ActionIcon variant="subtle" color="gray" aria-label="Sign out" onClick={() => void signOut()}><Icon name="out" /></ActionIcon></Tooltip>;
}

// useKeys makes g followed by a letter go to a page.
function useKeys(help: () => void) {
  const navigate = useNavigate();
  const [, setGoing] = useState(0);
  const byKey = useMemo(() => new Map(places.map((p) => [p.key, p.to])), []);
  useHotkeys([["shift+?", help], ["?", help], ["/", () => spotlight.open()], ["c", () => void navigate({ to: "/flags/new" })]]);
  useEffect(() => {
    let since = 0;
    const pressed = (e: KeyboardEvent) => {
      const at = e.target as HTMLElement;
      if (e.ctrlKey || e.metaKey || e.altKey || at.closest("input, textarea, select, [contenteditable], [role=dialog]")) return;
      if (e.key === "g") since = Date.now();
      else if (Date.now() - since < 1200 && byKey.has(e.key)) {
        since = 0;
        e.preventDefault();
        void navigate({ to: byKey.get(e.key)! });
      }
    };
    document.addEventListener("keydown", pressed);
    setGoing(1);
    return () => document.removeEventListener("keydown", pressed);
  }, [byKey, navigate]);
}

function Keys() {
  const rows: [string[], string][] = [
    [["Ctrl", "K"], "find a flag, a rollout or a page"], [["/"], "the same"], [["?"], "these keys"], [["c"], "create a flag"],
    ...places.map((p): [string[], string] => [["g", p.key], p.name]),
    [["k"], "kill the flag that is shown, or resume it; it asks first"], [["Alt", "↑"], "move the rule in focus up, Alt ↓ down"], [["Ctrl", "Enter"], "apply, from the reason"], [["Esc"], "close what is open"],
  ];
  const list = (of: [string[], string][]) => <Table fz="sm" verticalSpacing={4}><Table.Tbody>{of.map(([k, what]) => <Table.Tr key={what}><Table.Td w={110}>{k.map((one) => <Kbd key={one} mr={4}>{one}</Kbd>)}</Table.Td><Table.Td>{what}</Table.Td></Table.Tr>)}</Table.Tbody></Table>;
  return <div className="two"><div><h3>Anywhere</h3>{list(rows.filter(([k]) => k[0] !== "g"))}</div><div><h3>Go to</h3>{list(rows.filter(([k]) => k[0] === "g"))}</div></div>;
}

function Palette() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme("light") === "dark";
  const [asked, setAsked] = useState(false);
  const once = { enabled: asked, refetchInterval: false as const };
  const all = useQuery({ ...flags(), ...once }).data, sets = useQuery({ ...segments, ...once }).data, known = useQuery({ ...metrics, ...once }).data, owners = useQuery({ ...teams, ...once }).data;
  const live = useQuery(rollouts({ live: true })).data;
  const actions = useMemo<SpotlightActionData[]>(() => {
    const lead = (id: string, label: string, icon: IconName, href: string, description?: string): SpotlightActionData => ({ id, label, description, leftSection: <Icon name={icon} />, onClick: () => { location.hash = href; } });
    return [
      ...places.map((p) => lead(p.to, p.name, p.icon, `#${p.to}`, `Key: g ${p.key}`)),
      lead("new-flag", "Create a flag", "plus", "#/flags/new", "Key: c"), lead("new-rollout", "Start a rollout", "plus", "#/rollouts/new"), lead("new-agent", "Let an agent in", "plus", "#/agents?edit=%2B"),
      lead("freeze", "Freeze all agents", "stop", "#/agents", "The switch is on the page of agents"), lead("verify", "Verify the audit log", "audit", "#/audit"), lead("freezes", "Plan a freeze", "policy", "#/policy?edit=1"), lead("account", "Your account and password", "person", "#/account"),
      { id: "colours", label: dark ? "Light colours" : "Dark colours", leftSection: <Icon name={dark ? "sun" : "moon"} />, onClick: () => setColorScheme(dark ? "light" : "dark") },
      { id: "out", label: "Sign out", leftSection: <Icon name="out" />, onClick: () => void signOut() },
      ...(live ?? []).map((r) => lead(r.id, `Rollout of ${r.flag}`, "rollout", `#/rollouts/${encodeURIComponent(r.id)}`, `${r.environment}, ${r.state}`)),
      ...(all ?? []).map((f) => lead(`flag ${f.key}`, f.key, "flag", `#/flags/${encodeURIComponent(f.key)}`, f.description?.slice(0, 100))),
      ...(sets ?? []).map((s) => lead(`segment ${s.key}`, s.key, "segment", `#/segments?edit=${encodeURIComponent(s.key)}`, s.description?.slice(0, 100) || "a segment")),
      ...(known ?? []).map((m) => lead(`metric ${m.key}`, m.key, "metric", `#/metrics?edit=${encodeURIComponent(m.key)}`, m.description?.slice(0, 100) || "a metric")),
      ...(owners ?? []).map((t) => lead(`team ${t.key}`, t.name || t.key, "team", `#/teams/${encodeURIComponent(t.key)}`, `the team ${t.key}`)),
    ];
  }, [all, sets, known, owners, live, dark, setColorScheme]);
  return <Spotlight actions={actions} shortcut="mod + K" limit={12} onSpotlightOpen={() => setAsked(true)} nothingFound="Nothing is called that." searchProps={{ placeholder: "Flags, rollouts, pages", "aria-label": "Search" }} />;
}
