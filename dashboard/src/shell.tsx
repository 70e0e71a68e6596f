// The frame around every page: where to go, what is connected, and the keys.
import { ActionIcon, AppShell, Burger, Button, Kbd, Modal, Table, Tooltip, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { useDisclosure, useHotkeys } from "@mantine/hooks";
import { Spotlight, type SpotlightActionData, spotlight } from "@mantine/spotlight";
import { useQuery } from "@tanstack/react-query";
import { Outlet, useLocation, useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";

import { signOut, useSession } from "./api/auth";
import { useConnection } from "./api/events";
import { changes, doors } from "./api/governance";
import { flags, rollouts } from "./api/queries";
import { Icon, type IconName } from "./parts/icons";

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
  { to: "/tokens", name: "Tokens", icon: "token", key: "t", group: "Administer" },
  { to: "/webhooks", name: "Webhooks", icon: "webhook", key: "w" },
  { to: "/settings", name: "Environments & teams", icon: "settings", key: "e" },
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
          <div className="push line" style={{ flexWrap: "nowrap" }}><Connected /><Colours /><SignOut /></div>
        </div>
      </AppShell.Header>
      <AppShell.Navbar p={8}><Navigation /></AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1} style={{ outline: "none" }}><Outlet /></AppShell.Main>
      <Palette />
      <Modal opened={help} onClose={keys.close} title="Keys" closeButtonProps={{ "aria-label": "Close" }}><Keys /></Modal>
    </AppShell>
  );
}

function Navigation() {
  const { pathname } = useLocation();
  const live = useQuery(rollouts({ live: true })).data?.length ?? 0;
  const known = useQuery(doors).data;
  const open = useQuery(changes(known?.changes ?? false)).data?.filter((c) => c.state === "open" || c.state === "review").length ?? 0;
  const badges: Record<string, number> = { "/rollouts": live, "/approvals": open };
  return (
    <nav className="side" aria-label="Pages">
      {places.map((p) => {
        const here = p.to === "/" ? pathname === "/" : pathname.startsWith(p.to);
        return (
          <div key={p.to}>
            {p.group && <div className="group">{p.group}</div>}
            <a href={`#${p.to}`} aria-current={here ? "page" : undefined}><Icon name={p.icon} />{p.name}{badges[p.to] > 0 && <span className="tag accent badge">{badges[p.to]}</span>}</a>
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
  return <Table fz="sm"><Table.Tbody>{rows.map(([k, what]) => <Table.Tr key={what}><Table.Td>{k.map((one) => <Kbd key={one} mr={4}>{one}</Kbd>)}</Table.Td><Table.Td>{what}</Table.Td></Table.Tr>)}</Table.Tbody></Table>;
}

function Palette() {
  const navigate = useNavigate();
  const [asked, setAsked] = useState(false);
  const all = useQuery({ ...flags(), enabled: asked, refetchInterval: false }).data;
  const live = useQuery(rollouts({ live: true })).data;
  const actions = useMemo<SpotlightActionData[]>(() => [
    ...places.map((p) => ({ id: p.to, label: p.name, description: `Key: g ${p.key}`, leftSection: <Icon name={p.icon} />, onClick: () => void navigate({ to: p.to }) })),
    { id: "new-flag", label: "Create a flag", leftSection: <Icon name="plus" />, onClick: () => void navigate({ to: "/flags/new" }) },
    { id: "new-rollout", label: "Start a rollout", leftSection: <Icon name="plus" />, onClick: () => void navigate({ to: "/rollouts/new" }) },
    ...(live ?? []).map((r) => ({ id: r.id, label: `Rollout of ${r.flag}`, description: `${r.environment}, ${r.state}`, leftSection: <Icon name="rollout" />, onClick: () => void navigate({ to: "/rollouts/$id", params: { id: r.id } as never }) })),
    ...(all ?? []).map((f) => ({ id: `flag ${f.key}`, label: f.key, description: f.description?.slice(0, 100), leftSection: <Icon name="flag" />, onClick: () => void navigate({ to: "/flags/$key", params: { key: f.key } as never }) })),
  ], [all, live, navigate]);
  return <Spotlight actions={actions} shortcut="mod + K" limit={12} onSpotlightOpen={() => setAsked(true)} nothingFound="Nothing is called that." searchProps={{ placeholder: "Flags, rollouts, pages", "aria-label": "Search" }} />;
}
