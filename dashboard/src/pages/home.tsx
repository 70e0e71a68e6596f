// One look in the morning: what moves, what broke, what waits, what expires.
import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { changes, doors } from "../api/governance";
import { audit, environments, flags, fleet, rollouts, unknownFlags } from "../api/queries";
import { Card, Empty, Meter, Moment, Page, Ready, Tag, useNow } from "../parts/basics";
import { EntryLine } from "../parts/entries";
import { Icon } from "../parts/icons";
import { RolloutLine } from "../parts/rollout-line";
import { to } from "../routes";
import { plural } from "../words/numbers";

const day = 86_400_000;

export function Home() {
  return (
    <Page title="Home" actions={<Button component="a" href="#/flags/new" leftSection={<Icon name="plus" size={14} />}>Create a flag</Button>}>
      <div className="grid">
        <Moving /><Waiting /><Killed /><Converging /><Expiring /><Unknown />
      </div>
      <div style={{ marginTop: 14 }}><Recent /></div>
    </Page>
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
  const known = useQuery(doors).data;
  const list = useQuery(changes(known?.changes ?? false));
  if (!known?.changes) return null;
  return (
    <Card title="Waits for approval" actions={<a href="#/approvals" className="small">all</a>}>
      <Ready of={list}>{(all) => {
        const open = all.filter((c) => c.state === "open" || c.state === "review");
        if (open.length === 0) return <p className="soft small">Nothing waits.</p>;
        return <ul className="rows">{open.slice(0, 6).map((c) => <li key={c.id}><a href={to.approval(c.id)}>{c.plan.action} {c.plan.subject}</a> <Tag tone={c.plan.risk === "high" ? "bad" : "warn"}>{c.plan.risk} risk</Tag><div className="small soft">{c.proposer.id}: {c.reason}</div></li>)}</ul>;
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
    <Card title="Expires soon" actions={<a href="#/flags?state=expiring" className="small">all</a>}>
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
