// A rollout, live: where it stands, what it waits for, what the judge knows, and
// what was decided.
import { Alert, Button, SimpleGrid } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useEffect, useMemo, useRef } from "react";

import type { AuditEntry, Rollout } from "../api/client";
import { audit, flag as flagQuery, isLive, metrics, rollout as rolloutQuery } from "../api/queries";
import { Card, Empty, Meter, Moment, Page, Ready, Remaining, Tag, useNow, Why } from "../parts/basics";
import { useChange } from "../parts/change";
import { EntryLine, toneOf } from "../parts/entries";
import { Icon } from "../parts/icons";
import { stateTone } from "../parts/rollout-line";
import { to } from "../routes";
import { count, interval, number, progress, share, span } from "../words/numbers";
import { type Point, pointOf, points, type Wait, waits } from "../words/rollout";
import { switchWish } from "./flag";
import { Charts } from "./rollout-charts";

export function RolloutPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const of = useQuery(rolloutQuery(id));
  if (of.data === undefined) return <Page title="Rollout"><Ready of={of}>{() => null}</Ready></Page>;
  return <One key={of.data.id} of={of.data} at={of.dataUpdatedAt} />;
}

function One({ of, at }: { of: Rollout; at: number }) {
  const log = useQuery(audit({ subject: of.flag, environment: of.environment }, 200));
  const entries = useMemo(() => (log.data ?? []).filter((e) => e.edits?.some((x) => x.noun === "rollout" && x.key === of.id)), [log.data, of.id]);
  const all = usePoints(of, at, entries);
  const steps = of.steps ?? [];
  return (
    <Page title={<><a href={to.flag(of.flag, of.environment)} style={{ color: "inherit" }}>{of.flag}</a> <span className="soft">in {of.environment}</span></>} about={<Tag tone={stateTone[of.state] ?? "soft"}>{of.state}</Tag>} actions={<Actions of={of} />}>
      {of.why && <Alert variant="light" color={of.state === "aborted" ? "red" : of.state === "completed" ? "teal" : isLive(of.state) ? "orange" : "gray"} mb="md" title={of.state === "aborted" ? "Taken back from everybody" : undefined}>{of.why}{of.since && <span className="soft"> · <Moment at={of.since} /></span>}</Alert>}
      <div style={{ display: "grid", gap: 14 }}>
        <Card title={isLive(of.state) ? `Step ${of.at + 1} of ${steps.length}: ${of.treatment} at ${share(steps[of.at]?.ppm ?? 0)}` : `Ended at step ${of.at + 1} of ${steps.length}`} actions={<span className="small soft">begun <Moment at={of.startedAt} /> by {of.startedBy}</span>}>
          <Ladder of={of} />
          <p className="small soft" style={{ margin: "10px 0 0" }}>{of.treatment} in place of {of.control}{of.where && of.where !== "default" && `, in rule ${of.where}`}, by {of.unit ?? "targetingKey"}.{of.leaseUntil && isLive(of.state) && <> Its lease ends by itself in <Remaining until={Date.parse(of.leaseUntil)} />, unless it is renewed.</>}</p>
        </Card>
        <div className="grid">
          {isLive(of.state) ? <Next of={of} /> : <Card title="How it ended"><dl className="facts"><dt>state</dt><dd>{of.state}</dd><dt>ended</dt><dd><Moment at={of.endedAt} full /></dd><dt>took</dt><dd>{of.endedAt && span(Date.parse(of.endedAt) - Date.parse(of.startedAt))}</dd><dt>reached</dt><dd>{share(steps[of.at]?.ppm ?? 0)}</dd></dl></Card>}
          <Quality of={of} />
        </div>
        <Metrics of={of} />
        <Charts of={of} all={all} entries={entries} />
        <Card title="Decisions" actions={<a className="small" href={to.audit({ subject: of.flag })}>audit log</a>}>
          {entries.length === 0 ? <Empty title="Nothing decided yet" /> : <ol className="timeline">{entries.map((e) => <li key={e.seq} className={toneOf(e.action)}><EntryLine of={e} hideSubject within="div" /></li>)}</ol>}
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
    const point = pointOf(of, at);
    if (!point) return;
    client.setQueryData<Point[]>(key, (old = []) => (old.at(-1)?.t === point.t ? old : [...old.slice(-5000), point]));
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
          <li key={i} className={fell ? "fell" : done ? "done" : i === of.at && !ended ? "now" : ""} aria-current={i === of.at ? "step" : undefined}>
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
  return (
    <Card title={next ? `Next: ${share(next.ppm)}` : "Next: it completes"}>
      <p style={{ margin: "0 0 8px" }}>{of.state === "paused" ? "Paused by a person: it stays at this step until somebody resumes it. A breach ends it all the same." : missing.length === 0 ? "Everything holds: the controller moves it within a second or two." : hold && !hold.done ? <>At the earliest in <b><Remaining until={hold.until!} /></b>.</> : <>The time is up; it waits for {missing.length === 1 ? "one thing" : `${missing.length} things`}.</>}</p>
      <ul className="rows">{list.map((w) => <WaitLine key={w.what} of={w} />)}</ul>
      {of.evidence?.why && <p className="small soft" style={{ marginBottom: 0 }}>The judge: {of.evidence.why}</p>}
      <Gates of={of} />
    </Card>
  );
}

function WaitLine({ of: w }: { of: Wait }) {
  return (
    <li className="small">
      <div className="line"><span className={w.done ? "good" : "soft"} aria-label={w.done ? "holds" : "waits"}>{w.done ? <Icon name="check" size={13} /> : "○"}</span><span className="grow">{w.what}</span>{w.until && !w.done && <Remaining until={w.until} />}</div>
      {!w.done && w.part !== undefined && <Meter part={w.part} tone="accent" label={w.what} />}
    </li>
  );
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

function Quality({ of }: { of: Rollout }) {
  const e = of.evidence;
  if (!e) return <Card title="Data"><Empty title="Nothing heard yet">Programs send exposures and observations through their SDKs; the judge looks at each batch. No data is never health.</Empty></Card>;
  const joined = e.joined + e.unjoined;
  const steps = of.steps ?? [];
  const expected = (steps[e.step]?.ppm ?? 0) / 1e6, got = e.stepUnits.treatment / Math.max(1, e.stepUnits.treatment + e.stepUnits.control);
  return (
    <Card title="Data">
      <dl className="facts">
        <dt>units</dt><dd>{count(e.units.treatment)} treatment, {count(e.units.control)} control</dd>
        <dt>this step</dt><dd>{count(e.stepUnits.treatment)} and {count(e.stepUnits.control)}: {(100 * got).toPrecision(3)} % got {of.treatment}, {(100 * expected).toPrecision(3)} % should</dd>
        <dt>sample ratio</dt><dd>{e.srm.mismatch ? <Tag tone="bad">mismatch: the arms are not comparable</Tag> : <Tag tone="good">as the weights say</Tag>} <span className="soft small">Bayes factor {number(e.srm.bayesFactor)} of {number(e.srm.threshold)}</span></dd>
        <dt>last heard</dt><dd>treatment <Moment at={e.last.treatment} />, control <Moment at={e.last.control} /></dd>
        <dt>lag</dt><dd>{e.lag}</dd>
        <dt>unjoined</dt><dd>{joined === 0 ? "no observations yet" : `${((100 * e.unjoined) / joined).toPrecision(2)} % of ${count(joined)} observations`}</dd>
        <dt>crossed</dt><dd>{count(e.crossed)} units seen in both arms</dd>
        <dt>losses</dt><dd>{e.lossy ? <Tag tone="bad">{e.lossy}</Tag> : "none known"}</dd>
      </dl>
    </Card>
  );
}

const verdicts: Record<string, "good" | "bad" | "soft"> = { healthy: "good", breached: "bad", unsure: "soft" };

function Metrics({ of }: { of: Rollout }) {
  const e = of.evidence;
  const known = useQuery(metrics).data ?? [];
  const rows = [...(e?.guardrails ?? []).map((m) => ({ m, role: "guardrail" })), ...(e?.success ?? []).map((m) => ({ m, role: "success" }))];
  if (rows.length === 0) return (of.guardrails?.length ?? 0) === 0 ? <Alert variant="light" color="orange">It has no guardrails: it rises by the clock alone, and nothing takes it back but a person.</Alert> : null;
  return (
    <Card title="Guardrails" actions={<Tag tone={verdicts[e!.verdict] ?? "soft"}>{e!.verdict}</Tag>}>
      <div className="scroll" tabIndex={0} role="region" aria-label="Guardrails">
        <table className="plain">
          <thead><tr><th>Metric</th><th>Verdict</th><th className="num">Control</th><th className="num">Treatment</th><th>Against control</th><th>Evidence of harm</th><th>Evidence of health</th></tr></thead>
          <tbody>{rows.map(({ m, role }) => (
            <tr key={role + m.metric}>
              <td><span className="mono">{m.metric}</span><div className="small soft">{role === "success" ? "success" : marginWords(m.margin)}, {known.find((k) => k.key === m.metric)?.better ?? "lower"} is better</div></td>
              <td><Tag tone={verdicts[m.verdict] ?? "soft"}>{m.verdict}</Tag>{m.why && <div className="small soft" style={{ maxWidth: 240 }}>{m.why}</div>}</td>
              {m.stream ? <td colSpan={5}>{m.stream.state}{m.stream.value !== null && `, at ${number(m.stream.value)}`}{m.stream.limit !== undefined && `, limit ${number(m.stream.limit)}`}{m.stream.noData && <div className="small soft">{m.stream.noData}</div>}</td> : (
                <>
                  <td className="num">{number(m.control)}<div className="small soft">{count(m.n.control)}</div></td>
                  <td className="num">{number(m.treatment)}<div className="small soft">{count(m.n.treatment)}</div></td>
                  <td>{interval(m.estimate, m.interval)}</td>
                  <td style={{ minWidth: 120 }}><Meter part={progress(m.e, m.threshold)} tone={role === "success" ? "good" : "bad"} label={`Evidence for ${m.metric}`} /><div className="small soft">{number(m.e)} of {number(m.threshold)}</div></td>
                  <td style={{ minWidth: 120 }}>{m.advanceThreshold > 0 ? <><Meter part={progress(m.advanceE, m.advanceThreshold)} tone="good" label={`Evidence that ${m.metric} is healthy`} /><div className="small soft">{number(m.advanceE)} of {number(m.advanceThreshold)}</div></> : <span className="soft">–</span>}</td>
                </>
              )}
            </tr>
          ))}</tbody>
        </table>
      </div>
    </Card>
  );
}

export function marginWords(m: { relative?: number; absolute?: number } | undefined): string {
  if (m?.absolute) return `at most ${number(m.absolute)} worse`;
  return m?.relative ? `at most ${number(100 * m.relative)} % worse` : "no worse at all";
}

function Actions({ of }: { of: Rollout }) {
  const begin = useChange();
  const flag = useQuery(flagQuery(of.flag)).data;
  if (!isLive(of.state)) return <Button component="a" href={to.newRollout(of.flag, of.environment)} variant="default">Start another</Button>;
  const door = (verb: string) => ({ method: "POST" as const, path: `/api/v1/rollouts/${of.id}/${verb}`, body: {} });
  const config = flag?.environments?.[of.environment];
  return (
    <SimpleGrid cols={3} spacing={8}>
      {of.state === "paused" || of.state === "holding"
        ? <Button variant="default" onClick={() => begin({ title: `Resume the rollout of ${of.flag}`, verb: "Resume", change: door("resume"), difference: ["it goes on from its step as soon as the evidence allows"] })}>Resume</Button>
        : <Button variant="default" onClick={() => begin({ title: `Pause the rollout of ${of.flag}`, verb: "Pause", change: door("pause"), difference: ["it stays at its step until it is resumed; a breach ends it all the same"] })}>Pause</Button>}
      <Button color="red" variant="outline" onClick={() => begin({ title: `Abort the rollout of ${of.flag}`, verb: "Abort", danger: true, urgent: true, change: door("abort"), warning: `Everybody there gets ${of.control} again, at once. It cannot be taken up again; a new one begins with the same people.` })}>Abort</Button>
      <Button color="red" disabled={!config} leftSection={<Icon name="stop" size={14} />} onClick={() => flag && config && begin(switchWish(flag, of.environment, config, "kill"))}>Kill</Button>
    </SimpleGrid>
  );
}
