// Policy: what a change needs by its risk, and when nothing is raised. It is
// read as sentences, and edited as a form of the same shape.
import { ActionIcon, Alert, Button, Checkbox, MultiSelect, NativeSelect, NumberInput, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { useRunsIt } from "../api/auth";
import { policy } from "../api/governance";
import { environments, metrics } from "../api/queries";
import { Card, Empty, Moment, Page, Ready, Tag, useNow } from "../parts/basics";
import { useChange } from "../parts/change";
import { Field, FormPage, Lead } from "../parts/form";
import { Icon } from "../parts/icons";
import { clock, moment, zone } from "../parts/when";
import { useAddress } from "../address";
import { milliseconds, plural, span } from "../words/numbers";
import { defaultPolicy, type Freeze, freezeState, guardrailWords, needWords, type Policy, policyDifference, policyTrouble, type RequiredGuardrail, type Risk, risks, riskWords, samePolicy } from "../words/policy";

export function PolicyPage() {
  const of = useQuery(policy());
  const [search] = useAddress();
  if (search.edit && of.data) return <Form of={of.data} />;
  return <Page title="Policy" about="What a change needs before it reaches users, in protected environments." actions={<Edit />}><Ready of={of}>{(p) => <Shown of={p} />}</Ready></Page>;
}

function Edit() {
  return <Lead href="#/policy?edit=1" because={useRunsIt()}>Change the policy</Lead>;
}

const tone: Record<Risk, "good" | "warn" | "bad"> = { none: "good", low: "good", medium: "warn", high: "bad" };

function Shown({ of }: { of: Policy }) {
  const places = useQuery(environments).data ?? [];
  const guarded = places.filter((e) => e.protected).map((e) => e.key), free = places.filter((e) => !e.protected).map((e) => e.key);
  const departs = policyDifference({ ...defaultPolicy, freezes: of.freezes }, of);
  return (
    <div className="stack">
      <Card title="What a change needs" actions={departs.length === 0 ? <Tag tone="good">as Flyball comes</Tag> : <Tag tone="accent">your own</Tag>}>
        <div className="scroll" tabIndex={0} role="region" aria-label="Approvals by risk"><table className="plain cards"><thead><tr><th>Risk</th><th>When</th><th>Made at once</th><th>By a rollout that guardrails watch</th></tr></thead>
          <tbody>{risks.map((r) => <tr key={r}><td><Tag tone={tone[r]}>{r}</Tag></td><td className="soft">{riskWords[r]}</td><td data-label="at once">{needWords(of.approvals[r].direct)}</td><td data-label="guarded">{needWords(of.approvals[r].staged)}</td></tr>)}</tbody></table></div>
        <ul className="plain-list small soft">
          <li>A request, with its approvals, is good for {hours(of.approvalTTL)}; each is used once.</li>
          {of.guardrails?.map((g) => <li key={guardrailWords(g)}>A rollout counts as guarded only if it watches {guardrailWords(g)}.</li>)}
          <li>A retreat, such as a kill or an abort, needs nobody and passes every freeze.</li>
          <li>Nobody approves their own change, and an agent and its person are one.</li>
          <li>A new flag {of.requireDescription ? "must say what it does" : "need not say what it does"}. Every change says why.</li>
        </ul>
        {departs.length > 0 && <details className="small"><summary>What differs from how Flyball comes</summary><ul className="diff">{departs.map((d) => <li key={d}>{d}</li>)}</ul></details>}
      </Card>
      <div className="grid">
        <Card title="Where it holds" actions={<a className="small" href="#/environments">environments</a>}><p style={{ marginTop: 0 }}>{guarded.length > 0 ? guarded.map((e) => <Tag key={e} tone="warn">{e}</Tag>) : <span className="soft">Nowhere: no environment is protected.</span>}</p>{free.length > 0 && <p className="small soft">In {free.join(", ")} a reason is enough.</p>}</Card>
        <Card title="How risk is found"><p className="small soft" style={{ margin: 0 }}>The server makes the change, evaluates the old and the new ruleset over the users seen lately, and takes it back. The upper end of what is known counts. Flags of the low tier lower it by one; the high tier, stateful flags and flags that depend on it each raise it by one.</p></Card>
      </div>
      <Freezes of={of} />
    </div>
  );
}

function Freezes({ of }: { of: Policy }) {
  const now = useNow();
  const all = (of.freezes ?? []).toSorted((a, b) => a.from.localeCompare(b.from));
  return (
    <Card title="Freezes" actions={<Lead href="#/policy?edit=1" because={useRunsIt()} variant="default" leftSection={<Icon name="plus" size={13} />}>Plan a freeze</Lead>}>
      {all.length === 0 ? <Empty title="Nothing is frozen">In a freeze nothing is raised: what users would notice is refused, and rollouts wait at their step. What takes them back still does.</Empty> : (
        <ul className="rows">{all.map((f) => {
          const state = freezeState(f, now);
          return <li key={f.from + f.reason} className="line"><Tag tone={state === "now" ? "bad" : state === "later" ? "accent" : "soft"}>{state === "now" ? "frozen now" : state === "later" ? "planned" : "over"}</Tag><b>{f.environments?.length ? f.environments.join(", ") : "every protected environment"}</b><span><Moment at={f.from} full /> – <Moment at={f.to} full /></span><span className="soft small grow">{f.reason}</span></li>;
        })}</ul>
      )}
    </Card>
  );
}

const hours = (duration: string) => {
  const ms = milliseconds(duration) ?? 0;
  return ms % 3_600_000 ? span(ms) : plural(ms / 3_600_000, "hour");
};

const counts = (least: number) => [...(least < 0 ? [{ value: "-1", label: "never at once" }] : []), { value: "0", label: "a reason is enough" }, ...[1, 2, 3, 4, 5].map((n) => ({ value: String(n), label: n === 1 ? "1 other person" : `${n} other people` }))];

function Form({ of }: { of: Policy }) {
  const refused = useRunsIt();
  const begin = useChange();
  const [p, setP] = useState<Policy>({ approvals: of.approvals, approvalTTL: of.approvalTTL, freezes: of.freezes ?? [], guardrails: of.guardrails ?? [], requireDescription: of.requireDescription });
  const need = (risk: Risk, part: Partial<Policy["approvals"][string]>) => setP({ ...p, approvals: { ...p.approvals, [risk]: { ...p.approvals[risk], ...part } } });
  const trouble = policyTrouble(p), lines = trouble ? [] : policyDifference(of, p);
  const unwatched = (of.guardrails ?? []).some((g) => !p.guardrails?.map(guardrailWords).includes(guardrailWords(g)));
  const laxer = unwatched || risks.some((r) => fewer(of.approvals[r].direct, p.approvals[r].direct) || p.approvals[r].staged < of.approvals[r].staged);
  const save = () => begin({
    title: "Change the policy", verb: "Apply", plain: true, difference: lines, done: () => { location.hash = "#/policy"; },
    warning: laxer ? "Fewer people look at some changes from now on. Requests that wait are judged by this when they are applied." : undefined,
    change: { method: "PUT", path: "/api/v1/policy", body: { ...p } },
  });
  return (
    <FormPage title="Change the policy" back="#/policy" backTo="the policy" verb="Review and apply" why={trouble ?? (lines.length === 0 ? "Nothing differs yet." : undefined)} refused={refused} submit={save} aside={<>
      <h2>How Flyball comes</h2>
      <p>What fewer than 1 in 100 notice is one person’s to do. Up to 1 in 10 takes one other person, unless guardrails watch it. More takes two, or one and guardrails.</p>
      <p>So the quick way to a large change is a rollout that takes itself back, and not a way around the rules. Each of these lines is held to by tests, and 10,000 random orders of edits, approvals and expiries let none slip through.</p>
      {!samePolicy({ ...p, freezes: [] }, defaultPolicy) && <Button variant="default" onClick={() => setP({ ...defaultPolicy, freezes: p.freezes })}>Put it back to that</Button>}
    </>}>
      <Field label="Approvals" about="How many others must approve a change, by its risk. Whoever made it is never among them.">
        <div className="needs"><span className="head">Risk</span><span className="head">Made at once</span><span className="head">By a guarded rollout</span>
          {risks.map((r) => <div className="need" key={r}><div><Tag tone={tone[r]}>{r}</Tag><div className="small soft">{riskWords[r]}</div></div>
            <NativeSelect aria-label={`${r} risk, at once`} value={String(p.approvals[r].direct)} onChange={(e) => need(r, { direct: Number(e.currentTarget.value) })} data={counts(-1)} />
            <NativeSelect aria-label={`${r} risk, by a guarded rollout`} value={String(p.approvals[r].staged)} onChange={(e) => need(r, { staged: Number(e.currentTarget.value) })} data={counts(0)} /></div>)}
        </div>
      </Field>
      <GuardrailsForm value={p.guardrails ?? []} onChange={(guardrails) => setP({ ...p, guardrails })} />
      <TextInput label="A request is good for" description="With its approvals; then it is asked for anew. Such as 90m, 24h or 72h" maw={260} value={short(p.approvalTTL)} onChange={(e) => setP({ ...p, approvalTTL: e.currentTarget.value })} />
      <Checkbox label="A new flag must say what it does" description="In every environment: whoever meets it in code in a year knows what it was for." checked={p.requireDescription ?? false} onChange={(e) => setP({ ...p, requireDescription: e.currentTarget.checked })} />
      <FreezesForm value={p.freezes ?? []} onChange={(freezes) => setP({ ...p, freezes })} />
    </FormPage>
  );
}

const fewer = (was: number, is: number) => (was < 0 ? is >= 0 : is >= 0 && is < was);
const short = (duration: string) => duration.replace(/(\d[hm])0m?0s$/, "$1").replace(/^(\d+h)0m0s$/, "$1");

function GuardrailsForm({ value, onChange }: { value: RequiredGuardrail[]; onChange: (g: RequiredGuardrail[]) => void }) {
  const all = useQuery(metrics).data ?? [];
  const places = useQuery(environments).data?.filter((e) => e.protected) ?? [];
  const set = (i: number, part: Partial<RequiredGuardrail>) => onChange(value.with(i, { ...value[i], ...part }));
  return (
    <Field label="Guardrails that count" about="Without each of these a rollout counts as unguarded, so that nobody chooses one that nothing trips. It may have others beside them.">
      {value.map((g, i) => (
        <div className="freeze" key={i}>
          <NativeSelect label="Metric" aria-label={`Guardrail ${i + 1}: metric`} value={g.metric} onChange={(e) => set(i, { metric: e.currentTarget.value })} data={["", ...new Set([...all.map((m) => m.key), g.metric])].filter((m, at) => m || at === 0)} />
          {g.margin?.absolute
            ? <NumberInput label="Worse by at most" aria-label={`Guardrail ${i + 1}: margin`} min={0} value={g.margin.absolute} onChange={(n) => set(i, { margin: { absolute: Number(n) } })} />
            : <NumberInput label="Worse by at most" aria-label={`Guardrail ${i + 1}: margin`} placeholder="any margin" suffix=" %" min={0} max={1000} value={g.margin?.relative ? Number((100 * g.margin.relative).toPrecision(6)) : ""} onChange={(n) => set(i, { margin: Number(n) > 0 ? { relative: Number(n) / 100 } : undefined })} />}
          <MultiSelect size="xs" label="Where" aria-label={`Guardrail ${i + 1}: environments`} placeholder={g.environments?.length ? "" : "every protected one"} data={places.map((e) => e.key)} value={g.environments ?? []} onChange={(environments) => set(i, { environments })} />
          <ActionIcon variant="subtle" color="gray" onClick={() => onChange(value.toSpliced(i, 1))} aria-label={`Remove guardrail ${i + 1}`}><Icon name="cross" size={13} /></ActionIcon>
        </div>
      ))}
      <Button variant="subtle" size="compact-xs" disabled={all.length === 0} onClick={() => onChange([...value, { metric: "" }])}>+ guardrail</Button>
      {all.length === 0 && <span className="small soft">There is no metric yet.</span>}
    </Field>
  );
}

function FreezesForm({ value, onChange }: { value: Freeze[]; onChange: (f: Freeze[]) => void }) {
  const places = useQuery(environments).data?.filter((e) => e.protected) ?? [];
  const set = (i: number, part: Partial<Freeze>) => onChange(value.with(i, { ...value[i], ...part }));
  const soon = () => {
    const from = new Date(Date.now() + 86_400_000);
    from.setHours(18, 0, 0, 0);
    const iso = (at: number) => moment(new Date(at).toISOString())!;
    return { from: iso(from.getTime()), to: iso(from.getTime() + 62 * 3_600_000), reason: "" };
  };
  return (
    <Field label="Freezes" about={`Times in which nothing is raised, by the clock of ${zone}. Retreats pass.`}>
      {value.map((f, i) => (
        <div className="freeze" key={i}>
          <TextInput type="datetime-local" label="From" aria-label={`Freeze ${i + 1}: from`} value={clock(f.from)} onChange={(e) => set(i, { from: moment(e.currentTarget.value) ?? "" })} />
          <TextInput type="datetime-local" label="To" aria-label={`Freeze ${i + 1}: to`} value={clock(f.to)} onChange={(e) => set(i, { to: moment(e.currentTarget.value) ?? "" })} />
          <MultiSelect size="xs" label="Where" aria-label={`Freeze ${i + 1}: environments`} placeholder={f.environments?.length ? "" : "every protected one"} data={places.map((e) => e.key)} value={f.environments ?? []} onChange={(environments) => set(i, { environments })} />
          <TextInput className="why" label="Why" aria-label={`Freeze ${i + 1}: why`} placeholder="Whoever is refused reads this" value={f.reason} onChange={(e) => set(i, { reason: e.currentTarget.value })} />
          <ActionIcon variant="subtle" color="gray" onClick={() => onChange(value.toSpliced(i, 1))} aria-label={`Remove freeze ${i + 1}`}><Icon name="cross" size={13} /></ActionIcon>
        </div>
      ))}
      <Button variant="subtle" size="compact-xs" onClick={() => onChange([...value, soon()])}>+ freeze</Button>
      {places.length === 0 && value.length > 0 && <Alert color="orange" variant="light">No environment is protected, so a freeze holds nowhere.</Alert>}
    </Field>
  );
}
