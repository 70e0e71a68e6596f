// A plan for a rollout, and what it means before it begins: how long it takes at
// least, and how much harm it would notice.
import { ActionIcon, Alert, Button, NativeSelect, NumberInput, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";

import type { Flag, Schemas } from "../api/client";
import { environments, flag as flagQuery, flags, metrics } from "../api/queries";
import { Card, Page, Tag } from "../parts/basics";
import { useChange } from "../parts/change";
import { Icon } from "../parts/icons";
import { useAddress } from "../routes";
import { milliseconds, percentToPPM, share, span } from "../words/numbers";
import { detectable, least } from "../words/rollout";
import { serveWords } from "../words/serving";

type Step = Schemas["Step"];
type Guard = { metric: string; kind: "relative" | "absolute"; size: number };

const presets: Record<string, { about: string; steps: Step[] }> = {
  careful: { about: "0.1 % to 100 % over three days", steps: [{ ppm: 1000, hold: "30m" }, { ppm: 10_000, hold: "2h" }, { ppm: 50_000, hold: "6h" }, { ppm: 200_000, hold: "12h" }, { ppm: 500_000, hold: "24h" }, { ppm: 1_000_000, hold: "24h" }] },
  usual: { about: "1 % to 100 % within a day", steps: [{ ppm: 10_000, hold: "30m" }, { ppm: 50_000, hold: "1h" }, { ppm: 200_000, hold: "2h" }, { ppm: 500_000, hold: "4h" }, { ppm: 1_000_000, hold: "12h" }] },
  quick: { about: "1 % to 100 % within half an hour", steps: [{ ppm: 10_000, hold: "5m" }, { ppm: 100_000, hold: "5m" }, { ppm: 500_000, hold: "10m" }, { ppm: 1_000_000, hold: "10m" }] },
};

interface PlanDraft { treatment: string; control: string; where: string; unit: string; steps: Step[]; then: "keep" | "off"; guardrails: Guard[]; success: string; alpha: number; onBreach: "abort" | "stepBack" | "hold"; onUnsure: "hold" | "advance" }

export function NewRollout() {
  const [search, setSearch] = useAddress();
  const known = useQuery(environments).data ?? [];
  const keys = useQuery(flags()).data ?? [];
  const flag = useQuery({ ...flagQuery(search.flag ?? ""), enabled: Boolean(search.flag && keys.some((f) => f.key === search.flag)) }).data;
  const environment = search.environment ?? known[0]?.key ?? "";
  return (
    <Page title="Start a rollout">
      <Card>
        <div className="line foot">
          <TextInput label="Flag" list="flags-known" placeholder="key" className="grow mono" miw={260} value={search.flag ?? ""} onChange={(e) => setSearch({ flag: e.currentTarget.value || undefined })} error={search.flag && keys.length > 0 && !keys.some((f) => f.key === search.flag) ? "There is no such flag" : undefined} />
          <datalist id="flags-known">{keys.slice(0, 2000).map((f) => <option key={f.key} value={f.key} />)}</datalist>
          <NativeSelect label="Environment" value={environment} onChange={(e) => setSearch({ environment: e.currentTarget.value })} data={known.map((e) => e.key)} />
        </div>
        {!flag && <p className="small soft">Choose a flag that is enabled where it is to rise, and whose place serves one plain variant.</p>}
      </Card>
      {flag && environment && flag.environments?.[environment] && <Plan key={flag.key + environment} of={flag} environment={environment} />}
    </Page>
  );
}

// plain are the places that serve one variant, which alone a rollout can replace.
function places(of: Flag, environment: string): { where: string; variant?: string; label: string }[] {
  const c = of.environments![environment];
  return [{ where: "default", variant: c.default.variant, label: `the default (${serveWords(c.default)})` }, ...(c.rules ?? []).map((r) => ({ where: r.id, variant: r.serve.variant, label: `rule ${r.id} (${serveWords(r.serve)})` }))];
}

function Plan({ of, environment }: { of: Flag; environment: string }) {
  const all = places(of, environment), config = of.environments![environment];
  const start = all.find((p) => p.variant) ?? all[0];
  const variants = Object.keys(of.variants);
  const measured = useQuery(metrics).data ?? [];
  const [d, setD] = useState<PlanDraft>({
    control: start.variant ?? "", treatment: variants.find((v) => v !== start.variant) ?? "", where: start.where, unit: "targetingKey", steps: presets.usual.steps, then: "keep", guardrails: [], success: "", alpha: 0.01, onBreach: "abort", onUnsure: "hold",
  });
  const begin = useChange();
  const navigate = useNavigate();
  const set = (part: Partial<PlanDraft>) => setD({ ...d, ...part });
  const why = config.killed ? `It is killed in ${environment}: resume it first.` : !config.enabled ? `It is not enabled in ${environment}: a rollout would reach nobody.` : config.rollout ? "A rollout is live here already." : !d.control ? "That place serves a split: a rollout replaces one plain variant." : troubleOf(d);
  return (
    <div style={{ display: "grid", gap: 14, marginTop: 14 }}>
      <Card title="What rises">
        <div className="line foot">
          <NativeSelect label="Place" value={d.where} onChange={(e) => { const p = all.find((x) => x.where === e.currentTarget.value)!; set({ where: p.where, control: p.variant ?? "", treatment: d.treatment === p.variant ? variants.find((v) => v !== p.variant) ?? "" : d.treatment }); }} data={all.map((p) => ({ value: p.where, label: p.label }))} />
          <NativeSelect label="Treatment" description={`in place of ${d.control || "–"}`} value={d.treatment} onChange={(e) => set({ treatment: e.currentTarget.value })} data={variants.filter((v) => v !== d.control)} />
          <TextInput label="Unit" description="what moves as one" value={d.unit} onChange={(e) => set({ unit: e.currentTarget.value })} />
          <NativeSelect label="Then" value={d.then} onChange={(e) => set({ then: e.currentTarget.value as "keep" | "off" })} data={[{ value: "keep", label: "keep it" }, { value: "off", label: "take it back (a pulse)" }]} />
        </div>
      </Card>
      <Steps d={d} set={set} />
      <Guards d={d} set={set} measured={measured} />
      <Expected d={d} />
      <div className="line">
        <Button size="sm" disabled={Boolean(why)} onClick={() => begin({
          title: `Start the rollout of ${of.key} in ${environment}`, verb: "Start", change: { method: "POST", path: "/api/v1/rollouts", body: bodyOf(d, of.key, environment) },
          difference: [`${d.treatment} for ${share(d.steps[0].ppm)} at once, in place of ${d.control}`, `then ${d.steps.slice(1).map((s) => share(s.ppm)).join(", ") || "no further"}, over ${span(least(d.steps))} at least`, d.guardrails.length ? `taken back by ${d.guardrails.map((g) => g.metric).join(", ")}` : "taken back by nobody but a person: it has no guardrails"],
          warning: d.guardrails.length ? undefined : "Without guardrails it rises by the clock alone.",
          done: (answer) => { const made = answer.body as { id?: string; steps?: unknown }; if (made.id && made.steps) void navigate({ to: "/rollouts/$id", params: { id: made.id } as never }); },
        })}>Start…</Button>
        {why && <span className="small bad">{why}</span>}
      </div>
    </div>
  );
}

function troubleOf(d: PlanDraft): string | undefined {
  if (d.steps.length === 0) return "A rollout has at least one step.";
  if (d.steps.some((s, i) => i > 0 && s.ppm <= d.steps[i - 1].ppm)) return "Shares must rise from step to step.";
  const bad = d.steps.find((s) => milliseconds(s.hold) === undefined || (s.lease && milliseconds(s.lease) === undefined));
  if (bad) return `${share(bad.ppm)}: write times as 90s, 10m or 24h.`;
  if (d.guardrails.some((g) => !g.metric)) return "A guardrail names no metric.";
  return undefined;
}

function bodyOf(d: PlanDraft, flag: string, environment: string): Record<string, unknown> {
  return {
    flag, environment, treatment: d.treatment, control: d.control, where: d.where, unit: d.unit, then: d.then, alpha: d.alpha, onBreach: d.onBreach, onUnsure: { then: d.onUnsure },
    steps: d.steps.map((s) => ({ ppm: s.ppm, hold: s.hold, ...(s.lease && { lease: s.lease }), ...(s.gates?.length && { gates: s.gates }) })),
    guardrails: d.guardrails.map((g) => ({ metric: g.metric, margin: g.kind === "relative" ? { relative: g.size / 100 } : { absolute: g.size } })),
    ...(d.success && { success: [{ metric: d.success }] }),
  };
}

function Steps({ d, set }: { d: PlanDraft; set: (p: Partial<PlanDraft>) => void }) {
  const put = (i: number, part: Partial<Step>) => set({ steps: d.steps.with(i, { ...d.steps[i], ...part }) });
  return (
    <Card title="Steps" actions={Object.entries(presets).map(([name, p]) => <Button key={name} variant="default" size="compact-xs" title={p.about} onClick={() => set({ steps: p.steps })}>{name}</Button>)}>
      <div className="scroll" tabIndex={0} role="region" aria-label="Steps">
        <table className="plain"><thead><tr><th>Share</th><th>Held at least</th><th>Lease</th><th>Approvals before it is left</th><th><span className="soft">begins at the earliest</span></th><th /></tr></thead>
          <tbody>{d.steps.map((s, i) => (
            <tr key={i}>
              <td><NumberInput aria-label={`Step ${i + 1}: share`} w={110} min={0.0001} max={100} decimalScale={4} suffix=" %" value={s.ppm / 10_000} onChange={(v) => typeof v === "number" && put(i, { ppm: percentToPPM(v) })} error={i > 0 && s.ppm <= d.steps[i - 1].ppm ? "must rise" : undefined} /></td>
              <td><TextInput aria-label={`Step ${i + 1}: hold`} w={90} value={s.hold ?? ""} onChange={(e) => put(i, { hold: e.currentTarget.value })} error={milliseconds(s.hold) === undefined} /></td>
              <td><TextInput aria-label={`Step ${i + 1}: lease`} w={90} placeholder="none" value={s.lease ?? ""} onChange={(e) => put(i, { lease: e.currentTarget.value || undefined })} title="After it, evaluators serve control by themselves, unless it is renewed" /></td>
              <td><NumberInput aria-label={`Step ${i + 1}: approvals`} w={70} min={0} max={5} value={s.gates?.[0]?.approval ?? 0} onChange={(v) => put(i, { gates: v ? [{ approval: Number(v) }] : undefined })} /></td>
              <td className="soft">{i === 0 ? "at once" : `after ${span(least(d.steps.slice(0, i)))}`}</td>
              <td><ActionIcon variant="subtle" color="gray" disabled={d.steps.length === 1} onClick={() => set({ steps: d.steps.toSpliced(i, 1) })} aria-label={`Remove step ${i + 1}`}><Icon name="cross" size={13} /></ActionIcon></td>
            </tr>
          ))}</tbody>
        </table>
      </div>
      <Button variant="subtle" size="compact-xs" mt={6} disabled={d.steps.at(-1)?.ppm === 1_000_000 && d.steps.length >= 50} onClick={() => { const last = d.steps.at(-1); set({ steps: [...d.steps, { ppm: Math.min(1_000_000, (last?.ppm ?? 5000) * 2), hold: last?.hold ?? "30m" }] }); }}>+ step</Button>
    </Card>
  );
}

function Guards({ d, set, measured }: { d: PlanDraft; set: (p: Partial<PlanDraft>) => void; measured: Schemas["MetricView"][] }) {
  const put = (i: number, part: Partial<Guard>) => set({ guardrails: d.guardrails.with(i, { ...d.guardrails[i], ...part }) });
  return (
    <Card title="Guardrails" actions={<Button variant="default" leftSection={<Icon name="plus" size={13} />} disabled={measured.length === 0} onClick={() => set({ guardrails: [...d.guardrails, { metric: measured.find((m) => !d.guardrails.some((g) => g.metric === m.key))?.key ?? "", kind: "relative", size: 5 }] })}>Add a guardrail</Button>}>
      {measured.length === 0 ? <Alert color="orange" variant="light">There are no metrics yet, and so nothing to guard it by. <a href="#/metrics">Create one first.</a></Alert> : d.guardrails.length === 0 && <p className="small soft" style={{ marginTop: 0 }}>What must not get worse, and by how much it may at most. Without one the rollout rises by the clock alone.</p>}
      {d.guardrails.map((g, i) => {
        const metric = measured.find((m) => m.key === g.metric);
        return (
          <div className="line" key={i} style={{ marginBottom: 6 }}>
            <NativeSelect aria-label={`Guardrail ${i + 1}: metric`} value={g.metric} onChange={(e) => put(i, { metric: e.currentTarget.value })} data={["", ...measured.map((m) => m.key)]} />
            {metric?.type !== "stream" && <><span className="small soft">may get worse by at most</span>
              <NumberInput aria-label={`Guardrail ${i + 1}: margin`} w={100} min={0} value={g.size} suffix={g.kind === "relative" ? " %" : metric?.unit ? ` ${metric.unit}` : ""} onChange={(v) => typeof v === "number" && put(i, { size: v })} />
              <NativeSelect aria-label={`Guardrail ${i + 1}: margin is`} value={g.kind} onChange={(e) => put(i, { kind: e.currentTarget.value as Guard["kind"] })} data={[{ value: "relative", label: "of control" }, { value: "absolute", label: "absolute" }]} /></>}
            <ActionIcon variant="subtle" color="gray" onClick={() => set({ guardrails: d.guardrails.toSpliced(i, 1) })} aria-label={`Remove guardrail ${i + 1}`}><Icon name="cross" size={13} /></ActionIcon>
          </div>
        );
      })}
      <div className="line foot" style={{ marginTop: 10 }}>
        <NativeSelect label="When one breaks" value={d.onBreach} onChange={(e) => set({ onBreach: e.currentTarget.value as PlanDraft["onBreach"] })} data={[{ value: "abort", label: "abort: everybody back at once" }, { value: "stepBack", label: "one step back" }, { value: "hold", label: "hold" }]} />
        <NativeSelect label="When evidence is thin for 4 h" value={d.onUnsure} onChange={(e) => set({ onUnsure: e.currentTarget.value as PlanDraft["onUnsure"] })} data={[{ value: "hold", label: "hold" }, { value: "advance", label: "advance all the same" }]} />
        <NumberInput label="False alarms" description="of a healthy rollout, ever" w={150} min={0.01} max={50} decimalScale={3} suffix=" %" value={d.alpha * 100} onChange={(v) => typeof v === "number" && v > 0 && set({ alpha: v / 100 })} />
        <NativeSelect label="Success metric" description="what should get better" value={d.success} onChange={(e) => set({ success: e.currentTarget.value })} data={[{ value: "", label: "none" }, ...measured.filter((m) => m.type !== "stream").map((m) => m.key)]} />
      </div>
    </Card>
  );
}

// Expected tells what the plan means for a service of a given size.
function Expected({ d }: { d: PlanDraft }) {
  const [perHour, setPerHour] = useState(10_000), [rate, setRate] = useState(2);
  const each = d.alpha / Math.max(1, d.guardrails.length);
  let passed = 0;
  return (
    <Card title="Before it begins" actions={<Tag tone="accent">{span(least(d.steps))} at least</Tag>}>
      <div className="line foot"><NumberInput label="Users an hour" w={130} min={1} thousandSeparator="," value={perHour} onChange={(v) => setPerHour(Number(v) || 1)} /><NumberInput label="Usual rate" description="of a rate metric such as errors" w={190} min={0.001} max={99} decimalScale={3} suffix=" %" value={rate} onChange={(v) => setRate(Number(v) || 0.001)} /></div>
      <div className="scroll" tabIndex={0} role="region" aria-label="What is to be expected">
        <table className="plain" style={{ marginTop: 8 }}><thead><tr><th>Step</th><th className="num">Users who get it by its end</th><th className="num">Harm that is noticed by then</th></tr></thead>
          <tbody>{d.steps.map((s, i) => {
            const hours = (milliseconds(s.hold) ?? 300_000) / 3_600_000;
            passed += hours;
            const treated = Math.round(perHour * passed * (s.ppm / 1e6)), control = Math.round(perHour * passed * (1 - s.ppm / 1e6));
            const size = detectable(rate / 100, perHour * hours * (s.ppm / 1e6), Math.max(control, 0), each);
            return <tr key={i}><td>{share(s.ppm)}, {s.hold}</td><td className="num">about {treated.toLocaleString("en")}</td><td className="num">{d.guardrails.length === 0 ? "none: no guardrails" : s.ppm === 1_000_000 ? "nobody is left to compare with" : Number.isFinite(size) ? `+${Number((100 * size).toPrecision(2))} % and more` : "none"}</td></tr>;
          })}</tbody></table>
      </div>
      <p className="small soft" style={{ marginBottom: 0 }}>A rule of thumb for rates, noticed four times in five. Larger harm is noticed sooner, a total failure within seconds.</p>
    </Card>
  );
}
