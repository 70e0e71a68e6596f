// The charts of a rollout: exposure, and of each metric its estimate within its
// interval and margin, and its evidence against the thresholds.
import { useQuery } from "@tanstack/react-query";

import type { AuditEntry, Rollout } from "../api/client";
import { metrics } from "../api/queries";
import { Card, Empty } from "../parts/basics";
import { Chart, type Line } from "../parts/chart";
import { toneOf } from "../parts/entries";
import { count } from "../words/numbers";
import { marginLine, type Point, seriesOf } from "../words/rollout";

export function Charts({ of, all, entries }: { of: Rollout; all: Point[]; entries: AuditEntry[] }) {
  const known = useQuery(metrics).data ?? [];
  if (all.length === 0) return <Card title="Over time"><Empty title="Nothing to draw yet">Points appear as telemetry arrives, and with each decision.</Empty></Card>;
  const t = all.map((p) => p.t);
  const marks = entries.map((e) => ({ t: Date.parse(e.at) / 1000, tone: toneOf(e.action) }));
  const latest = all[all.length - 1].evidence;
  return (
    <>
      <div className="grid">
        <Card title="Exposure">
          <Chart title="Units exposed" t={t} marks={marks} format={count} lines={[
            { label: of.treatment, values: all.map((p) => p.evidence.units.treatment), colour: "accent" },
            { label: of.control, values: all.map((p) => p.evidence.units.control), colour: "soft" },
          ]} />
        </Card>
        <Card title="Share">
          <Chart title={`Share of ${of.treatment}, intended`} t={t} marks={marks} unit=" %" lines={[{ label: of.treatment, values: all.map((p) => p.ppm / 10_000), colour: "accent", step: true }]} />
        </Card>
      </div>
      {(["guardrails", "success"] as const).flatMap((by) => (latest[by] ?? []).map((m) => {
        const s = seriesOf(all, m.metric, by);
        if (m.stream) return <Card key={by + m.metric} title={m.metric}><Chart title="Value and limit" t={s.t} marks={marks} lines={[{ label: "value", values: s.value, colour: "accent" }, ...(m.stream.limit !== undefined ? [{ label: "limit", values: s.limit, colour: "bad" as const, dash: true }] : [])]} /></Card>;
        const metric = known.find((k) => k.key === m.metric);
        const ratio = metric?.type === "rate";
        const margin = by === "guardrails" ? marginLine(m, metric?.better ?? "lower", ratio) : undefined;
        const lines: Line[] = [
          { label: "high", values: s.high, colour: "soft", band: "high" }, { label: "low", values: s.low, colour: "soft", band: "low" }, { label: "estimate", values: s.estimate, colour: "accent" },
          { label: "no effect", values: s.t.map(() => (ratio ? 1 : 0)), colour: "soft", dash: true, width: 1 },
          ...(margin !== undefined ? [{ label: "margin", values: s.t.map(() => margin), colour: "bad" as const, dash: true, width: 1.5 }] : []),
        ];
        return (
          <div className="grid" key={by + m.metric}>
            <Card title={m.metric}><Chart title={ratio ? "Treatment against control, a ratio, with its anytime-valid interval" : "Treatment less control, with its anytime-valid interval"} t={s.t} lines={lines} marks={marks} /></Card>
            <Card title="Evidence">
              <Chart title={by === "guardrails" ? "E-values: at the red line it is taken back, at the green one it may rise" : "E-value: at the line it is a win"} log t={s.t} marks={marks} lines={[
                { label: by === "guardrails" ? "of harm" : "of a win", values: s.e, colour: by === "guardrails" ? "bad" : "good" }, { label: "threshold", values: s.threshold, colour: by === "guardrails" ? "bad" : "good", dash: true, width: 1 },
                ...(by === "guardrails" ? [{ label: "of health", values: s.advance, colour: "good" as const }, { label: "to rise", values: s.advanceThreshold, colour: "good" as const, dash: true, width: 1 }] : []),
              ]} />
            </Card>
          </div>
        );
      }))}
    </>
  );
}
