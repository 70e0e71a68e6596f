// Rules in their order, of which the first that matches wins. They are moved by
// dragging, by their buttons, and by Alt with the arrows.
import { ActionIcon, Button, TextInput } from "@mantine/core";
import { type KeyboardEvent, useRef, useState } from "react";

import type { Rule } from "../api/client";
import { span } from "../words/numbers";
import { conditionWords, lease, serveWords } from "../words/serving";
import { Remaining, Tag, useNow } from "./basics";
import { ConditionEditor, fromLocal, newTest, toLocal } from "./condition";
import { Icon } from "./icons";
import { ServeEditor } from "./serve";

interface Props { rules: Rule[]; variants: string[]; onChange: (rules: Rule[]) => void; rolloutAt?: string; fresh: Set<string> }

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export const ruleTrouble = (rules: Rule[], i: number): string | undefined =>
  !namePattern.test(rules[i].id) ? "a rule's id has 1 to 64 letters, digits, dots, dashes and underscores" : rules.some((r, j) => j < i && r.id === rules[i].id) ? `there is another rule ${rules[i].id}` : undefined;

export function Rules({ rules, variants, onChange, rolloutAt, fresh }: Props) {
  const [dragged, setDragged] = useState<number>();
  const [over, setOver] = useState<number>();
  const [told, setTold] = useState("");
  const list = useRef<HTMLOListElement>(null);
  function move(from: number, to: number) {
    if (to < 0 || to >= rules.length || from === to) return;
    const next = rules.toSpliced(from, 1).toSpliced(to, 0, rules[from]);
    onChange(next);
    setTold(`Rule ${rules[from].id} is now number ${to + 1} of ${rules.length}`);
    requestAnimationFrame(() => list.current?.querySelectorAll<HTMLElement>(".handle")[to]?.focus());
  }
  return (
    <>
      <ol ref={list} style={{ listStyle: "none", padding: 0, margin: 0, display: "grid", gap: 8 }} aria-label="Rules, in order">
        {rules.map((rule, i) => (
          <li key={i} onDragOver={(e) => { if (dragged !== undefined) { e.preventDefault(); setOver(i); } }} onDrop={(e) => { e.preventDefault(); if (dragged !== undefined) move(dragged, i); setDragged(undefined); setOver(undefined); }}>
            <RuleEditor rule={rule} i={i} of={rules} variants={variants} over={over === i && dragged !== i} locked={rolloutAt === rule.id} begins={fresh.has(rule.id)}
              drag={{ start: () => setDragged(i), end: () => { setDragged(undefined); setOver(undefined); } }}
              move={(by) => move(i, i + by)} onChange={(r) => onChange(rules.with(i, r))} onRemove={() => onChange(rules.toSpliced(i, 1))} />
          </li>
        ))}
      </ol>
      <div role="status" style={{ position: "absolute", left: -9999 }}>{told}</div>
    </>
  );
}

interface OneProps { rule: Rule; i: number; of: Rule[]; variants: string[]; over: boolean; locked: boolean; begins: boolean; drag: { start: () => void; end: () => void }; move: (by: number) => void; onChange: (r: Rule) => void; onRemove: () => void }

function RuleEditor({ rule, i, of, variants, over, locked, begins, drag, move, onChange, onRemove }: OneProps) {
  const [open, setOpen] = useState(begins);
  const now = useNow();
  const state = lease(rule, now);
  const keys = (e: KeyboardEvent) => {
    if (!e.altKey || (e.key !== "ArrowUp" && e.key !== "ArrowDown")) return;
    e.preventDefault();
    move(e.key === "ArrowUp" ? -1 : 1);
  };
  return (
    <div className={`rule${over ? " over" : ""}${state === "over" ? " dead" : ""}`} onKeyDown={keys} role="group" aria-label={`Rule ${i + 1}: ${rule.id}`}>
      <div className="line top">
        <button type="button" className="handle" draggable onDragStart={(e) => { e.dataTransfer.setData("text/plain", rule.id); e.dataTransfer.effectAllowed = "move"; drag.start(); }} onDragEnd={drag.end} aria-label={`Move rule ${rule.id}: drag, or Alt with an arrow`} title="Drag, or Alt ↑ ↓">⠿</button>
        <div className="grow">
          <div className="line">
            <b className="small soft">{i + 1}</b><b className="mono">{rule.id}</b>
            {state === "coming" && <Tag tone="accent">begins in <Remaining until={Date.parse(rule.notBefore!)} /></Tag>}
            {state === "open" && rule.notAfter && <Tag tone="warn">ends in <Remaining until={Date.parse(rule.notAfter)} /></Tag>}
            {state === "over" && <Tag>over: it does not exist any more</Tag>}
            {locked && <Tag tone="warn">a rollout stands in for what it serves</Tag>}
          </div>
          <div className="small" style={{ overflowWrap: "anywhere" }}>if {conditionWords(rule.if)}: <b>{serveWords(rule.serve)}</b>{rule.description && <span className="soft"> · {rule.description}</span>}</div>
        </div>
        <ActionIcon variant="subtle" color="gray" size="sm" disabled={i === 0} onClick={() => move(-1)} aria-label={`Move rule ${rule.id} up`}><Icon name="up" size={13} /></ActionIcon>
        <ActionIcon variant="subtle" color="gray" size="sm" disabled={i === of.length - 1} onClick={() => move(1)} aria-label={`Move rule ${rule.id} down`}><Icon name="down" size={13} /></ActionIcon>
        <Button variant="default" size="compact-xs" onClick={() => setOpen(!open)} aria-expanded={open} aria-label={`${open ? "Close" : "Edit"} rule ${rule.id}`}>{open ? "Close" : "Edit"}</Button>
        <ActionIcon variant="subtle" color="red" size="sm" onClick={onRemove} aria-label={`Remove rule ${rule.id}`}><Icon name="cross" size={13} /></ActionIcon>
      </div>
      {open && (
        <div style={{ display: "grid", gap: 10, marginTop: 10 }}>
          <div className="line">
            <TextInput label="Id" description="Told in each resolution" value={rule.id} w={200} error={ruleTrouble(of, i)} onChange={(e) => onChange({ ...rule, id: e.currentTarget.value })} />
            <TextInput label="Description" description="For whoever reads it next" className="grow" miw={160} value={rule.description ?? ""} onChange={(e) => onChange({ ...rule, description: e.currentTarget.value || undefined })} />
          </div>
          <div><div className="small soft">If</div><ConditionEditor value={rule.if} label={`Rule ${rule.id}`} onChange={(c) => onChange({ ...rule, if: c })} /></div>
          <ServeEditor value={rule.serve} variants={variants} label={`Rule ${rule.id} serves`} onChange={(serve) => onChange({ ...rule, serve })} disabled={locked} />
          <Dates rule={rule} onChange={onChange} />
        </div>
      )}
    </div>
  );
}

const lengths: [string, number][] = [["10 s", 10_000], ["1 min", 60_000], ["10 min", 600_000], ["1 h", 3_600_000], ["1 day", 86_400_000]];

// Dates lease a rule: outside them it does not exist, and evaluators end it by
// themselves.
function Dates({ rule, onChange }: { rule: Rule; onChange: (r: Rule) => void }) {
  const until = (length: number) => onChange({ ...rule, notAfter: new Date((rule.notBefore ? Date.parse(rule.notBefore) : Date.now()) + length).toISOString().replace(/\.\d+Z/, "Z") });
  const wrong = rule.notBefore && rule.notAfter && rule.notAfter <= rule.notBefore ? "must be later than the beginning" : undefined;
  return (
    <div className="line" role="group" aria-label={`Lease of rule ${rule.id}`} style={{ alignItems: "flex-end" }}>
      <TextInput type="datetime-local" step={1} label="From" value={toLocal(rule.notBefore)} onChange={(e) => onChange({ ...rule, notBefore: fromLocal(e.currentTarget.value) })} />
      <TextInput type="datetime-local" step={1} label="Until" value={toLocal(rule.notAfter)} error={wrong} onChange={(e) => onChange({ ...rule, notAfter: fromLocal(e.currentTarget.value) })} />
      <span className="small soft">for</span>
      {lengths.map(([name, ms]) => <Button key={name} variant="default" size="compact-xs" onClick={() => until(ms)}>{name}</Button>)}
      {(rule.notBefore || rule.notAfter) && <Button variant="subtle" size="compact-xs" onClick={() => { const { notBefore: _from, notAfter: _until, ...rest } = rule; onChange(rest); }}>for good</Button>}
      {rule.notBefore && rule.notAfter && !wrong && <span className="small soft">{span(Date.parse(rule.notAfter) - Date.parse(rule.notBefore))}</span>}
    </div>
  );
}

export function newRule(rules: Rule[], variant: string): Rule {
  let n = rules.length + 1;
  while (rules.some((r) => r.id === `rule-${n}`)) n++;
  return { id: `rule-${n}`, if: { all: [newTest()] }, serve: { variant } };
}
