// What each guardrail says now: both arms, their difference, and how far the
// evidence has come. A guardrail by an attribute has a row for each value.
import { Alert } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import type { MetricEvidence, Rollout } from "../api/client";
import { metrics } from "../api/queries";
import { Card, Meter, Moment, Tag } from "../parts/basics";
import { count, number, progress } from "../words/numbers";
import { effectWords, isRatio, marginWords } from "../words/rollout";

const verdicts: Record<string, "good" | "bad" | "soft"> = { healthy: "good", breached: "bad", unsure: "soft" };

export function Guardrails({ of }: { of: Rollout }) {
  const e = of.evidence;
  const known = useQuery(metrics).data ?? [];
  if (!e || (e.guardrails?.length ?? 0) + (e.success?.length ?? 0) === 0) {
    return (of.guardrails?.length ?? 0) === 0 ? <Alert variant="light" color="orange">It has no guardrails: it rises once a step is over and its programs are heard, and nothing takes it back but a person.</Alert> : null;
  }
  const better = (m: MetricEvidence) => known.find((k) => k.key === m.metric)?.better ?? "lower";
  return (
    <Card title="Guardrails" actions={<Tag tone={verdicts[e.verdict] ?? "soft"}>{e.verdict}</Tag>}>
      <div className="scroll" tabIndex={0} role="region" aria-label="Guardrails">
        <table className="plain">
          <thead><tr><th>Metric</th><th>Verdict</th><th className="num">{of.control}</th><th className="num">{of.treatment}</th><th>{of.treatment} against {of.control}</th><th title="At its threshold it is taken back">Evidence of harm</th><th title="At its threshold it may rise">Evidence of health</th></tr></thead>
          <tbody>
            {(e.guardrails ?? []).map((m) => <Row key={m.metric} of={m} role="guardrail" better={better(m)} ratio={isRatio(known, m.metric)} />)}
            {(e.success ?? []).map((m) => <Row key={`success ${m.metric}`} of={m} role="success" better={better(m)} ratio={isRatio(known, m.metric)} />)}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

function Row({ of: m, role, better, ratio }: { of: MetricEvidence; role: "guardrail" | "success"; better: string; ratio: boolean }) {
  return (
    <>
      <tr>
        <td><span className="mono">{m.metric}</span><div className="small soft">{role === "success" ? "success" : marginWords(m.margin)}, {better} is better{m.by && `, on each ${m.by}`}</div></td>
        <td><Tag tone={verdicts[m.verdict] ?? "soft"}>{role === "success" && m.verdict === "healthy" ? "better" : m.verdict}</Tag>{m.why && <div className="small soft" style={{ maxWidth: 220 }}>{m.why}</div>}{m.firstTripped && <div className="small soft">tripped <Moment at={m.firstTripped} /></div>}</td>
        {m.stream ? <td colSpan={5}><Stream of={m.stream} /></td> : <Numbers of={m} role={role} ratio={ratio} />}
      </tr>
      {(m.slots ?? []).map((s) => (
        <tr key={s.value} className="slot">
          <td><span className="soft">{m.by} </span><span className="mono">{s.value}</span></td><td><Tag tone={verdicts[s.verdict] ?? "soft"}>{s.verdict}</Tag></td><Numbers of={s} role={role} ratio={ratio} />
        </tr>
      ))}
      {m.others && m.others.control + m.others.treatment > 0 && <tr className="slot"><td className="small soft">other values of {m.by}, or none</td><td className="small soft">no test of their own</td><td className="num small soft">{count(m.others.control)}</td><td className="num small soft">{count(m.others.treatment)}</td><td colSpan={3} /></tr>}
    </>
  );
}

function Numbers({ of: m, role, ratio }: { of: MetricEvidence; role: "guardrail" | "success"; ratio: boolean }) {
  return (
    <>
      <td className="num">{number(m.control)}<div className="small soft">{count(m.n.control)} trials</div></td>
      <td className="num">{number(m.treatment)}<div className="small soft">{count(m.n.treatment)} trials</div></td>
      <td>{effectWords(m, ratio)}</td>
      <td style={{ minWidth: 120 }}><Meter part={progress(m.e, m.threshold)} tone={role === "success" ? "good" : "bad"} label={`Evidence ${role === "success" ? "for" : "against"} ${m.metric}${m.value ? ` on ${m.value}` : ""}`} /><div className="small soft">{number(m.e)} of {number(m.threshold)}</div></td>
      <td style={{ minWidth: 120 }}>{m.advanceThreshold > 0 ? <><Meter part={progress(m.advanceE, m.advanceThreshold)} tone="good" label={`Evidence that ${m.metric}${m.value ? ` on ${m.value}` : ""} is healthy`} /><div className="small soft">{number(m.advanceE)} of {number(m.advanceThreshold)}</div></> : <span className="soft">–</span>}</td>
    </>
  );
}

function Stream({ of }: { of: NonNullable<MetricEvidence["stream"]> }) {
  return (
    <>
      {of.state}{of.value !== null && `, at ${number(of.value)}`}{of.limit !== undefined && `, limit ${number(of.limit)}`}{of.normal !== undefined && `, normally ${number(of.normal)}`}{of.since && <> since <Moment at={of.since} /></>}
      {of.alarmAt ? <Meter part={(of.score ?? 0) / of.alarmAt} tone="bad" label="Way to an alarm" /> : null}
      {of.noData && <div className="small soft">{of.noData}</div>}
    </>
  );
}
