// Time series. One chart is one uPlot, given new data as it arrives; its colours
// are those of the page.
import "uplot/dist/uPlot.min.css";

import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import uPlot from "uplot";

export interface Line { label: string; values: (number | null)[]; colour: "accent" | "good" | "bad" | "soft" | "warn"; dash?: boolean; band?: "low" | "high"; step?: boolean; width?: number }

interface Props { t: number[]; lines: Line[]; title: string; log?: boolean; unit?: string; height?: number; marks?: { t: number; tone: string }[]; format?: (v: number) => string; focus?: [number, number]; over?: [number, number] }

const hue = (name: string) => {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};

export function Chart({ t, lines, title, log, unit = "", height = 190, marks = [], format, focus, over }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const scheme = useComputedColorScheme("light");
  const shape = lines.map((l) => l.label).join("|") + (log ? "log" : "") + scheme;
  const marked = useRef(marks);
  marked.current = marks;
  const focused = useRef(focus);
  focused.current = focus;
  const spanned = useRef(over);
  spanned.current = over;
  const data = [t, ...lines.map((l) => l.values)] as uPlot.AlignedData;
  const latest = useRef(data);
  latest.current = data;
  useEffect(() => {
    const el = place.current!;
    const axis: uPlot.Axis = { stroke: hue("soft"), grid: { stroke: hue("line"), width: 1 }, ticks: { stroke: hue("line"), width: 1 }, font: "11px system-ui", size: 52 };
    const tell = (v: number | null) => (v === null || v === undefined ? "–" : (format ?? ((n: number) => String(Number(n.toPrecision(4)))))(v) + unit);
    const band = [lines.findIndex((l) => l.band === "high") + 1, lines.findIndex((l) => l.band === "low") + 1];
    const options: uPlot.Options = {
      width: el.clientWidth || 400, height, cursor: { y: false, points: { size: 6 }, sync: { key: "charts" } }, legend: { live: true, markers: { width: 2 } },
      scales: { x: { time: true, range: (_u, min, max) => spanned.current ?? [min, max] }, y: log ? { distr: 3, range: (_u, min, max) => decades(min, max) } : { range: (_u, min, max) => focused.current ?? spread(min, max) } },
      axes: [{ ...axis, size: 46 }, { ...axis, values: (_u, ticks) => ticks.map((v) => (v === null ? "" : tell(v))), ...(log && { splits: (_u: uPlot, _i: number, min: number, max: number) => powers(min, max) }) }],
      series: [{ label: "time" }, ...lines.map((l): uPlot.Series => ({
        label: l.label, stroke: hue(l.colour), width: l.width ?? (l.band ? 0.5 : 2), dash: l.dash ? [6, 4] : undefined, spanGaps: true, points: { show: (u) => u.data[0].length < 3 }, value: (_u, v) => tell(v),
        paths: l.step ? uPlot.paths.stepped!({ align: 1 }) : undefined,
      }))],
      bands: band[0] > 0 && band[1] > 0 ? [{ series: [band[0], band[1]] as [number, number], fill: hue("accent-back") }] : undefined,
      hooks: { draw: [(u) => { drawMarks(u, marked.current); latestLegend(u); }] },
    };
    const made = new uPlot(options, latest.current, el);
    made.root.querySelector("canvas")?.setAttribute("aria-hidden", "true");
    plot.current = made;
    const sized = new ResizeObserver(() => made.setSize({ width: el.clientWidth, height }));
    sized.observe(el);
    return () => {
      sized.disconnect();
      made.destroy();
    };
  }, [shape, height]); // eslint-disable-line
  useEffect(() => plot.current?.setData(data));
  const last = lines.map((l) => `${l.label} ${l.values.at(-1) ?? "unknown"}`).join(", ");
  return <figure style={{ margin: 0 }} aria-label={`${title}: ${last}`}><figcaption className="small soft">{title}</figcaption><div ref={place} className="chart" /></figure>;
}

function spread(min: number | null, max: number | null): [number, number] {
  if (min === null || max === null) return [0, 1];
  const room = (max - min) * 0.08 || Math.abs(max) * 0.1 || 0.1;
  return [min >= 0 && min - room < 0 ? 0 : min - room, max + room];
}

// decades leaves room above a threshold that evidence is still far from.
function decades(min: number | null, max: number | null): [number, number] {
  if (!min || !max || !(max > 0)) return [0.01, 1000];
  return [10 ** Math.floor(Math.log10(Math.max(min, 1e-6)) - 0.01), 10 ** Math.ceil(Math.log10(Math.min(max, 1e12)) + 0.3)];
}

function powers(min: number, max: number): number[] {
  const from = Math.round(Math.log10(min)), to = Math.round(Math.log10(max)), by = Math.ceil((to - from) / 7);
  return Array.from({ length: Math.floor((to - from) / by) + 1 }, (_, i) => 10 ** (from + i * by));
}

// latestLegend tells the latest values, until somebody points at others.
function latestLegend(u: uPlot) {
  if ((u.cursor.left ?? -1) < 0) u.setLegend({ idx: u.data[0].length - 1 }, false);
}

function drawMarks(u: uPlot, marks: { t: number; tone: string }[]) {
  const { ctx, bbox } = u;
  ctx.save();
  for (const m of marks) {
    const x = u.valToPos(m.t, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = hue(m.tone);
    ctx.lineWidth = 1;
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
