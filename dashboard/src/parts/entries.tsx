// Entries of the audit log: one line each, with all that they hold on demand.
import { Button } from "@mantine/core";
import { type ReactNode, useState } from "react";

import type { AuditEntry, Evidence } from "../api/client";
import { stringify } from "../api/json";
import { to } from "../address";
import { differences } from "../words/difference";
import { PreviewView } from "./plan";
import type { Preview } from "../api/governance";
import { interval } from "../words/numbers";
import type { Tone } from "../words/serving";
import { Differences, Moment, Tag } from "./basics";

export const toneOf = (action: string): Tone =>
  /\.(kill|abort|revoke|delete)$/.test(action) ? "bad" : /\.(complete|finish|advance|resume|enable)$/.test(action) ? "good" : /\.(hold|pause|disable|archive|stop|stepBack)$/.test(action) ? "warn" : "soft";

// subjectOf is what an entry is about, and where that is shown.
function subjectOf(of: AuditEntry): [string, string | undefined] {
  const [noun] = of.action.split("."), first = of.edits?.[0];
  const named = (first?.after ?? first?.before) as { name?: string } | undefined;
  switch (noun) {
    case "flag": case "rule": case "rollout": return [of.subject, to.flag(of.subject, of.environment)];
    case "change": return [of.subject, first?.noun === "change" ? to.approval(first.key) : undefined];
    case "user": return [of.subject, to.person(of.subject)];
    case "team": return [of.subject, to.team(of.subject)];
    case "token": return [named?.name ?? of.subject, undefined];
    case "segment": case "metric": case "webhook": return [of.subject, `#/${noun}s?edit=${encodeURIComponent(of.subject)}`];
    case "environment": return [of.subject, "#/environments"];
    case "policy": case "agents": return [of.subject, `#/${noun}`];
    default: return [of.subject, undefined];
  }
}

export function EntryLine({ of, actions, hideSubject = false, within: Within = "li", opened = false }: { of: AuditEntry; actions?: ReactNode; hideSubject?: boolean; within?: "li" | "div"; opened?: boolean }) {
  const [open, setOpen] = useState(opened);
  const rollout = of.edits?.find((e) => e.noun === "rollout")?.key;
  const [subject, href] = subjectOf(of);
  return (
    <Within>
      <div className="line">
        <Tag tone={toneOf(of.action)}>{of.action}</Tag>
        {!hideSubject && (href ? <a href={href} className="mono">{subject}</a> : <span className="mono" title={of.subject}>{subject}</span>)}
        {of.breakGlass && <Tag tone="bad" title="It was made although others ought to have approved">broken glass</Tag>}
        {(of.risk === "high" || of.risk === "medium") && <Tag tone={of.risk === "high" ? "bad" : "warn"}>{of.risk} risk</Tag>}
        {of.environment && <span className="small soft">{of.environment}{of.version ? ` v${of.version}` : ""}</span>}
        <span className="push small soft"><Moment at={of.at} /></span>
      </div>
      <div className="line small entry">
        <span className="soft"><a className="who" href={to.audit({ actor: of.actor.id })}>{of.actor.id}</a>{of.actor.onBehalfOf && ` for ${of.actor.onBehalfOf}`}:</span>
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
      {(of.previews ?? []).map((p) => <PreviewView key={p.environment} of={p as Preview} />)}
      {(of.approvals?.length ?? 0) > 0 && <div className="small" style={{ margin: "4px 0" }}>Approved by {of.approvals!.map((a, i) => <span key={a.by}>{i > 0 && ", "}<b>{a.by}</b> <span className="soft">(<Moment at={a.at} />{a.reason && `: ${a.reason}`})</span></span>)}</div>}
      {evidence && <EvidenceLine of={evidence} />}
      <div className="line small soft">
        <a href={to.audit({ entry: String(of.seq) })} title="A link to this entry">entry {of.seq}</a>{of.request && <span>request <span className="mono">{of.request}</span></span>}{of.actor.token && <span>token <span className="mono">{of.actor.token}</span></span>}
        {of.afterHash && <span title={`before ${of.beforeHash}`}>ruleset <span className="mono">{of.afterHash.slice(0, 12)}</span></span>}
        {of.change && <a href={to.approval(of.change)}>the request</a>}
        {of.hash && <span title={`before it ${of.prev}`}>hash <span className="mono">{of.hash.slice(0, 12)}</span></span>}
        <Button variant="subtle" size="compact-xs" onClick={() => setRaw(!raw)} aria-expanded={raw}>{raw ? "hide before and after" : "before and after"}</Button>
      </div>
      {raw && <BeforeAfter of={of} />}
    </div>
  );
}

// BeforeAfter is each thing as it was and as it is, beside each other.
function BeforeAfter({ of }: { of: AuditEntry }) {
  return (
    <>
      {(of.edits ?? []).map((e) => (
        <div key={`${e.noun} ${e.key} ${e.environment ?? ""}`} className="before-after">
          <div><div className="small soft">{e.noun} {e.key} before</div><pre className="json" tabIndex={0}>{e.before === undefined ? "nothing" : stringify(e.before, 2)}</pre></div>
          <div><div className="small soft">after</div><pre className="json" tabIndex={0}>{e.after === undefined ? "nothing" : stringify(e.after, 2)}</pre></div>
        </div>
      ))}
      {of.evidence !== undefined && <><div className="small soft">evidence</div><pre className="json" tabIndex={0}>{stringify(of.evidence, 2)}</pre></>}
    </>
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
