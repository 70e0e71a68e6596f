// What waits for somebody's consent: each with its difference, its preview, and
// who must agree.
import { Button, SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";

import { type ChangeRequest, changeRequest, changes, doors } from "../api/governance";
import { Card, Differences, Empty, Moment, Page, Ready, Remaining, Tag } from "../parts/basics";
import { useChange } from "../parts/change";
import { needs, planLines, PlanView } from "../parts/plan";
import { to, useAddress } from "../routes";
import type { Tone } from "../words/serving";

const tones: Record<ChangeRequest["state"], Tone | "accent"> = { open: "accent", applied: "good", rejected: "bad", expired: "soft", review: "warn" };

export function Approvals() {
  const known = useQuery(doors);
  const all = useQuery(changes(known.data?.changes ?? false));
  const [search, setSearch] = useAddress();
  const which = search.state ?? "waiting";
  return (
    <Page title="Approvals">
      <Ready of={known}>{(d) => !d.changes
        ? <Card><Empty title="Nothing waits for approval here">This server makes every change at once, with its reason in the audit log. One that knows approvals shows here what waits for others, with what it would change and whom it would affect.</Empty></Card>
        : (
          <>
            <SegmentedControl mb="md" value={which} onChange={(v) => setSearch({ state: v === "waiting" ? undefined : v })} data={[{ value: "waiting", label: "Waiting" }, { value: "closed", label: "Closed" }]} aria-label="Which requests" />
            <Card><Ready of={all}>{(list) => {
              const shown = list.filter((c) => (which === "waiting") === (c.state === "open" || c.state === "review"));
              if (shown.length === 0) return <Empty title={which === "waiting" ? "Nothing waits" : "None yet"}>A change that needs others comes here when it is asked for.</Empty>;
              return <ul className="rows">{shown.map((c) => <Line key={c.id} of={c} />)}</ul>;
            }}</Ready></Card>
          </>
        )}</Ready>
    </Page>
  );
}

function Line({ of: c }: { of: ChangeRequest }) {
  return (
    <li>
      <div className="line"><Tag tone={tones[c.state]}>{c.state}</Tag><a href={to.approval(c.id)}>{c.plan.action} <span className="mono">{c.plan.subject}</span></a><Tag tone={c.plan.risk === "high" ? "bad" : c.plan.risk === "medium" ? "warn" : "good"}>{c.plan.risk} risk</Tag><span className="push small soft">{(c.approvals?.length ?? 0)} of {c.plan.needs.number} approvals</span></div>
      <div className="small soft">{c.proposer.id}, <Moment at={c.createdAt} />: {c.reason}</div>
    </li>
  );
}

export function Approval() {
  const { id } = useParams({ strict: false }) as { id: string };
  const of = useQuery(changeRequest(id));
  return <Page title={of.data ? `${of.data.plan.action} ${of.data.plan.subject}` : "Request"} about={of.data && <Tag tone={tones[of.data.state]}>{of.data.state}</Tag>} actions={of.data && <Decide of={of.data} />}><Ready of={of}>{(c) => <Body of={c} />}</Ready></Page>;
}

function Body({ of: c }: { of: ChangeRequest }) {
  const lines = planLines(c.plan);
  return (
    <div style={{ display: "grid", gap: 14 }}>
      <Card title="What it changes"><Differences lines={lines} /></Card>
      <PlanView plan={c.plan} />
      <Card title="Request">
        <dl className="facts">
          <dt>asked by</dt><dd>{c.proposer.id}{c.proposer.onBehalfOf && ` for ${c.proposer.onBehalfOf}`}, <Moment at={c.createdAt} full /></dd><dt>reason</dt><dd>{c.reason}</dd>
          <dt>needs</dt><dd>{needs(c.plan)}</dd>
          <dt>approved by</dt><dd>{(c.approvals ?? []).length === 0 ? "nobody yet" : c.approvals!.map((a) => <div key={a.by}>{a.by}, <Moment at={a.at} />{a.reason && `: ${a.reason}`}</div>)}</dd>
          {c.state === "open" && <><dt>expires</dt><dd>in <Remaining until={Date.parse(c.expiresAt)} /></dd></>}
          {c.rejectedBy && <><dt>rejected by</dt><dd>{c.rejectedBy}: {c.rejectedAs}</dd></>}
          {c.appliedBy && <><dt>applied by</dt><dd>{c.appliedBy}, <Moment at={c.appliedAt} full /></dd></>}
          <dt>digest</dt><dd className="mono">{c.plan.digest}</dd>
        </dl>
      </Card>
    </div>
  );
}

// Decide offers what may be done with a request. Nobody approves their own: the
// server says so to whoever tries.
function Decide({ of: c }: { of: ChangeRequest }) {
  const begin = useChange();
  const lines = planLines(c.plan);
  const door = (verb: string) => ({ method: "POST" as const, path: `/api/v1/changes/${c.id}/${verb}`, body: {} });
  if (c.state === "review") return <Button onClick={() => begin({ title: "Close the review", verb: "Close", plain: true, difference: lines, change: door("review") })}>Close the review</Button>;
  if (c.state !== "open") return null;
  const enough = (c.approvals?.length ?? 0) >= c.plan.needs.number;
  return (
    <>
      <Button variant="outline" color="red" onClick={() => begin({ title: "Reject it", verb: "Reject", plain: true, danger: true, difference: ["nothing is changed, and the request is closed"], change: door("reject") })}>Reject</Button>
      {enough ? <Button color="teal" onClick={() => begin({ title: "Apply it", verb: "Apply", plain: true, difference: lines, change: door("apply") })}>Apply</Button> : <Button onClick={() => begin({ title: "Approve exactly this", verb: "Approve", plain: true, difference: lines, change: door("approve") })}>Approve</Button>}
    </>
  );
}
