// Entries of the audit log: one line each, with all that they hold on demand.
import { Button } from "@mantine/core";
import { type ReactNode, useState } from "react";

import type { AuditEntry, Evidence } from "../api/client";
import { stringify } from "../api/json";
import { to } from "../routes";
import { differences } from "../words/difference";
import { interval } from "../words/numbers";
import type { Tone } from "../words/serving";
import { Differences, Moment, Tag } from "./basics";

export const toneOf = (action: string): Tone =>
  /\.(kill|abort|revoke|delete)$/.test(action) ? "bad" : /\.(complete|finish|advance|resume|enable)$/.test(action) ? "good" : /\.(hold|pause|disable|archive|stop|stepBack)$/.test(action) ? "warn" : "soft";

// Words that are not of flags lead to no flag.
const ofFlag = /^(flag|rule|rollout)\./;

export function EntryLine({ of, actions, hideSubject = false, within: Within = "li" }: { of: AuditEntry; actions?: ReactNode; hideSubject?: boolean; within?: "li" | "div" }) {
  const [open, setOpen] = useState(false);
  const rollout = of.edits?.find((e) => e.noun === "rollout")?.key;
  return (
    <Within>
      <div className="line">
        <Tag tone={toneOf(of.action)}>{of.action}</Tag>
        {!hideSubject && (ofFlag.test(of.action) ? <a href={to.flag(of.subject, of.environment)} className="mono">{of.subject}</a> : <span className="mono">{of.subject}</span>)}
        {of.environment && <span className="small soft">{of.environment}{of.version ? ` v${of.version}` : ""}</span>}
        <span className="push small soft"><Moment at={of.at} /></span>
      </div>
      <div className="line small entry">
        <span className="soft">{of.actor.id}{of.actor.onBehalfOf && ` for ${of.actor.onBehalfOf}`}:</span>
        <span className="grow" style={{ overflowWrap: "anywhere" }}>{of.reason}</span>
        {rollout && <a href={to.rollout(rollout)}>rollout</a>}
        <Button variant="subtle" size="compact-xs" onClick={() => setOpen(!open)} aria-expanded={open} aria-label={`What entry ${of.seq} changed`}>{open ? "less" : "what changed"}</Button>
        {actions}
      </div>
      {open && <Details of={of} />}
    </Within>
  );
}

function Details({ of }: { of: AuditEntry }) {
  const [raw, setRaw] = useState(false);
  const evidence = evidenceOf(of);
  return (
    <div style={{ padding: "8px 0 4px" }}>
      <Differences lines={differences(of.edits)} none="No field differs." />
      {evidence && <EvidenceLine of={evidence} />}
      <div className="line small soft">
        <span>entry {of.seq}</span>{of.request && <span>request <span className="mono">{of.request}</span></span>}{of.actor.token && <span>token <span className="mono">{of.actor.token}</span></span>}
        {of.afterHash && <span title={`before ${of.beforeHash}`}>ruleset <span className="mono">{of.afterHash.slice(0, 12)}</span></span>}
        <Button variant="subtle" size="compact-xs" onClick={() => setRaw(!raw)} aria-expanded={raw}>{raw ? "hide JSON" : "JSON"}</Button>
      </div>
      {raw && <pre className="json" tabIndex={0}>{stringify({ edits: of.edits, evidence: of.evidence }, 2)}</pre>}
    </div>
  );
}

// evidenceOf is what an automatic decision rested on.
export function evidenceOf(of: AuditEntry): Evidence | undefined {
  const held = of.evidence as { evidence?: Evidence } | undefined;
  return held?.evidence?.guardrails !== undefined ? held.evidence : undefined;
}

function EvidenceLine({ of }: { of: Evidence }) {
  return (
    <ul className="small soft" style={{ margin: "4px 0", paddingLeft: 18 }}>
      {(of.guardrails ?? []).map((g) => <li key={g.metric}><span className="mono">{g.metric}</span>: {g.verdict}, treatment against control {interval(g.estimate, g.interval)}, evidence {g.e.toPrecision(3)} of {g.threshold}, {g.n.treatment} and {g.n.control} trials</li>)}
    </ul>
  );
}
