// A condition as people build it: groups of all, any and none, up to five deep,
// with the right input for each operator.
import { ActionIcon, Button, Checkbox, Menu, NativeSelect, TagsInput, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import type { Condition } from "../api/client";
import { environments, segments } from "../api/queries";
import { type Op, operator, type OpKind, operators } from "../words/serving";
import { Why } from "./basics";
import { Icon } from "./icons";

export const mostDeep = 5;

const tooDeep = `Conditions nest at most ${mostDeep} deep: move the inner part into a segment.`;

export const newTest = (): Condition => ({ attribute: "", op: "in", values: [] });

interface Props {
  value: Condition;
  onChange: (c: Condition) => void;
  onRemove?: () => void;
  depth?: number;
  label?: string;
}

export function ConditionEditor(props: Props) {
  return <>{(props.depth ?? 1) === 1 && <Attributes />}<Part {...props} /></>;
}

function Part({ value, onChange, onRemove, depth = 1, label = "Condition" }: Props) {
  if (value.all !== undefined || value.any !== undefined) return <Group value={value} onChange={onChange} onRemove={onRemove} depth={depth} label={label} />;
  if (value.not) {
    return (
      <div className="cond" role="group" aria-label={`${label}: not`}>
        <div className="line"><b className="small">not</b><Remove onClick={onRemove} label={`Remove ${label}`} /><Button variant="subtle" size="compact-xs" onClick={() => onChange(value.not!)}>without “not”</Button></div>
        <ConditionEditor value={value.not} onChange={(not) => onChange({ not })} depth={depth + 1} label={`${label}, not`} />
      </div>
    );
  }
  if (value.segment !== undefined) return <SegmentTest value={value} onChange={onChange} onRemove={onRemove} depth={depth} label={label} />;
  return <Test value={value} onChange={onChange} onRemove={onRemove} depth={depth} label={label} />;
}

function Remove({ onClick, label }: { onClick?: () => void; label: string }) {
  return onClick && <ActionIcon variant="subtle" color="gray" size="sm" onClick={onClick} aria-label={label}><Icon name="cross" size={13} /></ActionIcon>;
}

function Group({ value, onChange, onRemove, depth = 1, label }: Props) {
  const kind = value.all !== undefined ? "all" : "any";
  const parts = value.all ?? value.any ?? [];
  const set = (next: Condition[]) => onChange(kind === "all" ? { all: next } : { any: next });
  const full = depth >= mostDeep ? tooDeep : undefined;
  const groupFull = depth + 1 >= mostDeep ? tooDeep : undefined;
  return (
    <div className="cond" role="group" aria-label={`${label}: ${kind} of`}>
      <div className="line">
        <NativeSelect aria-label={`${label}: how its parts are joined`} value={kind} onChange={(e) => onChange(e.currentTarget.value === "all" ? { all: parts } : { any: parts })} data={[{ value: "all", label: "all of these hold" }, { value: "any", label: "any of these holds" }]} />
        {depth < mostDeep && <Button variant="subtle" size="compact-xs" onClick={() => onChange({ not: value })}>negate</Button>}
        <Remove onClick={onRemove} label={`Remove ${label}`} />
      </div>
      {parts.map((part, i) => (
        <ConditionEditor key={i} value={part} depth={depth + 1} label={`${label}, part ${i + 1}`} onChange={(c) => set(parts.with(i, c))}
          onRemove={parts.length > 1 || onRemove ? () => { const rest = parts.toSpliced(i, 1); if (rest.length === 0) onRemove?.(); else set(rest); } : undefined} />
      ))}
      <div className="line">
        <Why because={full}><Button variant="subtle" size="compact-xs" disabled={Boolean(full)} onClick={() => set([...parts, newTest()])} aria-label={`Add a test to ${label}`}>+ test</Button></Why>
        <Why because={groupFull}><Button variant="subtle" size="compact-xs" disabled={Boolean(groupFull)} onClick={() => set([...parts, kind === "all" ? { any: [newTest()] } : { all: [newTest()] }])} aria-label={`Add a group to ${label}`}>+ group</Button></Why>
      </div>
    </div>
  );
}

// More is what else a test can become: part of a group, its opposite, or a test
// of another sort.
function More({ value, onChange, depth = 1, label, other }: Props & { other: { name: string; to: Condition } }) {
  const full = depth >= mostDeep;
  return (
    <Menu position="bottom-end">
      <Menu.Target><ActionIcon variant="subtle" color="gray" size="sm" aria-label={`${label}: more`}>⋯</ActionIcon></Menu.Target>
      <Menu.Dropdown>
        <Menu.Item disabled={full} onClick={() => onChange({ all: [value, newTest()] })}>and another test…</Menu.Item>
        <Menu.Item disabled={full} onClick={() => onChange({ any: [value, newTest()] })}>or another test…</Menu.Item>
        <Menu.Item disabled={full} onClick={() => onChange({ not: value })}>negate</Menu.Item>
        <Menu.Item onClick={() => onChange(other.to)}>{other.name}</Menu.Item>
        {full && <Menu.Label>{tooDeep}</Menu.Label>}
      </Menu.Dropdown>
    </Menu>
  );
}

function SegmentTest(props: Props) {
  const { value, onChange, onRemove, label } = props;
  const all = useQuery(segments).data ?? [];
  const missing = value.segment && !all.some((s) => s.key === value.segment);
  return (
    <div className="cond-row" role="group" aria-label={label}>
      <NativeSelect className="attr" aria-label={`${label}: what is tested`} value="segment" data={[{ value: "attribute", label: "attribute" }, { value: "segment", label: "segment" }]} onChange={() => onChange(newTest())} />
      <NativeSelect className="vals" aria-label={`${label}: segment`} value={value.segment ?? ""} onChange={(e) => onChange({ segment: e.currentTarget.value })} error={value.segment ? undefined : "Choose a segment"}
        data={[{ value: "", label: all.length === 0 ? "there are no segments yet" : "choose…" }, ...(missing ? [{ value: value.segment!, label: `${value.segment} (gone)` }] : []), ...all.map((s) => ({ value: s.key, label: s.key }))]} />
      <More {...props} other={{ name: "test an attribute instead", to: newTest() }} />
      <Remove onClick={onRemove} label={`Remove ${label}`} />
    </div>
  );
}

// Attributes are what can be suggested: those that are usual, and those that the
// environments sample.
function Attributes() {
  const known = useQuery(environments).data ?? [];
  return <datalist id="attributes">{[...new Set([...known.flatMap((e) => e.sampleAttributes ?? []), ...common])].map((a) => <option key={a} value={a} />)}</datalist>;
}

const common = ["targetingKey", "email", "country", "plan", "version", "device.os", "ip"];

function Test(props: Props) {
  const { value, onChange, onRemove, label } = props;
  const op = operator(value.op);
  return (
    <div className="cond-row" role="group" aria-label={label}>
      <TextInput className="attr" aria-label={`${label}: attribute`} placeholder="attribute" list="attributes" value={value.attribute ?? ""} error={value.attribute === "" ? true : undefined}
        onChange={(e) => onChange({ ...value, attribute: e.currentTarget.value })} />
      <NativeSelect className="op" aria-label={`${label}: operator`} value={op.op} data={operators.map((o) => ({ value: o.op, label: o.label }))}
        onChange={(e) => { const next = operator(e.currentTarget.value); onChange({ ...value, op: next.op as Op, values: carried(op.kind, next.kind, value.values ?? []) }); }} />
      <Values kind={op.kind} values={value.values ?? []} onChange={(values) => onChange({ ...value, values })} label={`${label}: values`} />
      <More {...props} other={{ name: "test a segment instead", to: { segment: "" } }} />
      <Remove onClick={onRemove} label={`Remove ${label}`} />
      
    </div>
  );
}

// carried are the values that another operator can take over.
function carried(from: OpKind, to: OpKind, values: unknown[]): unknown[] {
  if (to === "exists") return [true];
  if (from === "exists" || to === "time" !== (from === "time")) return [];
  if (from === to) return values;
  const texts = values.map(String).filter((t) => !wrong[to]?.(t));
  return texts.map((t) => readValue(to, t));
}

interface ValuesProps { kind: OpKind; values: unknown[]; onChange: (v: unknown[]) => void; label: string }

// read makes of what was typed what the operator takes. With "is", a number or
// true is meant as one; quotes make it a text.
export function readValue(kind: OpKind, text: string): unknown {
  if (kind === "number") return Number(text);
  if (kind !== "any") return text;
  if (text === "true" || text === "false") return text === "true";
  if (/^-?(0|[1-9]\d{0,14})(\.\d+)?$/.test(text)) return Number(text);
  return /^".*"$/.test(text) ? text.slice(1, -1) : text;
}

export const showValue = (kind: OpKind, v: unknown): string =>
  kind === "any" && typeof v === "string" && readValue("any", v) !== v ? `"${v}"` : String(v);

const wrong: Partial<Record<OpKind, (text: string) => string | undefined>> = {
  number: (t) => (t.trim() === "" || Number.isNaN(Number(t)) ? `${t} is no number` : undefined),
  version: (t) => (/^v?\d+(\.\d+){0,2}([-+].*)?$/.test(t) ? undefined : `${t} is no version such as 1.2.3`),
  network: (t) => (/^[0-9a-fA-F.:]+(\/\d{1,3})?$/.test(t) ? undefined : `${t} is no network such as 10.0.0.0/8`),
  time: (t) => (Number.isNaN(Date.parse(t)) && Number.isNaN(Number(t)) ? `${t} is no time` : undefined),
  pattern: (t) => (t.length > 256 ? "a pattern has at most 256 bytes" : undefined),
};

const hints: Record<OpKind, string> = {
  any: "values, each with Enter", text: "texts, each with Enter", pattern: "RE2 pattern, such as ^a.*z$", number: "numbers", time: "", version: "1.2.3", network: "10.0.0.0/8", exists: "",
};

function Values({ kind, values, onChange, label }: ValuesProps) {
  if (kind === "exists") return <Checkbox className="vals" mt={6} label={values[0] === false ? "is missing" : "is present"} aria-label={label} checked={values[0] !== false} onChange={(e) => onChange([e.currentTarget.checked])} />;
  if (kind === "time") return <Instants values={values} onChange={onChange} label={label} />;
  const texts = values.map((v) => showValue(kind, v));
  const bad = texts.map((t) => wrong[kind]?.(t)).find(Boolean);
  return <TagsInput className="vals" aria-label={label} placeholder={texts.length ? undefined : hints[kind]} value={texts} splitChars={kind === "text" || kind === "any" || kind === "pattern" ? [] : [",", " "]} acceptValueOnBlur clearable={false}
    error={bad ?? (texts.length === 0 ? true : undefined)} onChange={(next) => onChange(next.map((t) => readValue(kind, t)))} maxTags={1000} />;
}

// Local times as the browser's own input has them; a moment in the data.
export const toLocal = (at: string | undefined): string => {
  if (!at) return "";
  const d = new Date(at);
  return new Date(d.getTime() - d.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
};
export const fromLocal = (text: string): string | undefined => (text && !Number.isNaN(Date.parse(text)) ? new Date(text).toISOString().replace(".000Z", "Z") : undefined);

function Instants({ values, onChange, label }: Omit<ValuesProps, "kind">) {
  const first = values[0];
  const at = typeof first === "number" ? new Date(first * 1000).toISOString() : (first as string | undefined);
  return <TextInput className="vals" type="datetime-local" step={1} aria-label={label} value={toLocal(at)} error={at ? undefined : true} onChange={(e) => { const v = fromLocal(e.currentTarget.value); onChange(v ? [v] : []); }} />;
}

// incomplete says what a condition still lacks, in words.
export function incomplete(c: Condition): string | undefined {
  for (const part of c.all ?? c.any ?? []) {
    const lacks = incomplete(part);
    if (lacks) return lacks;
  }
  if (c.not) return incomplete(c.not);
  if (c.segment !== undefined) return c.segment ? undefined : "a segment is to be chosen";
  if (c.all || c.any) return (c.all ?? c.any)!.length === 0 ? "a group is empty" : undefined;
  if (!c.attribute) return "a test names no attribute";
  if (!c.values?.length) return `the test of ${c.attribute} has no values`;
  const kind = operator(c.op).kind;
  return c.values.map((v) => wrong[kind]?.(String(v))).find(Boolean);
}
