// The charts of a rollout: exposure, and of each metric its estimate within its
// interval and margin, and its evidence against the thresholds.
import { useQuery } from "@tanstack/react-query";

import type { AuditEntry, Rollout } from "../api/client";
import { metrics } from "../api/queries";
import { Card, Empty } from "../parts/basics";
import { Chart, type Line } from "../parts/chart";
import { toneOf } from "../parts/entries";
import { count } from "../words/numbers";
import { evidenceOver, isRatio, marginLine, type Point, seriesOf, sharesOver, unitsOver } from "../words/rollout";

export function Charts({ of, all, entries }: { of: Rollout; all: Point[]; entries: AuditEntry[] }) {
  const known = useQuery(metrics).data ?? [];
  if (all.length === 0) return <Card title="Over time"><Empty title="Nothing to draw yet">Points appear as telemetry arrives, and with each decision.</Empty></Card>;
  const t = all.map((p) => p.t);
  const marks = entries.map((e) => ({ t: Date.parse(e.at) / 1000, tone: toneOf(e.action) }));
  const over: [number, number] = [Date.parse(of.startedAt) / 1000, Math.max(t[t.length - 1], Date.parse(of.startedAt) / 1000 + 5)]; // all charts have one time
  const latest = all[all.length - 1].evidence;
  const units = unitsOver(all), shares = sharesOver(of, entries, 1000 * t[t.length - 1]);
  return (
    <>
      <div className="grid">
        <Card title="Exposure">
          <Chart title="Units exposed" t={units.t} marks={marks} over={over} format={count} lines={[
            { label: of.treatment, values: units.treatment, colour: "accent" },
            { label: of.control, values: units.control, colour: "soft" },
          ]} />
        </Card>
        <Card title="Share">
          <Chart title={`Share of ${of.treatment}, as decided`} t={shares.t} marks={marks} over={over} unit=" %" lines={[{ label: of.treatment, values: shares.values, colour: "accent", step: true }]} focus={[0, Math.min(100, 1.15 * Math.max(1, ...shares.values.map(Number)))]} />
        </Card>
      </div>
      {(["guardrails", "success"] as const).flatMap((by) => (latest[by] ?? []).map((m) => {
        const s = seriesOf(all, m.metric, by);
        if (m.stream) return <Card key={by + m.metric} title={m.metric}><Chart title="Value and limit" t={s.t} marks={marks} over={over} lines={[{ label: "value", values: s.value, colour: "accent" }, ...(m.stream.limit !== undefined ? [{ label: "limit", values: s.limit, colour: "bad" as const, dash: true }] : [])]} /></Card>;
        const metric = known.find((k) => k.key === m.metric);
        const ratio = isRatio(known, m.metric), grown = evidenceOver(all, m.metric, by);
        const margin = by === "guardrails" ? marginLine(m, metric?.better ?? "lower", ratio) : undefined;
        const lines: Line[] = [
          { label: "high", values: s.high, colour: "soft", band: "high" }, { label: "low", values: s.low, colour: "soft", band: "low" }, { label: "estimate", values: s.estimate, colour: "accent" },
          { label: "no effect", values: s.t.map(() => (ratio ? 1 : 0)), colour: "soft", dash: true, width: 1 },
          ...(margin !== undefined ? [{ label: "margin", values: s.t.map(() => margin), colour: "bad" as const, dash: true, width: 1.5 }] : []),
          ...(by === "guardrails" && m.advanceThreshold > 0 && m.advanceMargin !== margin && metric?.better === "lower" && !(ratio && m.margin?.absolute) ? [{ label: "to rise", values: s.next, colour: "good" as const, dash: true, width: 1.5 }] : []),
        ];
        return (
          <div className="grid" key={by + m.metric}>
            <Card title={`${m.metric}: effect`}><Chart title={ratio ? "Treatment against control, a ratio, with its anytime-valid interval" : "Treatment less control, with its anytime-valid interval"} t={s.t} lines={lines} marks={marks} over={over} focus={focusOf(s, margin, ratio)} /></Card>
            <Card title={`${m.metric}: evidence`}>
              <Chart title={by === "guardrails" ? "E-values, on a logarithmic scale: at the red line it is taken back, at the green one it may rise" : "E-value: at the line it is a win"} log t={grown.t} marks={marks} over={over} lines={[
                { label: by === "guardrails" ? "of harm" : "of a win", values: grown.e, colour: by === "guardrails" ? "bad" : "good" }, { label: by === "guardrails" ? "taken back at" : "a win at", values: grown.threshold, colour: by === "guardrails" ? "bad" : "good", dash: true, width: 1 },
                ...(by === "guardrails" ? [{ label: "of health", values: grown.advance, colour: "good" as const }, { label: "may rise at", values: grown.advanceThreshold, colour: "good" as const, dash: true, width: 1 }] : []),
              ]} />
            </Card>
          </div>
        );
      }))}
    </>
  );
}

// focusOf is what is worth seeing of an effect: where it stands now and the
// margin, twice as wide. The first minutes' intervals run far off the chart.
function focusOf(s: ReturnType<typeof seriesOf>, margin: number | undefined, ratio: boolean): [number, number] | undefined {
  const low = s.low.findLast((v) => v !== null), high = s.high.findLast((v) => v !== null);
  if (typeof low !== "number" || typeof high !== "number") return undefined;
  const all = [low, high, ratio ? 1 : 0, ...(margin === undefined ? [] : [margin])];
  const [min, max] = [Math.min(...all), Math.max(...all)], room = (max - min) / 2;
  return [ratio ? Math.max(0, min - room) : min - room, max + room];
}
