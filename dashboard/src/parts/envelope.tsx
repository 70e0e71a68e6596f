// An agent's envelope: as limits with what was used of them, and as a form.
import { Button, Checkbox, MultiSelect, NativeSelect, NumberInput, TagsInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";

import type { Schemas } from "../api/client";
import { environments } from "../api/queries";
import { type Envelope, envelopeStarts, exposureWords } from "../words/envelope";
import { count, share } from "../words/numbers";
import { Meter } from "./basics";
import { Field } from "./form";

// Use is how much of each limit the agents of one person have used.
export function Use({ of, used }: { of: Envelope; used: Schemas["EnvelopeUse"] }) {
  return (
    <div className="uses">
      <Limit name="Raises in this hour" used={used.changesInHour} most={of.changesPerHour} none="none allowed" />
      <Limit name="Live rollouts" used={used.liveRollouts} most={of.maxConcurrentRollouts} none="none allowed" />
      <Limit name="User-minutes in 24 hours" used={used.unitMinutesInDay} most={of.maxUnitMinutesPerDay ?? 0} none="no bound" />
    </div>
  );
}

function Limit({ name, used, most, none }: { name: string; used: number; most: number; none: string }) {
  const part = most > 0 ? used / most : 0;
  return (
    <div className="use">
      <div className="line small"><span className="soft">{name}</span><span className="push"><b>{count(used)}</b> {most > 0 ? `of ${count(most)}` : `(${none})`}</span></div>
      <Meter part={part} tone={part >= 1 ? "bad" : part >= 0.8 ? "warn" : "accent"} label={name} />
    </div>
  );
}

export function EnvelopeFacts({ of }: { of: Envelope }) {
  return (
    <dl className="facts">
      <dt>may change</dt><dd><span className="mono">{(of.flags ?? []).join(", ")}</span> in {(of.environments ?? []).join(", ")}<div className="small soft">flags of the kinds {of.kinds?.length ? of.kinds.join(", ") : "release and experiment"}, up to the {of.maxRiskTier} tier</div></dd>
      <dt>may expose</dt><dd>{exposureWords(of)}</dd>
    </dl>
  );
}

const kinds = ["release", "experiment", "ops", "permission"];

export function EnvelopeForm({ value: e, onChange }: { value: Envelope; onChange: (e: Envelope) => void }) {
  const places = useQuery(environments).data ?? [];
  const set = (part: Partial<Envelope>) => onChange({ ...e, ...part });
  const start = envelopeStarts.find((s) => Object.entries(s.envelope).every(([k, v]) => e[k as keyof Envelope] === v));
  return (
    <>
      <Field label="Begin with" about={start?.about ?? "Limits of your own."}>
        <div className="line">{envelopeStarts.map((s) => <Button key={s.name} size="compact-sm" variant={s === start ? "filled" : "default"} aria-pressed={s === start} onClick={() => set(s.envelope)}>{s.name}</Button>)}</div>
      </Field>
      <Field label="What it may change" about="Lowering and asking included; also through flags that depend on others.">
        <TagsInput label="Flags" description="Globs such as payments.*, each with Enter" required value={e.flags ?? []} onChange={(flags) => set({ flags })} acceptValueOnBlur />
        <div className="two"><MultiSelect size="xs" label="Environments" required data={places.map((p) => p.key)} value={e.environments ?? []} onChange={(v) => set({ environments: v })} />
          <MultiSelect size="xs" label="Kinds of flags" placeholder={e.kinds?.length ? "" : "release and experiment"} data={kinds} value={e.kinds ?? []} onChange={(v) => set({ kinds: v })} /></div>
        <NativeSelect label="Highest tier that it may raise" maw={260} value={e.maxRiskTier} onChange={(x) => set({ maxRiskTier: x.currentTarget.value as Envelope["maxRiskTier"] })} data={[{ value: "low", label: "low" }, { value: "medium", label: "medium" }, { value: "high", label: "high" }]} />
      </Field>
      <Field label="How much, and for how long" about="Each exposure ends by itself, in the programs too.">
        <div className="three">
          <NumberInput label="Largest share" description="of users" suffix=" %" min={0} max={100} decimalScale={4} value={e.maxPpm / 10_000} onChange={(v) => set({ maxPpm: Math.round(Number(v) * 10_000) })} />
          <Bounded label="Minutes at a time" value={e.maxMinutesPerExposure ?? 0} onChange={(v) => set({ maxMinutesPerExposure: v })} start={30} />
          <Bounded label="Users in a rollout" value={e.maxUnits ?? 0} onChange={(v) => set({ maxUnits: v })} start={10_000} />
        </div>
      </Field>
      <Field label="Budget" about="Reserved before a change is made, so that calls beside each other cannot overdraw it; shared by all agents of the person.">
        <div className="three">
          <NumberInput label="Raises an hour" description="lowering is free" min={0} value={e.changesPerHour} onChange={(v) => set({ changesPerHour: Number(v) })} />
          <NumberInput label="Live rollouts" description="at once" min={0} value={e.maxConcurrentRollouts} onChange={(v) => set({ maxConcurrentRollouts: Number(v) })} />
          <Bounded label="User-minutes a day" value={e.maxUnitMinutesPerDay ?? 0} onChange={(v) => set({ maxUnitMinutesPerDay: v })} start={500_000} />
        </div>
      </Field>
      {e.maxPpm >= 1_000_000 && <p className="small soft" style={{ margin: 0 }}>{share(e.maxPpm)} lets it serve a variant to everybody; what it keeps after a rollout must have guardrails and have been shown healthy.</p>}
    </>
  );
}

// Bounded is a limit of which 0 means that there is none.
function Bounded({ label, value, onChange, start }: { label: ReactNode; value: number; onChange: (n: number) => void; start: number }) {
  return <div><NumberInput label={label} description={value === 0 ? "no bound" : "at most"} min={1} thousandSeparator="," disabled={value === 0} value={value === 0 ? "" : value} onChange={(v) => onChange(Number(v) || start)} /><Checkbox mt={4} label="no bound" aria-label={`${String(label)}: no bound`} checked={value === 0} onChange={(e) => onChange(e.currentTarget.checked ? 0 : start)} /></div>;
}
