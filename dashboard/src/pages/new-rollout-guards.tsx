// What must not get worse, and what happens when it does, or when nobody knows.
import { ActionIcon, Alert, Button, NativeSelect, NumberInput, TextInput } from "@mantine/core";
import { useState } from "react";

import type { Schemas } from "../api/client";
import { Card } from "../parts/basics";
import { Icon } from "../parts/icons";
import { milliseconds } from "../words/numbers";
import type { Guard, PlanDraft } from "../words/plan";

interface Props { d: PlanDraft; set: (p: Partial<PlanDraft>) => void; measured: Schemas["MetricView"][] }

export function Guards({ d, set, measured }: Props) {
  const [more, setMore] = useState(false);
  const put = (i: number, part: Partial<Guard>) => set({ guardrails: d.guardrails.with(i, { ...d.guardrails[i], ...part }) });
  const add = () => set({ guardrails: [...d.guardrails, { metric: measured.find((m) => !d.guardrails.some((g) => g.metric === m.key))?.key ?? "", kind: "relative", size: 5 }] });
  return (
    <Card title="Guardrails" actions={<Button variant="default" leftSection={<Icon name="plus" size={13} />} disabled={measured.length === 0} onClick={add}>Add a guardrail</Button>}>
      {measured.length === 0 ? <Alert color="orange" variant="light">There are no metrics yet, and so nothing to guard it by. <a href="#/metrics">Create one first.</a></Alert>
        : d.guardrails.length === 0 && <Alert color="orange" variant="light">Nothing would take it back but a person. A guardrail says what must not get worse, and by how much it may at most.</Alert>}
      {d.guardrails.map((g, i) => <GuardLine key={i} of={g} i={i} metric={measured.find((m) => m.key === g.metric)} measured={measured} put={(part) => put(i, part)} remove={() => set({ guardrails: d.guardrails.toSpliced(i, 1) })} />)}
      <div className="line foot" style={{ marginTop: 10 }}>
        <NativeSelect label="When one breaks" value={d.onBreach} onChange={(e) => set({ onBreach: e.currentTarget.value as PlanDraft["onBreach"] })} data={[{ value: "abort", label: "abort: everybody back at once" }, { value: "stepBack", label: "one step back" }, { value: "hold", label: "hold" }]} />
        <NativeSelect label="Success metric" value={d.success} onChange={(e) => set({ success: e.currentTarget.value })} data={[{ value: "", label: "none" }, ...measured.filter((m) => m.type !== "stream").map((m) => m.key)]} />
        <Button variant="subtle" onClick={() => setMore(!more)} aria-expanded={more}>{more ? "Less" : "Patience, silence, budget…"}</Button>
      </div>
      {more && <Limits d={d} set={set} />}
    </Card>
  );
}

function GuardLine({ of: g, i, metric, measured, put, remove }: { of: Guard; i: number; metric?: Schemas["MetricView"]; measured: Schemas["MetricView"][]; put: (g: Partial<Guard>) => void; remove: () => void }) {
  return (
    <div className="line" style={{ marginBottom: 6 }} role="group" aria-label={`Guardrail ${i + 1}`}>
      <NativeSelect aria-label={`Guardrail ${i + 1}: metric`} value={g.metric} onChange={(e) => put({ metric: e.currentTarget.value })} data={["", ...measured.map((m) => m.key)]} />
      {metric?.type !== "stream" && <>
        <span className="small soft">may get worse by at most</span>
        <NumberInput aria-label={`Guardrail ${i + 1}: margin`} w={90} min={0} value={g.size} suffix={g.kind === "relative" ? " %" : metric?.unit ? ` ${metric.unit}` : ""} onChange={(v) => typeof v === "number" && put({ size: v })} />
        <NativeSelect aria-label={`Guardrail ${i + 1}: margin is`} value={g.kind} onChange={(e) => put({ kind: e.currentTarget.value as Guard["kind"] })} data={[{ value: "relative", label: "of control" }, { value: "absolute", label: "absolute" }]} />
        <TextInput aria-label={`Guardrail ${i + 1}: on each`} placeholder="all together" leftSection={<span className="small soft">on each</span>} leftSectionWidth={56} w={170} value={g.by ?? ""} onChange={(e) => put({ by: e.currentTarget.value || undefined })} title="An attribute of observations, such as route: it must then hold on each of its first eight values" />
      </>}
      {metric?.description && <span className="small soft">{metric.description}</span>}
      <ActionIcon variant="subtle" color="gray" onClick={remove} aria-label={`Remove guardrail ${i + 1}`}><Icon name="cross" size={13} /></ActionIcon>
    </div>
  );
}

function Limits({ d, set }: { d: PlanDraft; set: (p: Partial<PlanDraft>) => void }) {
  const wrong = (time: string) => (milliseconds(time) === undefined ? "such as 10m" : undefined);
  return (
    <div className="line foot" style={{ marginTop: 10 }}>
      <TextInput label="If evidence is thin for" w={130} value={d.onUnsure.after} error={wrong(d.onUnsure.after)} onChange={(e) => set({ onUnsure: { ...d.onUnsure, after: e.currentTarget.value } })} />
      <NativeSelect label="then" value={d.onUnsure.then} onChange={(e) => set({ onUnsure: { ...d.onUnsure, then: e.currentTarget.value as "hold" | "advance" } })} data={[{ value: "hold", label: "hold" }, { value: "advance", label: "advance without proof" }]} />
      <TextInput label="If data are missing for" w={140} value={d.onSilence.after} error={wrong(d.onSilence.after)} onChange={(e) => set({ onSilence: { ...d.onSilence, after: e.currentTarget.value } })} />
      <NativeSelect label="then" value={d.onSilence.then} onChange={(e) => set({ onSilence: { ...d.onSilence, then: e.currentTarget.value as "hold" | "abort" } })} data={["hold", "abort"]} />
      <NumberInput label="False alarms, ever" w={120} min={0.01} max={50} decimalScale={3} suffix=" %" value={Number((d.alpha * 100).toPrecision(6))} onChange={(v) => typeof v === "number" && v > 0 && set({ alpha: v / 100 })} />
      <NumberInput label="Users at most" w={130} min={0} thousandSeparator="," placeholder="no limit" value={d.exposedUnits || ""} onChange={(v) => set({ exposedUnits: typeof v === "number" ? v : 0 })} />
      <NumberInput label="User minutes at most" w={150} min={0} thousandSeparator="," placeholder="no limit" value={d.unitMinutes || ""} onChange={(v) => set({ unitMinutes: typeof v === "number" ? v : 0 })} />
    </div>
  );
}
