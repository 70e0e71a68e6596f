// A plan for a rollout, and what the server expects of it before it begins: how
// long it takes, whom it reaches, and how much harm it would find.
import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";

import { useRefusal } from "../api/auth";
import type { Flag } from "../api/client";
import { environments, flag as flagQuery, flags, metrics } from "../api/queries";
import { Card, Page, Why } from "../parts/basics";
import { useChange } from "../parts/change";
import { useAddress } from "../address";
import { milliseconds, share, span } from "../words/numbers";
import { bodyOf, least, type PlanDraft, presets, troubleOf } from "../words/plan";
import { serveWords } from "../words/serving";
import { Traffic, useForecast } from "./new-rollout-forecast";
import { Guards } from "./new-rollout-guards";
import { Steps } from "./new-rollout-steps";

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
    control: start.variant ?? "", treatment: variants.find((v) => v !== start.variant) ?? "", where: start.where, unit: "targetingKey", steps: presets.usual.steps, then: "keep", guardrails: [], success: "", alpha: 0.01, onBreach: "abort", onUnsure: { after: "4h", then: "hold" }, onSilence: { after: "10m", then: "hold" }, exposedUnits: 0, unitMinutes: 0, traffic: { baseline: {} },
  });
  const begin = useChange();
  const navigate = useNavigate();
  const refused = useRefusal({ role: "editor", environment, team: of.owner });
  const set = (part: Partial<PlanDraft>) => setD({ ...d, ...part });
  const why = config.killed ? `It is killed in ${environment}: resume it first.` : !config.enabled ? `It is not enabled in ${environment}: a rollout would reach nobody.` : config.rollout ? "A rollout is live here already." : !d.control ? "That place serves a split: a rollout replaces one plain variant." : troubleOf(d);
  const forecast = useForecast(why ? undefined : { ...bodyOf(d, of.key, environment) }, d.traffic);
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
      <Guards d={d} set={set} measured={measured} />
      <Steps d={d} set={set} forecast={forecast} />
      <Traffic d={d} set={set} forecast={forecast} measured={measured} />
      <div className="bar-foot" role="region" aria-label="Start">
        <span className="small grow">{why ? <span className="bad">{why}</span> : <>{d.treatment} to {share(d.steps.at(-1)!.ppm)} in {d.steps.length} steps, {forecast.told?.takes ? <b>in about {span(milliseconds(forecast.told.takes) ?? 0)}</b> : <>in {span(least(d.steps))} at least</>}</>}</span>
        <Why because={refused}><Button size="sm" disabled={Boolean(why || refused)} onClick={() => begin({
          title: `Start the rollout of ${of.key} in ${environment}`, verb: "Start", change: { method: "POST", path: "/api/v1/rollouts", body: bodyOf(d, of.key, environment) },
          difference: [`${d.treatment} for ${share(d.steps[0].ppm)} at once, in place of ${d.control}`, `then ${d.steps.slice(1).map((s) => share(s.ppm)).join(", ") || "no further"}, over ${span(least(d.steps))} at least`, d.guardrails.length ? `taken back by ${d.guardrails.map((g) => g.metric).join(", ")}` : "taken back by nobody but a person: it has no guardrails"],
          warning: d.guardrails.length ? undefined : "Without guardrails it rises whatever it does to users.",
          done: (answer) => { const made = answer.body as { id?: string; steps?: unknown }; if (made.id && made.steps) void navigate({ to: "/rollouts/$id", params: { id: made.id } as never }); },
        })}>Start…</Button></Why>
      </div>
    </div>
  );
}
