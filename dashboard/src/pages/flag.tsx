// A flag: its environments side by side, and of the one that is chosen what it
// serves, who gets what, its rollout and its history.
import { Alert, Button, Menu, Tabs } from "@mantine/core";
import { useHotkeys } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useState } from "react";

import { useRefusal } from "../api/auth";
import { type Config, type Flag, inEnvironment } from "../api/client";
import { environments, flag as flagQuery, flagAt, fleet } from "../api/queries";
import { Copy, Meter, Moment, Page, Ready, Tag, Trouble, useNow, Waiting, Why } from "../parts/basics";
import { useChange, type Wish } from "../parts/change";
import { useDraft } from "../parts/drafts";
import { Icon } from "../parts/icons";
import { FirstRead } from "../parts/in-code";
import { to, useAddress } from "../address";
import { plural } from "../words/numbers";
import { ruleWords, serveWords, serving } from "../words/serving";
import { Compare } from "./flag-compare";
import { Details } from "./flag-details";
import { History } from "./flag-history";
import { FlagRollouts } from "./flag-rollouts";
import { Targeting } from "./flag-targeting";
import { Then, TimeBar } from "./flag-then";
import { WhoGetsWhat } from "./flag-try";

export function FlagPage() {
  const { key } = useParams({ strict: false }) as { key: string };
  const flag = useQuery(flagQuery(key));
  if (flag.data === undefined) return <Page title={key}><Ready of={flag}>{() => null}</Ready></Page>;
  return <One key={key} of={flag.data} />;
}

// One shows a flag as it is, or, with a time in the address, as it was then.
function One({ of: now }: { of: Flag }) {
  const [search, setSearch] = useAddress();
  const at = search.at && !Number.isNaN(Date.parse(search.at)) ? search.at : undefined;
  const then = useQuery(flagAt(now.key, at));
  const of = at ? then.data ?? now : now;
  const known = useQuery(environments).data?.map((e) => e.key) ?? Object.keys(of.environments ?? {});
  const names = known.filter((e) => of.environments?.[e]);
  const environment = search.environment && of.environments?.[search.environment] ? search.environment : names[0];
  const many = names.length > 4; // then each says less, and what is below stays in sight
  const archived = of.state === "archived";
  const config = environment ? of.environments?.[environment] : undefined;
  const tabs = ([["targeting", "Targeting"], ["compare", "Compare"], ["try", "Who gets what"], ["rollouts", "Rollouts"], ["history", "History"], ["details", "Definition"]] as const)
    .filter(([tab]) => !(archived && ["targeting", "compare", "try"].includes(tab)) && !(at && ["rollouts", "details"].includes(tab)));
  const tab = tabs.find(([t]) => t === search.tab)?.[0] ?? tabs[0][0];
  if (at && then.data === undefined) return <Page title={now.key}><TimeBar of={now} at={at} />{then.error ? <Trouble error={then.error} /> : <Waiting />}</Page>;
  return (
    <Page stays title={of.key} about={<Copy text={of.key} label="Copy the key" />} actions={!at && !archived && config && <Actions of={of} environment={environment} config={config} />}>
      {at && <TimeBar of={now} at={at} />}
      <Facts of={of} />
      {archived && <Alert color="gray" title="Archived" mb="md">By {of.archivedBy}, <Moment at={of.archivedAt} />: {of.archivedWhy}. It is in no ruleset, and its key is never free again.</Alert>}
      {!archived && (
        <div className={many ? "grid many" : "grid"} style={{ marginBottom: 14, gridTemplateColumns: `repeat(auto-fit, minmax(min(${many ? 150 : 240}px, 100%), 1fr))` }} role="radiogroup" aria-label="Environment">
          {names.map((name) => <EnvironmentCard key={name} of={of} name={name} chosen={name === environment} choose={() => setSearch({ environment: name })} then={Boolean(at)} short={many} />)}
        </div>
      )}
      <Tabs value={tab} onChange={(t) => setSearch({ tab: t ?? undefined })} keepMounted={false}>
        <Tabs.List mb="md">{tabs.map(([value, name]) => <Tabs.Tab key={value} value={value}>{name}</Tabs.Tab>)}</Tabs.List>
        <Tabs.Panel value="targeting">{!at && !of.lastEvaluated && <FirstRead of={of} />}{config && (at ? <Then of={of} now={now} environment={environment} /> : <Targeting key={environment} of={of} environment={environment} config={config} />)}</Tabs.Panel>
        <Tabs.Panel value="compare"><Compare of={of} names={names} then={Boolean(at)} /></Tabs.Panel>
        <Tabs.Panel value="try">{environment && <WhoGetsWhat of={of} environments={names} at={at} />}</Tabs.Panel>
        <Tabs.Panel value="rollouts"><FlagRollouts of={of} environment={environment} /></Tabs.Panel>
        <Tabs.Panel value="history"><History of={now} /></Tabs.Panel>
        <Tabs.Panel value="details"><Details of={of} /></Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function Facts({ of }: { of: Flag }) {
  const now = useNow();
  const expires = of.expiresAt ? Date.parse(of.expiresAt) : undefined;
  return (
    <div style={{ marginBottom: 14 }}>
      {of.description && <About text={of.description} />}
      <div className="line">
        <Tag>{of.kind}</Tag><Tag>{of.type}</Tag><Tag tone={of.riskTier === "high" ? "warn" : "soft"}>{of.riskTier ?? "medium"} risk</Tag>
        {of.consistency === "stateful" && <Tag tone="warn" title="Instances may not disagree: each step of a rollout waits for the whole fleet">stateful</Tag>}
        {of.clientVisible && <Tag tone="accent" title="Browsers and apps may see it">client-visible</Tag>}
        <span className="small soft">owned by <b>{of.owner}</b></span>
        {expires !== undefined && <Tag tone={expires < now ? "bad" : expires - now < 14 * 86_400_000 ? "warn" : "soft"}>{expires < now ? "expired" : "expires"} <Moment at={expires} /></Tag>}
        <span className="small soft">{of.lastEvaluated ? <>evaluated <Moment at={of.lastEvaluated} /></> : "never evaluated"}</span>
        {(of.tags ?? []).map((t) => <a key={t} href={`#/flags?tag=${encodeURIComponent(t)}`} className="tag">#{t}</a>)}
      </div>
    </div>
  );
}

// About is a description, of which a long one shows its beginning.
function About({ text }: { text: string }) {
  const [open, setOpen] = useState(text.length < 300);
  return (
    <div style={{ margin: "0 0 8px", maxWidth: "90ch", overflowWrap: "anywhere" }}>
      <p className={open ? undefined : "clip"} style={{ margin: 0 }} dir="auto">{text}</p>
      {!open && <Button variant="subtle" size="compact-xs" onClick={() => setOpen(true)}>all of the description</Button>}
    </div>
  );
}

function EnvironmentCard({ of, name, chosen, choose, then, short }: { of: Flag; name: string; chosen: boolean; choose: () => void; then: boolean; short: boolean }) {
  const config = of.environments![name];
  const s = serving(config, of);
  const draft = useDraft(of.key, name)[0] !== undefined && !then;
  const rules = config.rules ?? [];
  return (
    <div className={`env-card${chosen ? " chosen" : ""}`} role="radio" aria-checked={chosen} tabIndex={0} aria-label={`${name}: ${s.text} ${s.note}`} onClick={choose}
      onKeyDown={(e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(); } }}>
      <div className="line"><span className={`dot ${s.tone}`} /><b title={name}>{name}</b>{draft && <Tag tone="accent">draft</Tag>}{!short && <span className="push small soft">v{config.version}</span>}</div>
      <div className={`what ${s.tone === "good" ? "" : s.tone}`}>{s.text}{s.state === "on" && rules.length > 0 && <span className="small soft" style={{ fontWeight: 400 }}> by default</span>}</div>
      {short && s.note && <div className="small soft clip" title={s.note}>{s.note}</div>}
      {!short && <div className="small soft">
        {s.state === "killed" && <>since <Moment at={config.killed!.at} />, {config.killed!.by}: {config.killed!.reason}</>}
        {s.state === "off" && <>{config.offVariant} to everybody; enabled, it would serve {serveWords(config.default)}</>}
        {(s.state === "on" || s.state === "rollout") && (rules.length === 0 ? "to everybody" : rules.slice(0, 3).map((r) => <div key={r.id} style={{ overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" }}>{ruleWords(r)}</div>))}
        {rules.length > 3 && <div>and {plural(rules.length - 3, "rule")} more</div>}
        {(config.prerequisites?.length ?? 0) > 0 && <div>only where {config.prerequisites!.map((p) => `${p.flag} is ${p.variant}`).join(" and ")}</div>}
      </div>}
      {s.state === "rollout" && <Meter part={config.rollout!.ppm / 1e6} tone="accent" label={`Share of ${config.rollout!.treatment}`} />}
      {!then && !short && <div className="small soft" style={{ marginTop: 4 }}>{config.lastEvaluated ? <>evaluated <Moment at={config.lastEvaluated} /></> : "never evaluated here"}<Spread environment={name} /></div>}
    </div>
  );
}

// Spread is how far the fleet has come to what the environment serves, for as
// long as it has not.
function Spread({ environment }: { environment: string }) {
  const of = useQuery(fleet()).data?.find((f) => f.environment === environment);
  if (!of || of.instances === 0) return null;
  const done = of.converged === of.instances;
  return <span className={done ? undefined : "warn"}>{" · "}{done ? `all ${of.instances} instances run it` : `${of.converged} of ${of.instances} instances run it`}{!done && <Meter part={of.converged / of.instances} tone="accent" label={`Instances of ${environment} that run what it serves`} />}</span>;
}

// switchWish is a change of one flag in one environment by one of its doors.
export function switchWish(of: Flag, environment: string, config: Config, what: "kill" | "resume" | "enable" | "disable"): Wish {
  const change = { method: "POST" as const, path: inEnvironment(environment, of.key, `/${what}`), body: {} };
  const rollout = config.rollout ? " The live rollout ends." : "";
  switch (what) {
    case "kill":
      return { title: `Kill ${of.key} in ${environment}`, verb: "Kill now", change, danger: true, urgent: true, warning: `Everybody in ${environment} gets ${of.safeVariant} at once, until a person resumes it.${rollout}` };
    case "resume":
      return { title: `Resume ${of.key} in ${environment}`, verb: "Resume", change, difference: [`the kill is lifted: it serves ${config.enabled ? serveWords(config.default) : config.offVariant} again`] };
    case "enable":
      return { title: `Enable ${of.key} in ${environment}`, verb: "Enable", change, difference: [`enabled: rules apply, and by default ${serveWords(config.default)} is served`] };
    case "disable":
      return { title: `Disable ${of.key} in ${environment}`, verb: "Disable", change, difference: [`disabled: everybody gets ${config.offVariant}`], warning: rollout || undefined };
  }
}

function Actions({ of, environment, config }: { of: Flag; environment: string; config: Config }) {
  const begin = useChange();
  const wish = (what: "kill" | "resume" | "enable" | "disable") => begin(switchWish(of, environment, config, what));
  const refused = useRefusal({ role: "editor", environment, team: of.owner });
  useHotkeys([["k", () => { if (!refused) wish(config.killed ? "resume" : "kill"); }]]);
  const off = Boolean(refused);
  const noRollout = refused ?? (config.rollout ? "A rollout is live here already." : config.killed ? "It is killed here: resume it first." : !config.enabled ? "It is not enabled here: a rollout would reach nobody." : undefined);
  return (
    <>
      {config.rollout
        ? <Button component="a" variant="default" href={to.rollout(config.rollout.id)}>See the rollout</Button>
        : <Why because={noRollout}>{noRollout ? <Button variant="default" disabled>Start a rollout</Button> : <Button component="a" variant="default" href={to.newRollout(of.key, environment)}>Start a rollout</Button>}</Why>}
      <Why because={refused}>{config.enabled ? <Button variant="default" disabled={off} onClick={() => wish("disable")}>Disable in {environment}</Button> : <Button disabled={off} onClick={() => wish("enable")}>Enable in {environment}</Button>}</Why>
      <Why because={refused}>{config.killed
        ? <Button className="kill" color="teal" disabled={off} onClick={() => wish("resume")}>Resume in {environment}</Button>
        : <Button className="kill" color="red" disabled={off} leftSection={<Icon name="stop" size={14} />} onClick={() => wish("kill")} title={off ? undefined : "Key: k"}>Kill in {environment}</Button>}</Why>
      <Menu position="bottom-end">
        <Menu.Target><Button variant="default" aria-label="More">…</Button></Menu.Target>
        <Menu.Dropdown>
          <Menu.Item component="a" href={to.flag(of.key, environment, "details")}>Edit the definition</Menu.Item>
          <Menu.Item component="a" href={to.audit({ subject: of.key })}>In the audit log</Menu.Item>
          <Menu.Item color="red" disabled={off} title={refused} onClick={() => begin({
            title: `Archive ${of.key}`, verb: "Archive", danger: true, change: { method: "POST", path: `/api/v1/flags/${encodeURIComponent(of.key)}/archive`, body: {} },
            difference: ["taken out of every ruleset, for good", "code that still evaluates it gets its own default"], warning: "Its key is never free again. Delete the code that reads it first.",
          })}>Archive…</Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </>
  );
}
