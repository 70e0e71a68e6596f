// A rollout, live: where it stands, what it waits for, what the judge knows, and
// what was decided.
import { Alert, Button } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useEffect, useMemo, useRef } from "react";

import type { AuditEntry, Rollout } from "../api/client";
import { useRefusal } from "../api/auth";
import { audit, flag as flagQuery, isLive, metrics, rollout as rolloutQuery } from "../api/queries";
import { Card, Empty, Meter, Moment, Page, Ready, Remaining, Tag, useNow, Why } from "../parts/basics";
import { useChange, type Wish } from "../parts/change";
import { EntryLine, evidenceOf, toneOf } from "../parts/entries";
import { Icon } from "../parts/icons";
import { stateTone } from "../parts/rollout-line";
import { to } from "../address";
import { count, milliseconds, number, share, span } from "../words/numbers";
import { holdOf } from "../words/plan";
import { effectWords, isRatio, joined, type Point, pointOf, points, type Wait, waits } from "../words/rollout";
import { switchWish } from "./flag";
import { Charts } from "./rollout-charts";
import { Quality } from "./rollout-data";
import { Guardrails } from "./rollout-guardrails";

export function RolloutPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const of = useQuery(rolloutQuery(id));
  if (of.data === undefined) return <Page title="Rollout"><Ready of={of}>{() => null}</Ready></Page>;
  return <One key={of.data.id} of={of.data} at={of.dataUpdatedAt} />;
}

const alerts: Record<string, string> = { aborted: "red", completed: "teal", holding: "orange", paused: "orange" };
const titles: Record<string, string> = { aborted: "Taken back from everybody", holding: "It holds", paused: "Held by a person" };

function One({ of, at }: { of: Rollout; at: number }) {
  const log = useQuery(audit({ subject: of.flag, environment: of.environment }, 200));
  const entries = useMemo(() => (log.data ?? []).filter((e) => e.edits?.some((x) => x.noun === "rollout" && x.key === of.id)), [log.data, of.id]);
  const all = usePoints(of, at, entries);
  const steps = of.steps ?? [];
  const moving = of.state === "running" || of.state === "pending";
  return (
    <Page stays title={<><a href={to.flag(of.flag, of.environment)} style={{ color: "inherit" }}>{of.flag}</a> <span className="soft">in {of.environment}</span></>} about={<Tag tone={stateTone[of.state] ?? "soft"}>{of.state}</Tag>} actions={<Actions of={of} />}>
      {of.why && !moving && <Alert variant="light" color={alerts[of.state] ?? "gray"} mb="md" title={titles[of.state]}>{of.why}{of.since && <span className="soft"> · <Moment at={of.since} /></span>}</Alert>}
      {of.evidence?.winner && isLive(of.state) && <Alert variant="light" color="teal" mb="md" title={`${of.evidence.winner.variant} is better`}>{of.evidence.winner.metric} was shown to be better <Moment at={of.evidence.winner.since} />, and every guardrail is within its final margin. {of.evidence.winner.early ? "That is before a full week: other days may differ." : ""}</Alert>}
      <div style={{ display: "grid", gap: 14 }}>
        <Card title={isLive(of.state) ? `Step ${of.at + 1} of ${steps.length}: ${of.treatment} at ${share(steps[of.at]?.ppm ?? 0)}` : `Ended at step ${of.at + 1} of ${steps.length}`} actions={<span className="small soft">begun <Moment at={of.startedAt} /> by {of.startedBy}</span>}>
          <Ladder of={of} />
          <p className="small soft" style={{ margin: "10px 0 0" }}>{of.treatment} in place of {of.control}{of.where && of.where !== "default" && `, in rule ${of.where}`}, by {of.unit ?? "targetingKey"}.{of.leaseUntil && isLive(of.state) && <> Its lease ends by itself in <Remaining until={Date.parse(of.leaseUntil)} />, unless it is renewed.</>}</p>
          {moving && of.why && <p className="small soft" style={{ margin: "4px 0 0" }}>Last: {of.why}</p>}
        </Card>
        <div className="grid">
          {isLive(of.state) ? <Next of={of} /> : <Card title="How it ended"><dl className="facts"><dt>state</dt><dd>{of.state}</dd><dt>ended</dt><dd><Moment at={of.endedAt} full /></dd><dt>took</dt><dd>{of.endedAt && span(Date.parse(of.endedAt) - Date.parse(of.startedAt))}</dd><dt>reached</dt><dd>{share(steps[of.at]?.ppm ?? 0)}</dd></dl></Card>}
          <Quality of={of} />
        </div>
        <Guardrails of={of} />
        <Charts of={of} all={all} entries={entries} />
        <Card title="Decisions" actions={<a className="small" href={to.audit({ subject: of.flag })}>audit log</a>}>
          {entries.length === 0 ? <Empty title="Nothing decided yet" /> : <ol className="timeline">{entries.map((e) => <Decision key={e.seq} of={e} />)}</ol>}
        </Card>
      </div>
    </Page>
  );
}

// usePoints keeps what is seen while the page is open, and past leaving it for a
// while, since what was measured can be read only as it is measured.
function usePoints(of: Rollout, at: number, entries: AuditEntry[]): Point[] {
  const client = useQueryClient();
  const key = useRef(["points", of.id]).current;
  const seen = client.getQueryData<Point[]>(key) ?? [];
  useEffect(() => {
    const point = pointOf(of, of.endedAt ? Date.parse(of.endedAt) : at);
    if (!point) return;
    client.setQueryData<Point[]>(key, (old = []) => joined(old, point));
  }, [at]); // eslint-disable-line
  return useMemo(() => points(of, entries, seen), [of, entries, seen.length]); // eslint-disable-line
}

function Ladder({ of }: { of: Rollout }) {
  const steps = of.steps ?? [];
  const now = useNow();
  const ended = !isLive(of.state);
  return (
    <ol className="ladder" aria-label="Steps">
      {steps.map((s, i) => {
        const done = i < of.at || of.state === "completed";
        const fell = ended && of.state !== "completed" && i === of.at;
        const height = 5 + 65 * Math.sqrt(s.ppm / 1e6);
        return (
          <li key={i} className={fell ? "fell" : done ? "done" : i === of.at && !ended ? "now" : ""} aria-current={i === of.at ? "step" : undefined} style={i === of.at && !ended ? { ["--part" as string]: `${Math.round(100 * Math.min(1, (now - Date.parse(of.steppedAt)) / Math.max(1, holdOf(s))))}%` } : undefined}>
            <div className="rise" style={{ height }} />
            <div className="foot">{share(s.ppm)}<div className="soft">{i === of.at && !ended ? span(now - Date.parse(of.steppedAt)) : s.hold ?? "5m"}{(s.gates?.length ?? 0) > 0 && " · gate"}</div></div>
          </li>
        );
      })}
    </ol>
  );
}

function Next({ of }: { of: Rollout }) {
  const now = useNow();
  const list = waits(of, now);
  const next = of.steps?.[of.at + 1];
  const missing = list.filter((w) => !w.done);
  const hold = list[0];
  const enough = milliseconds(of.evidence?.enoughIn ?? undefined);
  return (
    <Card title={next ? `Next: ${share(next.ppm)}` : "Next: it completes"}>
      <p style={{ margin: "0 0 8px" }}>{of.state === "paused" ? "Paused by a person: it stays at this step until somebody resumes it. A breach ends it all the same." : missing.length === 0 ? "Everything holds: the controller moves it within a second or two." : hold && !hold.done ? <>At the earliest in <b><Remaining until={hold.until!} /></b>.</> : <>The time is up; it waits for {missing.length === 1 ? "one thing" : `${missing.length} things`}.</>}</p>
      <ul className="rows">{list.map((w) => <WaitLine key={w.what} of={w} />)}</ul>
      {enough !== undefined && enough > 0 && isLive(of.state) && <p className="small" style={{ margin: "8px 0 0" }}>At the rate of the last minutes the evidence is enough <b>in about {span(enough)}</b>.</p>}
      {of.evidence?.why && <p className="small soft" style={{ margin: "8px 0 0" }}>The judge: {of.evidence.why}</p>}
      {of.budget && <BudgetLine of={of} />}
      <Gates of={of} />
    </Card>
  );
}

function WaitLine({ of: w }: { of: Wait }) {
  return (
    <li className="small">
      <div className="line"><span role="img" className={w.done ? "good" : "soft"} aria-label={w.done ? "holds" : "waits"}>{w.done ? <Icon name="check" size={13} /> : "○"}</span><span className="grow">{w.what}</span>{w.until && !w.done ? <Remaining until={w.until} /> : w.about !== undefined && !w.done && <span className="soft">about {span(w.about)}</span>}</div>
      {!w.done && w.part !== undefined && <Meter part={w.part} tone="accent" label={w.what} />}
    </li>
  );
}

// BudgetLine is how much of what it may expose is spent.
function BudgetLine({ of }: { of: Rollout }) {
  const spent = of.evidence, most = of.budget!;
  return <>
    {most.exposedUnits && <div className="small" style={{ marginTop: 8 }}>budget: {count(spent?.units.treatment ?? 0)} of {count(most.exposedUnits)} users<Meter part={(spent?.units.treatment ?? 0) / most.exposedUnits} tone="warn" label="Users of the budget" /></div>}
    {most.unitMinutes && <div className="small" style={{ marginTop: 8 }}>budget: {count(Math.round(spent?.unitMinutes ?? 0))} of {count(most.unitMinutes)} user minutes<Meter part={(spent?.unitMinutes ?? 0) / most.unitMinutes} tone="warn" label="User minutes of the budget" /></div>}
  </>;
}

function Gates({ of }: { of: Rollout }) {
  const begin = useChange();
  const gates = of.steps?.[of.at]?.gates ?? [];
  return <>{gates.map((g, i) => (
    <Why key={i} because={g.agent ? `Only the agent ${g.agent} opens this gate.` : undefined}>
      <Button mt={8} variant="default" disabled={Boolean(g.agent)} onClick={() => begin({ title: "Open the gate", verb: "Open", difference: [`step ${of.at + 1} may be left as far as you are concerned`], change: { method: "POST", path: `/api/v1/rollouts/${of.id}/pass`, body: { gate: i } } })}>Open gate {i + 1}</Button>
    </Why>
  ))}</>;
}

function Actions({ of }: { of: Rollout }) {
  const begin = useChange();
  const flag = useQuery(flagQuery(of.flag)).data;
  const refused = useRefusal({ role: "editor", environment: of.environment, team: flag?.owner });
  if (!isLive(of.state)) return <Button component="a" href={to.newRollout(of.flag, of.environment)} variant="default">Start another</Button>;
  const door = (verb: string) => ({ method: "POST" as const, path: `/api/v1/rollouts/${of.id}/${verb}`, body: {} });
  const config = flag?.environments?.[of.environment];
  const below = of.steps?.[of.at - 1];
  const held = of.state === "paused" || of.state === "holding";
  const buttons: { name: string; icon?: "stop"; red?: "outline" | "filled"; because?: string; wish: () => Wish }[] = [
    held
      ? { name: "Resume", wish: () => ({ title: `Resume the rollout of ${of.flag}`, verb: "Resume", change: door("resume"), difference: ["it goes on from its step as soon as the evidence allows"] }) }
      : { name: "Hold", wish: () => ({ title: `Hold the rollout of ${of.flag}`, verb: "Hold", change: door("pause"), difference: [`it stays at ${share(of.steps?.[of.at]?.ppm ?? 0)} until it is resumed; a breach ends it all the same`] }) },
    { name: "Step back", because: below ? undefined : "It is at its first step: to take it back from everybody, abort it.", wish: () => ({ title: `Step back the rollout of ${of.flag}`, verb: "Step back", change: door("step-back"), difference: [`${of.treatment}: ${share(of.steps![of.at].ppm)} → ${share(below!.ppm)}`, "it stays there, paused, until somebody resumes it"] }) },
    { name: "Abort", red: "outline", wish: () => ({ title: `Abort the rollout of ${of.flag}`, verb: "Abort", danger: true, urgent: true, change: door("abort"), warning: `Everybody there gets ${of.control} again, at once. It cannot be taken up again; a new one begins with the same people.` }) },
    { name: "Kill", icon: "stop", red: "filled", because: config ? undefined : "The flag is not known yet.", wish: () => switchWish(flag!, of.environment, config!, "kill") },
  ];
  return buttons.map(({ name, icon, red, because, wish }) => {
    const why = refused ?? because;
    return (
      <Why key={name} because={why}>
        <Button className={icon && "kill"} variant={red ?? "default"} color={red && "red"} disabled={Boolean(why)} leftSection={icon && <Icon name={icon} size={14} />} onClick={() => begin(wish())}>{name}</Button>
      </Why>
    );
  });
}

// Decision is one entry, and for one that the controller made, in a line what
// it rested on.
function Decision({ of: e }: { of: AuditEntry }) {
  const evidence = evidenceOf(e);
  const known = useQuery(metrics).data;
  return (
    <li className={toneOf(e.action)}>
      <EntryLine of={e} hideSubject within="div" />
      {evidence && <ul className="evidence small soft" aria-label="What it rested on">
        {(evidence.guardrails ?? []).map((g) => <li key={g.metric}><span className="mono">{g.metric}</span> {g.verdict}{g.stream ? `, ${g.stream.state}` : <>: {effectWords(g, isRatio(known, g.metric))}; evidence of harm {number(g.e)} of {number(g.threshold)}</>}</li>)}
        <li>{count(evidence.stepUnits.treatment)} units with it in this step, {count(evidence.stepUnits.control)} without</li>
      </ul>}
    </li>
  );
}
