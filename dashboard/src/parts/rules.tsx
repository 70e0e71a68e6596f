// Rules in their order, of which the first that matches wins. They are moved by
// dragging, by their buttons, and by Alt with the arrows.
import { ActionIcon, Button, TextInput } from "@mantine/core";
import { type DragEvent, type KeyboardEvent, useRef, useState } from "react";

import type { Rule } from "../api/client";
import { milliseconds, span } from "../words/numbers";
import { conditionWords, lease, serveWords } from "../words/serving";
import { Remaining, Tag, useNow } from "./basics";
import { ConditionEditor, fromLocal, newTest, toLocal } from "./condition";
import { Icon } from "./icons";
import { ServeEditor } from "./serve";

interface Props { rules: Rule[]; variants: string[]; onChange: (rules: Rule[]) => void; rolloutAt?: string; fresh: Set<string> }

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export const ruleTrouble = (rules: Rule[], i: number): string | undefined =>
  !namePattern.test(rules[i].id) ? "a rule's id has 1 to 64 letters, digits, dots, dashes and underscores" : rules.some((r, j) => j < i && r.id === rules[i].id) ? `there is another rule ${rules[i].id}` : undefined;

let made = 0;

// useNames gives each rule a name of its own for as long as it is shown, so that
// one that is open stays open wherever it is moved to.
function useNames(rules: Rule[]) {
  const names = useRef<string[]>([]), shown = useRef(rules);
  if (names.current.length !== rules.length) { // not by the hands below: by a reset, or by somebody elsewhere
    const old = new Map(shown.current.map((r, i) => [r.id, names.current[i]]));
    names.current = rules.map((r) => old.get(r.id) ?? `r${++made}`);
  }
  shown.current = rules;
  return names;
}

export function Rules({ rules, variants, onChange, rolloutAt, fresh }: Props) {
  const [dragged, setDragged] = useState<number>();
  const [gap, setGap] = useState<number>(); // before which rule it would fall
  const [told, setTold] = useState("");
  const list = useRef<HTMLOListElement>(null);
  const names = useNames(rules);
  function move(from: number, to: number) {
    if (to < 0 || to >= rules.length || from === to) return;
    names.current = names.current.toSpliced(from, 1).toSpliced(to, 0, names.current[from]);
    onChange(rules.toSpliced(from, 1).toSpliced(to, 0, rules[from]));
    setTold(`Rule ${rules[from].id} is now number ${to + 1} of ${rules.length}`);
    requestAnimationFrame(() => list.current?.querySelectorAll<HTMLElement>(".handle")[to]?.focus());
  }
  function remove(i: number) {
    names.current = names.current.toSpliced(i, 1);
    onChange(rules.toSpliced(i, 1));
  }
  function again(i: number) {
    const copy = { ...rules[i], id: freeId(rules, rules[i].id) };
    names.current = names.current.toSpliced(i + 1, 0, `r${++made}`);
    fresh.add(copy.id);
    onChange(rules.toSpliced(i + 1, 0, copy));
  }
  const over = (e: DragEvent<HTMLElement>, i: number) => {
    if (dragged === undefined) return;
    e.preventDefault();
    const box = e.currentTarget.getBoundingClientRect();
    setGap(e.clientY < box.top + box.height / 2 ? i : i + 1);
  };
  const drop = (e: DragEvent<HTMLElement>) => {
    e.preventDefault();
    if (dragged !== undefined && gap !== undefined) move(dragged, gap > dragged ? gap - 1 : gap);
    end();
  };
  const end = () => { setDragged(undefined); setGap(undefined); };
  return (
    <>
      <ol ref={list} className="rules" aria-label="Rules, in order">
        {rules.map((rule, i) => (
          <li key={names.current[i]} className={gap === i && dragged !== i && dragged !== i - 1 ? "before" : gap === i + 1 && i === rules.length - 1 && dragged !== i ? "after" : undefined} onDragOver={(e) => over(e, i)} onDrop={drop}>
            <RuleEditor rule={rule} i={i} of={rules} variants={variants} lifted={dragged === i} locked={rolloutAt === rule.id} begins={fresh.has(rule.id)}
              drag={{ start: () => setDragged(i), end }} move={(by) => move(i, i + by)} onChange={(r) => onChange(rules.with(i, r))} onRemove={() => remove(i)} onAgain={() => again(i)} />
          </li>
        ))}
      </ol>
      <div role="status" style={{ position: "absolute", left: -9999 }}>{told}</div>
    </>
  );
}

interface OneProps { rule: Rule; i: number; of: Rule[]; variants: string[]; lifted: boolean; locked: boolean; begins: boolean; drag: { start: () => void; end: () => void }; move: (by: number) => void; onChange: (r: Rule) => void; onRemove: () => void; onAgain: () => void }

function RuleEditor({ rule, i, of, variants, lifted, locked, begins, drag, move, onChange, onRemove, onAgain }: OneProps) {
  const [open, setOpen] = useState(begins);
  const now = useNow();
  const state = lease(rule, now);
  const keys = (e: KeyboardEvent) => {
    if (!e.altKey || (e.key !== "ArrowUp" && e.key !== "ArrowDown")) return;
    e.preventDefault();
    move(e.key === "ArrowUp" ? -1 : 1);
  };
  return (
    <div className={`rule${lifted ? " lifted" : ""}${state === "over" ? " dead" : ""}`} onKeyDown={keys} role="group" aria-label={`Rule ${i + 1}: ${rule.id}`}>
      <div className="line top">
        <button type="button" className="handle" draggable onDragStart={(e) => { e.dataTransfer.setData("text/plain", rule.id); e.dataTransfer.effectAllowed = "move"; const card = e.currentTarget.closest(".rule"); if (card) e.dataTransfer.setDragImage(card, 16, 16); drag.start(); }} onDragEnd={drag.end} aria-label={`Move rule ${rule.id}: drag, or Alt with an arrow`} title="Drag, or Alt ↑ ↓">⠿</button>
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
          <div><h4>If</h4><ConditionEditor value={rule.if} label={`Rule ${rule.id}`} onChange={(c) => onChange({ ...rule, if: c })} /></div>
          <h4>Then</h4>
          <ServeEditor value={rule.serve} variants={variants} label={`Rule ${rule.id} serves`} onChange={(serve) => onChange({ ...rule, serve })} disabled={locked} />
          <h4>For how long</h4>
          <Dates rule={rule} onChange={onChange} />
          <div className="line"><Button variant="subtle" size="compact-xs" onClick={onAgain}>duplicate this rule</Button></div>
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
  const [typed, setTyped] = useState("");
  const wrong = rule.notBefore && rule.notAfter && rule.notAfter <= rule.notBefore ? "must be later than the beginning" : undefined;
  return (
    <div className="line" role="group" aria-label={`Lease of rule ${rule.id}`} style={{ alignItems: "flex-end" }}>
      <TextInput type="datetime-local" step={1} label="From" value={toLocal(rule.notBefore)} onChange={(e) => onChange({ ...rule, notBefore: fromLocal(e.currentTarget.value) })} />
      <TextInput type="datetime-local" step={1} label="Until" value={toLocal(rule.notAfter)} error={wrong} onChange={(e) => onChange({ ...rule, notAfter: fromLocal(e.currentTarget.value) })} />
      <TextInput label="or for" placeholder="such as 90m" aria-label={`Length of the lease of rule ${rule.id}`} w={100} value={typed} error={typed && !milliseconds(typed) ? "such as 90m" : undefined} onChange={(e) => { setTyped(e.currentTarget.value); const ms = milliseconds(e.currentTarget.value); if (ms) until(ms); }} />
      {lengths.map(([name, ms]) => <Button key={name} variant="default" size="compact-xs" mb={4} onClick={() => { setTyped(""); until(ms); }}>{name}</Button>)}
      {(rule.notBefore || rule.notAfter) && <Button variant="subtle" size="compact-xs" onClick={() => { const { notBefore: _from, notAfter: _until, ...rest } = rule; onChange(rest); }}>for good</Button>}
      {rule.notBefore && rule.notAfter && !wrong && <span className="small soft">{span(Date.parse(rule.notAfter) - Date.parse(rule.notBefore))}</span>}
    </div>
  );
}

function freeId(rules: Rule[], like: string): string {
  const stem = like.replace(/-\d+$/, "").slice(0, 58);
  let n = 2;
  while (rules.some((r) => r.id === `${stem}-${n}`)) n++;
  return `${stem}-${n}`;
}

export function newRule(rules: Rule[], variant: string): Rule {
  let n = rules.length + 1;
  while (rules.some((r) => r.id === `rule-${n}`)) n++;
  return { id: `rule-${n}`, if: { all: [newTest()] }, serve: { variant } };
}
