// One look in the morning: what moves, what broke, what waits, what expires.
import { Alert, Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { useRefusal, useSession } from "../api/auth";
import { changes, policy } from "../api/governance";
import { agents, audit, environments, flags, fleet, isLive, metrics, rollouts, unknownFlags, worklist } from "../api/queries";
import { Card, Empty, Meter, Moment, Page, Ready, Tag, useNow } from "../parts/basics";
import { EntryLine } from "../parts/entries";
import { Lead } from "../parts/form";
import { Icon } from "../parts/icons";
import { RolloutLine } from "../parts/rollout-line";
import { to } from "../address";
import { plural } from "../words/numbers";
import { freezeState } from "../words/policy";
import { titleOf, turnOf } from "../words/request";
import type { Tone } from "../words/serving";

const day = 86_400_000;

export function Home() {
  const all = useQuery(flags()).data, way = useWay();
  const refused = useRefusal({ role: "editor" }, true);
  return (
    <Page title="Home" actions={<Lead href="#/flags/new" because={refused} leftSection={<Icon name="plus" size={14} />}>Create a flag</Lead>}>
      <div className="stack">
        <Stops />
        {all?.length !== 0 && <Glance />}
        {way && !refused && <Begin gone={way} />}
        <div className="grid">
          <Waiting /><Moving /><Killed /><Converging /><Expiring /><Work /><Unknown />
        </div>
        <Recent />
      </div>
    </Page>
  );
}

// Stops are what holds everybody up.
function Stops() {
  const frozen = useQuery(agents).data?.frozen, freezes = useQuery(policy()).data?.freezes ?? [];
  const now = useNow();
  const here = freezes.filter((f) => freezeState(f, now) === "now");
  return (
    <>
      {frozen && <Alert color="red" variant="light" title="All agents are read-only">{frozen.by}, <Moment at={frozen.at} />: {frozen.reason}. <a href="#/agents">Agents</a></Alert>}
      {here.map((f) => <Alert key={f.from + f.reason} color="orange" variant="light" title={`Nothing is raised in ${f.environments?.length ? f.environments.join(", ") : "protected environments"}`}>A freeze until <Moment at={f.to} full />: {f.reason}. What takes things back still passes. <a href="#/policy">Policy</a></Alert>)}
    </>
  );
}

// Glance is the morning in six numbers; each leads to what it counts.
function Glance() {
  const session = useSession(), now = useNow();
  const asked = useQuery(changes(true)).data, moving = useQuery(rollouts()).data, seen = useQuery(fleet()).data, all = useQuery(flags()).data;
  const turns = (asked ?? []).map((c) => turnOf(c, session));
  const lately = (moving ?? []).filter((r) => r.endedAt && now - Date.parse(r.endedAt) < day);
  const behind = (seen ?? []).reduce((n, f) => n + f.instances - f.converged, 0);
  const killed = (all ?? []).reduce((n, f) => n + Object.values(f.environments ?? {}).filter((c) => c.killed).length, 0);
  const due = (all ?? []).filter((f) => f.expiresAt && Date.parse(f.expiresAt) - now < 14 * day).length;
  return (
    <ul className="glance" aria-label="At a glance">
      <Count n={asked && turns.filter((t) => t === "yours" || t === "review").length} name="wait for you" href="#/approvals" tone="warn" />
      <Count n={moving?.filter((r) => isLive(r.state)).length} name="rollouts live" href="#/rollouts" tone="good" />
      <Count n={moving && lately.filter((r) => r.state === "aborted").length} name="taken back today" href="#/rollouts" tone="bad" />
      <Count n={seen && behind} name="instances behind" href="#/fleet" tone="warn" />
      <Count n={all && killed} name="flags killed" href="#/flags?state=killed" tone="bad" />
      <Count n={all && due} name="expire in two weeks" href="#/flags?expiry=soon" tone="warn" />
    </ul>
  );
}

function Count({ n, name, href, tone }: { n: number | undefined; name: string; href: string; tone: Tone }) {
  return <li><a href={href} className={n ? tone : "none"}><b>{n ?? "–"}</b><span>{name}</span></a></li>;
}

const steps: [string, string, string, string][] = [
  ["Create a flag", "It serves its safe variant everywhere until you say otherwise.", "#/flags/new", "Create the first"],
  ["Let a program in", "An sdk token opens one environment to a program, which then reads the flag by OpenFeature.", "#/tokens?edit=%2B", "Make a token"],
  ["Name a measure of harm", "A metric, such as errors, by which a rollout is judged.", "#/metrics?edit=%2B", "Create a metric"],
  ["Let it climb", "A rollout shows a variant to a few, then to more, and takes itself back if a guardrail breaks.", "#/rollouts/new", "Start a rollout"],
];

// useWay is how far somebody has come on the way in, until they have gone all of it.
function useWay(): boolean[] | undefined {
  const all = useQuery(flags()).data, seen = useQuery(fleet()).data, known = useQuery(metrics).data, moved = useQuery(rollouts()).data;
  if (!all || !seen || !known || !moved) return undefined;
  const gone = [all.length > 0, all.some((f) => f.lastEvaluated) || seen.some((f) => f.instances > 0), known.length > 0, moved.length > 0];
  return gone.every(Boolean) ? undefined : gone;
}

function Begin({ gone }: { gone: boolean[] }) {
  const next = gone.indexOf(false);
  return (
    <Card title="The way in">
      <ol className="steps">{steps.map(([what, about, href, verb], i) => (
        <li key={what} className={gone[i] ? "done" : undefined}><b>{what}{gone[i] && <span className="only-reader">: done</span>}</b><span className="small soft">{about}</span>{!gone[i] && <Button component="a" href={href} variant={i === next ? "filled" : "default"} size="compact-sm">{verb}</Button>}</li>
      ))}</ol>
    </Card>
  );
}

function Moving() {
  const all = useQuery(rollouts());
  const now = useNow();
  return (
    <Card title="Rollouts" actions={<a href="#/rollouts" className="small">all</a>}>
      <Ready of={all}>{(list) => {
        const shown = list.filter((r) => !r.endedAt || now - Date.parse(r.endedAt) < day).slice(0, 6);
        if (shown.length === 0) return <Empty title="Nothing moves" action={<Button component="a" href="#/rollouts/new" variant="default">Start a rollout</Button>}>A rollout raises a variant step by step, and takes it back by itself if a guardrail breaks.</Empty>;
        return <ul className="rows">{shown.map((r) => <RolloutLine key={r.id} of={r} />)}</ul>;
      }}</Ready>
    </Card>
  );
}

function Waiting() {
  const session = useSession();
  const list = useQuery(changes(true));
  return (
    <Card title="Waits for you" actions={<a href="#/approvals" className="small">all approvals</a>}>
      <Ready of={list}>{(all) => {
        const mine = all.filter((c) => ["yours", "review"].includes(turnOf(c, session))), rest = all.filter((c) => ["others", "ready"].includes(turnOf(c, session))).length;
        return (
          <>
            {mine.length === 0 && <p className="soft small">Nothing waits for your approval.</p>}
            <ul className="rows">{mine.slice(0, 6).map((c) => <li key={c.id}><div className="line"><a href={to.approval(c.id)}>{titleOf(c)}</a><Tag tone={c.plan.risk === "high" ? "bad" : c.plan.risk === "medium" ? "warn" : "good"}>{c.plan.risk} risk</Tag>{c.state === "review" && <Tag tone="bad">review it</Tag>}</div><div className="small soft">{c.proposer.id}: {c.reason}</div></li>)}</ul>
            {rest > 0 && <p className="soft small" style={{ marginBottom: 0 }}>{plural(rest, "request")} more {rest === 1 ? "waits" : "wait"} for others.</p>}
          </>
        );
      }}</Ready>
    </Card>
  );
}

function Killed() {
  const all = useQuery(flags());
  const killed = (all.data ?? []).flatMap((f) => Object.entries(f.environments ?? {}).filter(([, c]) => c.killed).map(([environment, c]) => ({ key: f.key, environment, kill: c.killed! })));
  if (killed.length === 0) return null;
  return (
    <Card title="Killed">
      <ul className="rows">{killed.slice(0, 8).map((k) => (
        <li key={k.key + k.environment}>
          <div className="line"><Tag tone="bad">killed</Tag><a href={to.flag(k.key, k.environment)} className="mono">{k.key}</a><span className="small soft">{k.environment}</span></div>
          <div className="small soft">{k.kill.by}, <Moment at={k.kill.at} />: {k.kill.reason}</div>
        </li>
      ))}</ul>
    </Card>
  );
}

function Converging() {
  const all = useQuery(fleet());
  return (
    <Card title="Fleet" actions={<a href="#/fleet" className="small">details</a>}>
      <Ready of={all}>{(list) => list.every((f) => f.instances === 0)
        ? <Empty title="No program reports yet" action={<Button component="a" href="#/tokens" variant="default">Make an sdk token</Button>}>Programs report which version they run as soon as they use an SDK with an sdk token.</Empty>
        : <ul className="rows">{list.filter((f) => f.instances > 0).map((f) => (
            <li key={f.environment}>
              <div className="line"><b>{f.environment}</b><span className="small soft">v{f.head.version}</span><span className="push small">{f.converged === f.instances ? `all ${f.instances} run it` : `${f.converged} of ${f.instances} run it`}</span></div>
              <Meter part={f.converged / f.instances} tone={f.converged === f.instances ? "good" : "warn"} label={`Converged in ${f.environment}`} />
            </li>
          ))}</ul>}</Ready>
    </Card>
  );
}

function Expiring() {
  const all = useQuery(flags());
  const now = useNow();
  return (
    <Card title="Expires soon" actions={<a href="#/flags?expiry=soon" className="small">all</a>}>
      <Ready of={all}>{(list) => {
        const due = list.filter((f) => f.expiresAt && Date.parse(f.expiresAt) - now < 14 * day).toSorted((a, b) => a.expiresAt!.localeCompare(b.expiresAt!));
        if (due.length === 0) return <p className="soft small">{plural(list.length, "flag")}, none of which expires within two weeks.</p>;
        return <ul className="rows">{due.slice(0, 6).map((f) => (
          <li key={f.key} className="line"><a href={to.flag(f.key)} className="mono">{f.key}</a><span className="small soft">{f.owner}</span><span className="push"><Tag tone={Date.parse(f.expiresAt!) < now ? "bad" : "warn"}><Moment at={f.expiresAt} /></Tag></span></li>
        ))}</ul>;
      }}</Ready>
    </Card>
  );
}

const because: Record<string, [string, Tone]> = { completed: ["done: delete the other path", "good"], aborted: ["taken back: mend it", "bad"], expired: ["over its date", "warn"] };

// Work are flags that are done with, or failed.
function Work() {
  const all = useQuery(worklist);
  if (!all.data?.length) return null;
  return (
    <Card title="To clean up" actions={<span className="small soft">{all.data.length > 6 && `6 of ${all.data.length}`}</span>}>
      <ul className="rows">{all.data.slice(0, 6).map((w) => <li key={w.flag + w.why + (w.environment ?? "")} className="line"><a href={to.flag(w.flag)} className="mono">{w.flag}</a><span className="small soft">{w.owner}</span><Tag tone={because[w.why][1]}>{because[w.why][0]}</Tag></li>)}</ul>
    </Card>
  );
}

function Unknown() {
  const all = useQuery(unknownFlags);
  if (!all.data?.length) return null;
  return (
    <Card title="Asked for, and no flags">
      <p className="small soft">Programs evaluate these keys: misspelt, not created yet, or archived while code still reads them.</p>
      <ul className="rows">{all.data.slice(0, 6).map((u) => <li key={u.flag + u.environment + u.service} className="line"><span className="mono">{u.flag}</span><span className="small soft">{u.service} {u.version}, {u.environment}</span><span className="push small"><Moment at={u.last} /></span></li>)}</ul>
    </Card>
  );
}

function Recent() {
  const all = useQuery(audit({}, 12));
  useQuery(environments);
  return (
    <Card title="Lately" actions={<a href="#/audit" className="small">audit log</a>}>
      <Ready of={all}>{(list) => list.length === 0 ? <Empty title="Nothing has changed yet">Each change stands here, with who made it and why.</Empty> : <ul className="rows">{list.map((e) => <EntryLine key={e.seq} of={e} />)}</ul>}</Ready>
    </Card>
  );
}
