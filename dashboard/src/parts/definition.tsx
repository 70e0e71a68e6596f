// What a flag is, as a form: shared by those who create one and who edit one.
import { ActionIcon, Button, Checkbox, NativeSelect, SegmentedControl, TagsInput, Textarea, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import type { Schemas } from "../api/client";
import { parse, stringify } from "../api/json";
import { doors, policy } from "../api/governance";
import { flags, teams } from "../api/queries";
import { Icon } from "./icons";

export type FlagType = Schemas["FlagView"]["type"];
export interface VariantText { name: string; text: string }
export interface Definition {
  key: string;
  kind: Schemas["FlagView"]["kind"];
  description: string;
  owner: string;
  tags: string[];
  riskTier: "low" | "medium" | "high";
  expiresAt: string; // a date, or a moment as the server has it
  type: FlagType;
  variants: VariantText[];
  safeVariant: string;
  clientVisible: boolean;
  consistency: "cosmetic" | "stateful";
}

export const startVariants: Record<FlagType, VariantText[]> = {
  boolean: [{ name: "on", text: "true" }, { name: "off", text: "false" }],
  string: [{ name: "control", text: "old" }, { name: "treatment", text: "new" }],
  integer: [{ name: "low", text: "10" }, { name: "high", text: "100" }],
  number: [{ name: "low", text: "0.1" }, { name: "high", text: "0.5" }],
  object: [{ name: "control", text: "{}" }, { name: "treatment", text: '{"limit": 10}' }],
};

export function definitionOf(f: Schemas["FlagView"]): Definition {
  return {
    key: f.key, kind: f.kind, description: f.description ?? "", owner: f.owner, tags: f.tags ?? [], riskTier: f.riskTier ?? "medium", expiresAt: f.expiresAt ?? "", type: f.type,
    variants: Object.entries(f.variants).map(([name, v]) => ({ name, text: typeof v === "string" ? v : stringify(v) })), safeVariant: f.safeVariant,
    clientVisible: f.clientVisible ?? false, consistency: f.consistency ?? "cosmetic",
  };
}

// valueOf reads a variant's text as a value of the flag's type, or says what is
// wrong with it.
export function valueOf(type: FlagType, text: string): { value?: unknown; wrong?: string } {
  if (type === "string") return { value: text };
  try {
    const value = parse(text);
    const fits = type === "boolean" ? typeof value === "boolean" : type === "object" ? typeof value === "object" && value !== null : typeof value === "number" || typeof value === "bigint";
    if (!fits) return { wrong: `is no ${type}` };
    return type === "integer" && typeof value === "number" && !Number.isInteger(value) ? { wrong: "is no whole number" } : { value };
  } catch {
    return { wrong: type === "object" ? "is no JSON" : `is no ${type}` };
  }
}

export function bodyOf(d: Definition): Record<string, unknown> {
  const variants = Object.fromEntries(d.variants.map((v) => [v.name, valueOf(d.type, v.text).value]));
  return {
    key: d.key, kind: d.kind, owner: d.owner, riskTier: d.riskTier, type: d.type, variants, safeVariant: d.safeVariant, consistency: d.consistency, clientVisible: d.clientVisible,
    ...(d.description && { description: d.description }), ...(d.tags.length > 0 && { tags: d.tags }), ...(d.expiresAt && { expiresAt: d.expiresAt }),
  };
}

export const keyPattern = /^[a-z0-9][a-z0-9._-]{1,126}[a-z0-9]$/;
export const mustExpire = (kind: string) => kind === "release" || kind === "experiment";

export function troublesOf(d: Definition): Partial<Record<keyof Definition, string>> {
  const t: Partial<Record<keyof Definition, string>> = {};
  if (!keyPattern.test(d.key)) t.key = "3 to 128 of a-z, 0-9, dot, dash and underscore, with a letter or digit at both ends";
  if (!d.owner) t.owner = "A flag without an owner rots: name the team that answers for it";
  if (mustExpire(d.kind) && !d.expiresAt) t.expiresAt = `A flag of kind ${d.kind} needs a date by which it goes`;
  const names = d.variants.map((v) => v.name);
  const bad = d.variants.find((v) => !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(v.name) || valueOf(d.type, v.text).wrong);
  if (bad) t.variants = `${bad.name || "a variant"}: ${valueOf(d.type, bad.text).wrong ?? "a name has 1 to 64 letters, digits, dots and dashes"}`;
  else if (new Set(names).size < names.length) t.variants = "two variants have one name";
  if (!names.includes(d.safeVariant)) t.safeVariant = "Choose one of the variants";
  return t;
}

const kinds: [Definition["kind"], string][] = [
  ["release", "Ships a change, then goes. It must expire."], ["ops", "A switch for operations, kept as long as the system is."],
  ["experiment", "Finds out which variant is better, then goes. It must expire."], ["permission", "Gives some customers what others lack."],
];

// useRules tells what else holds here: what policy asks for, and which keys were
// ever used.
export function useRules(d: Definition): Partial<Record<keyof Definition, string>> {
  const known = useQuery(doors).data;
  const wants = useQuery(policy(known?.policy ?? false)).data?.requireDescription === true;
  const taken = useQuery(flags(true)).data?.find((f) => f.key === d.key);
  return {
    ...(wants && !d.description.trim() && { description: "Policy asks of each new flag what it does, and for whom" }),
    ...(taken && { key: taken.state === "archived" ? `It was a flag until ${taken.archivedBy} archived it: ${taken.archivedWhy}. Its key is never free again, since code that reads it may still run` : `It is a flag of ${taken.owner} already: choose another, or edit that one` }),
  };
}

interface Props { value: Definition; onChange: (d: Definition) => void; troubles: Partial<Record<keyof Definition, string>>; fixed?: boolean }

export function DefinitionForm({ value: d, onChange, troubles, fixed }: Props) {
  const owners = useQuery(teams).data ?? [];
  const set = (part: Partial<Definition>) => onChange({ ...d, ...part });
  const kind = kinds.find(([k]) => k === d.kind)!;
  return (
    <div style={{ display: "grid", gap: 14, maxWidth: 760 }}>
      <TextInput label="Key" description="team.domain.purpose. It is permanent and never free again: code that reads the old flag may still run." placeholder="payments.checkout.new-flow" required readOnly={fixed} autoFocus={!fixed} className="mono" value={d.key} error={d.key ? troubles.key : undefined} onChange={(e) => set({ key: e.currentTarget.value })} />
      <Textarea label="Description" description="For somebody who meets it in code." required={Boolean(troubles.description)} error={d.key ? troubles.description : undefined} autosize minRows={2} maxLength={2000} value={d.description} onChange={(e) => set({ description: e.currentTarget.value })} />
      <div><div className="small" id="kind-label"><b>Kind</b></div><SegmentedControl aria-labelledby="kind-label" value={d.kind} onChange={(v) => set({ kind: v as Definition["kind"] })} data={kinds.map(([k]) => k)} /><div className="small soft">{kind[1]}</div></div>
      <div className="thirds">
        <NativeSelect label="Owner" description="The team that answers for it" required value={d.owner} error={troubles.owner && d.key ? troubles.owner : undefined} onChange={(e) => set({ owner: e.currentTarget.value })} data={[{ value: "", label: "choose…" }, ...owners.map((t) => ({ value: t.key, label: t.name ? `${t.name} (${t.key})` : t.key }))]} />
        <TextInput type="date" label="Expires" description="By when it must be gone" required={mustExpire(d.kind)} value={d.expiresAt.slice(0, 10)} error={d.key ? troubles.expiresAt : undefined} onChange={(e) => set({ expiresAt: e.currentTarget.value })} />
        <NativeSelect label="Risk" description="The harm of a wrong value" value={d.riskTier} onChange={(e) => set({ riskTier: e.currentTarget.value as Definition["riskTier"] })} data={["low", "medium", "high"]} />
      </div>
      <div>
        <div className="line"><b className="small">Variants</b>{!fixed && <NativeSelect aria-label="Type" value={d.type} onChange={(e) => { const type = e.currentTarget.value as FlagType; set({ type, variants: startVariants[type], safeVariant: startVariants[type][type === "boolean" ? 1 : 0].name }); }} data={Object.keys(startVariants)} />}{fixed && <span className="small soft">of type {d.type}</span>}</div>
        {d.variants.map((v, i) => (
          <div className="line" key={i} style={{ marginTop: 6, alignItems: "flex-start" }}>
            <TextInput aria-label={`Variant ${i + 1}: name`} w={150} value={v.name} onChange={(e) => set({ variants: d.variants.with(i, { ...v, name: e.currentTarget.value }), safeVariant: d.safeVariant === v.name ? e.currentTarget.value : d.safeVariant })} />
            {d.type === "boolean" ? <NativeSelect aria-label={`Variant ${i + 1}: value`} value={v.text} data={["true", "false"]} onChange={(e) => set({ variants: d.variants.with(i, { ...v, text: e.currentTarget.value }) })} />
              : <Textarea aria-label={`Variant ${i + 1}: value`} className="grow mono" miw={160} autosize minRows={1} maxRows={12} value={v.text} error={valueOf(d.type, v.text).wrong} onChange={(e) => set({ variants: d.variants.with(i, { ...v, text: e.currentTarget.value }) })} />}
            {d.variants.length > 1 && <ActionIcon variant="subtle" color="gray" onClick={() => set({ variants: d.variants.toSpliced(i, 1) })} aria-label={`Remove variant ${v.name}`}><Icon name="cross" size={13} /></ActionIcon>}
          </div>
        ))}
        <Button variant="subtle" size="compact-xs" mt={6} onClick={() => set({ variants: [...d.variants, { name: `variant-${d.variants.length + 1}`, text: d.type === "string" ? "" : d.type === "object" ? "{}" : d.type === "boolean" ? "false" : "0" }] })}>+ variant</Button>
        {troubles.variants && <div className="small bad">{troubles.variants}</div>}
      </div>
      <NativeSelect label="Safe variant" description="What the system survives on indefinitely. A kill serves it, and so does a new flag." maw={280} value={d.safeVariant} error={troubles.safeVariant} onChange={(e) => set({ safeVariant: e.currentTarget.value })} data={d.variants.map((v) => v.name)} />
      <TagsInput label="Tags" description="Words to find it by, each with Enter" value={d.tags} onChange={(tags) => set({ tags })} maxTags={50} acceptValueOnBlur />
      <Checkbox label="Browsers and apps may see it" description="Their keys are public: whoever has one can read its values." checked={d.clientVisible} onChange={(e) => set({ clientVisible: e.currentTarget.checked })} />
      <Checkbox label="Stateful: instances may not disagree about it" description="Each step of a rollout then waits until the whole fleet runs the step before." checked={d.consistency === "stateful"} onChange={(e) => set({ consistency: e.currentTarget.checked ? "stateful" : "cosmetic" })} />
    </div>
  );
}

