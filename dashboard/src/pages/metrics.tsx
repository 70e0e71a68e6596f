// Metrics: by what rollouts are judged, and what they are worth in those that
// are live.
import { NativeSelect, NumberInput, Textarea, TextInput } from "@mantine/core";
import { useRefusal } from "../api/auth";
import { useQueries, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import type { MetricEvidence, Schemas } from "../api/client";
import { metrics, rollout, rollouts } from "../api/queries";
import { Card, Empty, Meter, Page, Ready, Tag } from "../parts/basics";
import { useChange } from "../parts/change";
import { keyPattern } from "../parts/definition";
import { FormPage, Lead, onTop, useRead } from "../parts/form";
import { Icon } from "../parts/icons";
import { to, useAddress } from "../address";
import { fieldDifference } from "../words/difference";
import { milliseconds, number, progress } from "../words/numbers";
import type { Tone } from "../words/serving";

type Metric = Schemas["MetricView"];

const types: Record<Metric["type"], string> = {
  rate: "a share: each observation is 0 or 1, zeros sent too", mean: "the mean of values", quantile: "a quantile of values", ratio: "the sum of one observation over that of another", stream: "one value at a time of a whole service, asked of Prometheus",
};

export function Metrics() {
  const all = useQuery(metrics);
  const [search] = useAddress();
  const edited = all.data?.find((m) => m.key === search.edit);
  const refused = useRefusal({ role: "editor" }, true);
  const live = useLive();
  if (search.edit === "+" || edited) return <Form key={search.edit} of={edited} refused={refused} live={edited && live.get(edited.key)} />;
  return (
    <Page title="Metrics" about="By what rollouts are judged." actions={<Lead href="#/metrics?edit=%2B" because={refused} leftSection={<Icon name="plus" size={14} />}>Create a metric</Lead>}>
      <Card>
        <Ready of={all}>{(list) => list.length === 0 ? <Empty title="No metrics yet" action={<Lead href="#/metrics?edit=%2B" because={refused}>Create the first</Lead>}>Programs send observations, such as an error or a latency; a metric makes a number of them that a rollout can be judged by.</Empty> : (
          <div className="scroll" tabIndex={0} role="region" aria-label="Metrics"><table className="plain cards"><thead><tr><th>Metric</th><th>Type</th><th>Better</th><th>Counts</th><th>Now, in live rollouts</th></tr></thead>
            <tbody>{list.map((m) => (
              <tr key={m.key}><td><a href={`#/metrics?edit=${encodeURIComponent(m.key)}`} className="mono">{m.key}</a><div className="small soft">{m.description}</div></td><td><Tag>{m.type}{m.quantile ? ` ${m.quantile}` : ""}</Tag></td><td data-label="better">{m.better}{m.unit && <span className="soft"> · {m.unit}</span>}</td><td className="small" data-label="counts">{m.type === "stream" ? "the service as a whole" : `each ${m.analysis ?? "unit"}${m.analysis === "request" ? "" : `, within ${m.window ?? "30m"}`}`}</td>
                <td>{(live.get(m.key) ?? []).map((v) => <Judging key={v.id} live={v} metric={m} />)}{!live.has(m.key) && <span className="soft small">judges nothing now</span>}</td></tr>
            ))}</tbody></table></div>
        )}</Ready>
      </Card>
    </Page>
  );
}

interface Live { id: string; flag: string; of: MetricEvidence }

// Judging is what a metric is worth in a rollout now: by arm, how they compare,
// and how near the evidence is to a verdict.
function Judging({ live, metric }: { live: Live; metric: Metric }) {
  const m = live.of, said = (n: number | null | undefined) => (metric.type === "rate" && typeof n === "number" ? `${Number((100 * n).toPrecision(3))} %` : number(n));
  const near = Math.max(progress(m.e, m.threshold), 0);
  return (
    <div className="small judging">
      <div className="line"><a href={to.rollout(live.id)} className="mono">{live.flag}</a><Tag tone={verdicts[m.verdict] ?? "soft"}>{m.verdict}</Tag></div>
      {m.stream ? <div>{said(m.stream.value)}{metric.unit && ` ${metric.unit}`}</div> : <div>{said(m.treatment)} against {said(m.control)}{metric.unit && ` ${metric.unit}`}</div>}
      {!m.stream && <Meter part={near} tone={near >= 1 ? "bad" : near > 0.5 ? "warn" : "accent"} label={`Evidence of harm in ${live.flag}`} />}
    </div>
  );
}

const verdicts: Record<string, Tone> = { healthy: "good", breached: "bad", unsure: "warn" };

function useLive(): Map<string, Live[]> {
  const list = useQuery(rollouts({ live: true })).data ?? [];
  const found = useQueries({ queries: list.slice(0, 10).map((r) => ({ ...rollout(r.id), refetchInterval: 3000 })) });
  const byMetric = new Map<string, Live[]>();
  for (const { data: r } of found) {
    for (const m of [...(r?.evidence?.guardrails ?? []), ...(r?.evidence?.success ?? [])]) {
      byMetric.set(m.metric, [...(byMetric.get(m.metric) ?? []), { id: r!.id, flag: r!.flag, of: m }]);
    }
  }
  return byMetric;
}

function Form({ of: now, refused, live }: { of?: Metric; refused?: string; live?: Live[] }) {
  const [m, setM] = useState<Metric>(now ?? { key: "", type: "rate", better: "lower", version: 0 });
  const [of, readAgain] = useRead(now, (was, is) => setM({ ...is!, ...onTop(m, was, is) }));
  const begin = useChange();
  const set = (part: Partial<Metric>) => setM({ ...m, ...part });
  const stream = m.type === "stream";
  const prometheus = m.of?.prometheus;
  const why = !keyPattern.test(m.key) ? "3 to 128 of a-z, 0-9, dot, dash and underscore." : m.type === "ratio" && !(m.numerator && m.denominator) ? "A ratio names two observations." : m.type === "quantile" && !m.quantile ? "Say which quantile." : stream && !prometheus?.query ? "Write a query." : stream && !prometheus?.threshold && !prometheus?.baseline ? "Give a limit, or let it learn what is normal." : m.window && milliseconds(m.window) === undefined ? "Write the window as 90s, 30m or 24h." : undefined;
  const { version: _v, ...rest } = m;
  const body = Object.fromEntries(Object.entries(rest).filter(([, v]) => v !== undefined && v !== ""));
  const save = () => {
    begin({
      done: () => { location.hash = "#/metrics"; }, stale: readAgain,
      title: of ? `Change metric ${m.key}` : `Create metric ${m.key}`, verb: of ? "Apply" : "Create", difference: fieldDifference(of ?? {}, of ? m : body),
      change: of ? { method: "PUT", path: `/api/v1/metrics/${m.key}`, body: { ...body, ifVersion: of.version } } : { method: "POST", path: "/api/v1/metrics", body },
    });
  };
  const retype = (type: Metric["type"]) => setM({ key: m.key, description: m.description, better: m.better, unit: m.unit, version: m.version, type, ...(type === "quantile" && { quantile: 0.99 }), ...(type === "stream" && { of: { prometheus: { query: "", threshold: { value: 0, for: "1m" } } } }) });
  return (
    <FormPage title={of ? `Change ${of.key}` : "Create a metric"} about={of && <Tag>v{of.version}</Tag>} back="#/metrics" backTo="metrics" verb={of ? "Review and apply" : "Create…"} why={why} refused={refused} submit={save} aside={<>
      {of && <><h2>Now</h2>{live?.length ? live.map((v) => <Judging key={v.id} live={v} metric={of} />) : <p>It judges nothing now.</p>}</>}
      <h2>{m.type}</h2><p>{types[m.type][0].toUpperCase() + types[m.type].slice(1)}.</p>
      <h2>What a program sends</h2>
      {stream ? <p>Nothing: the server asks Prometheus, for the service as a whole.</p> : <pre className="json" tabIndex={0}>{`client.Track(ctx, "${m.type === "ratio" ? m.numerator || "numerator" : m.key || "checkout.errors"}", user, ${m.type === "rate" ? "0 or 1" : "value"})`}</pre>}
      <p>A metric that judges a live rollout stays as it is until that ends.</p>
    </>}>
      <TextInput label="Key" description="Programs send observations of this name" placeholder="checkout.errors" required readOnly={Boolean(of)} className="mono" value={m.key} onChange={(e) => set({ key: e.currentTarget.value })} autoFocus={!of} />
      <TextInput label="Description" value={m.description ?? ""} onChange={(e) => set({ description: e.currentTarget.value || undefined })} />
      <div className="line foot">
        <NativeSelect label="Type" value={m.type} onChange={(e) => retype(e.currentTarget.value as Metric["type"])} data={Object.keys(types)} />
        <NativeSelect label="Better is" value={m.better} onChange={(e) => set({ better: e.currentTarget.value as Metric["better"] })} data={["lower", "higher"]} />
        <TextInput label="Unit" placeholder="ms" w={90} value={m.unit ?? ""} onChange={(e) => set({ unit: e.currentTarget.value || undefined })} />
      </div>
      {m.type === "quantile" && <NumberInput label="Quantile" w={120} min={0.01} max={0.999} step={0.01} decimalScale={3} value={m.quantile ?? ""} onChange={(v) => set({ quantile: Number(v) || undefined })} />}
      {m.type === "ratio" && <div className="line"><TextInput label="Numerator" value={m.numerator ?? ""} onChange={(e) => set({ numerator: e.currentTarget.value })} /><TextInput label="Denominator" value={m.denominator ?? ""} onChange={(e) => set({ denominator: e.currentTarget.value })} /></div>}
      {!stream && <div className="line foot">
        <NativeSelect label="One trial is" description="Users who come often count once by unit" value={m.analysis ?? "unit"} onChange={(e) => set({ analysis: e.currentTarget.value as Metric["analysis"] })} data={[{ value: "unit", label: "a unit (a user)" }, { value: "request", label: "a request" }]} />
        <TextInput label="Window" description="after first exposure" w={130} placeholder="30m" value={m.window ?? ""} onChange={(e) => set({ window: e.currentTarget.value || undefined })} />
        {m.type !== "rate" && <NumberInput label="Cap" description="larger values count as this" w={150} min={0} value={m.cap ?? ""} onChange={(v) => set({ cap: Number(v) || undefined })} />}
      </div>}
      {stream && <Prometheus of={prometheus ?? { query: "" }} onChange={(p) => set({ of: { prometheus: p } })} />}
    </FormPage>
  );
}

function Prometheus({ of, onChange }: { of: Schemas["PrometheusSource"]; onChange: (p: Schemas["PrometheusSource"]) => void }) {
  const limited = Boolean(of.threshold);
  return (
    <>
      <Textarea label="Query" description="PromQL. {variant} stands for the arm, {rollout} for the rollout." className="mono" autosize minRows={2} value={of.query} onChange={(e) => onChange({ ...of, query: e.currentTarget.value })} />
      <div className="line foot">
        <NativeSelect label="Trips when" value={limited ? "limit" : "baseline"} onChange={(e) => onChange(e.currentTarget.value === "limit" ? { query: of.query, every: of.every, threshold: { value: 0, for: "1m" } } : { query: of.query, every: of.every, baseline: {} })} data={[{ value: "limit", label: "beyond a limit" }, { value: "baseline", label: "far from normal" }]} />
        {limited && <><NumberInput label="Limit" w={120} value={of.threshold!.value} onChange={(v) => onChange({ ...of, threshold: { ...of.threshold!, value: Number(v) } })} /><TextInput label="For" w={90} value={of.threshold!.for ?? ""} onChange={(e) => onChange({ ...of, threshold: { ...of.threshold!, for: e.currentTarget.value || undefined } })} /></>}
        <TextInput label="Asked every" w={110} placeholder="15s" value={of.every ?? ""} onChange={(e) => onChange({ ...of, every: e.currentTarget.value || undefined })} />
      </div>
    </>
  );
}
