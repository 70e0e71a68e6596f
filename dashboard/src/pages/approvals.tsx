// What waits for somebody's consent: whose turn it is, each with its difference,
// its preview, and who must agree.
import { Alert, Button, SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";

import { useSession } from "../api/auth";
import { type ChangeRequest, changeRequest, changes } from "../api/governance";
import { Card, Copy, Differences, Empty, Meter, Moment, Page, Ready, Remaining, Tag, Why } from "../parts/basics";
import { useChange } from "../parts/change";
import { needs, planLines, PlanView } from "../parts/plan";
import { to, useAddress } from "../address";
import { appliable, approvable, missing, titleOf, turnOf } from "../words/request";
import type { Tone } from "../words/serving";

const tones: Record<ChangeRequest["state"], Tone | "accent"> = { open: "accent", applied: "good", rejected: "bad", expired: "soft", review: "warn" };
const risky = (c: ChangeRequest): Tone => (c.plan.risk === "high" ? "bad" : c.plan.risk === "medium" ? "warn" : "good");

const groups: { turn: ReturnType<typeof turnOf>; title: string; about: string }[] = [
  { turn: "review", title: "To be reviewed", about: "Made by breaking the glass: somebody else looks at it now." },
  { turn: "yours", title: "Waits for you", about: "You may approve these." },
  { turn: "ready", title: "Ready to apply", about: "Enough people approved. Whoever may change it themselves applies it." },
  { turn: "others", title: "Waits for others", about: "Your own, what you approved already, and what takes a role that you do not have." },
];

export function Approvals() {
  const session = useSession();
  const [search, setSearch] = useAddress();
  const closed = search.state === "closed";
  const all = useQuery(changes(true, closed));
  return (
    <Page title="Approvals" about="Changes that others look at before they are made.">
      <SegmentedControl mb="md" value={closed ? "closed" : "waiting"} onChange={(v) => setSearch({ state: v === "waiting" ? undefined : v })} data={[{ value: "waiting", label: "Waiting" }, { value: "closed", label: "Decided" }]} aria-label="Which requests" />
      <Ready of={all}>{(list) => {
        if (closed) {
          const over = list.filter((c) => c.state !== "open" && c.state !== "review");
          return <Card>{over.length === 0 ? <Empty title="None was decided yet">What was applied, rejected or left to expire stays here.</Empty> : <ul className="rows">{over.map((c) => <Line key={c.id} of={c} />)}</ul>}</Card>;
        }
        const shown = groups.map((g) => ({ ...g, of: list.filter((c) => turnOf(c, session) === g.turn) })).filter((g) => g.of.length > 0);
        if (shown.length === 0) return <Card><Empty title="Nothing waits" action={<Button component="a" variant="default" href="#/policy">What needs approval</Button>}>When a change needs others, whoever wants it asks here: with its preview, its difference and its reason. Policy says which do.</Empty></Card>;
        return <div className="stack">{shown.map((g) => <Card key={g.turn} title={g.title} actions={<span className="small soft">{g.about}</span>}><ul className="rows">{g.of.map((c) => <Line key={c.id} of={c} />)}</ul></Card>)}</div>;
      }}</Ready>
    </Page>
  );
}

function Line({ of: c }: { of: ChangeRequest }) {
  const have = c.approvals?.length ?? 0, want = c.plan.needs.number;
  return (
    <li>
      <div className="line"><Tag tone={risky(c)}>{c.plan.risk} risk</Tag><a href={to.approval(c.id)}><b>{titleOf(c)}</b></a>{c.state !== "open" && c.state !== "review" && <Tag tone={tones[c.state]}>{c.state}</Tag>}{c.proposer.onBehalfOf && <Tag tone="accent">an agent asks</Tag>}
        <span className="push line small soft" style={{ flexWrap: "nowrap" }}>{c.state === "open" && <>{have} of {want}<span style={{ width: 60 }}><Meter part={want ? have / want : 1} tone={have >= want ? "good" : "accent"} label="Approvals" /></span>ends in <Remaining until={Date.parse(c.expiresAt)} /></>}</span></div>
      <div className="small soft">{c.proposer.id}{c.proposer.onBehalfOf && ` for ${c.proposer.onBehalfOf}`}, <Moment at={c.createdAt} />: <span className="said">{c.reason}</span></div>
    </li>
  );
}

export function Approval() {
  const { id } = useParams({ strict: false }) as { id: string };
  const of = useQuery(changeRequest(id));
  return <Page title={of.data ? titleOf(of.data) : "Request"} about={of.data && <Tag tone={tones[of.data.state]}>{of.data.state === "review" ? "to be reviewed" : of.data.state}</Tag>} actions={of.data && <Decide of={of.data} />}><Ready of={of}>{(c) => <Body of={c} />}</Ready></Page>;
}

function Body({ of: c }: { of: ChangeRequest }) {
  const session = useSession();
  const have = c.approvals ?? [], want = c.plan.needs.number, beyond = c.plan.beyond;
  return (
    <div className="stack">
      {c.state === "review" && <Alert color="red" variant="light" title="The glass was broken">It is made already, though others ought to have approved. Look at whether it was right; closing the review undoes nothing.</Alert>}
      {beyond && <Alert color="orange" variant="light" title="Beyond the agent’s envelope">{beyond.why}. Approving lets this one change through, and a person applies it.</Alert>}
      <div className="two-thirds">
        <div className="stack">
          <Card title={c.state === "applied" || c.state === "review" ? "What it changed" : "What it changes"} actions={c.flag && <a className="small" href={to.flag(c.flag)}>the flag</a>}><Differences lines={planLines(c.plan)} /></Card>
          <PlanView plan={c.plan} />
        </div>
        <div className="stack">
          <Card title="Who asks, and why"><p className="ask">{c.reason}</p><div className="small soft"><a href={to.audit({ actor: c.proposer.id })}>{c.proposer.id}</a>{c.proposer.onBehalfOf && ` on behalf of ${c.proposer.onBehalfOf}`}, <Moment at={c.createdAt} /></div></Card>
          <Card title="Who agrees" actions={want > 0 && <span className="small soft">{have.length} of {want}</span>}>
            {want > 0 && <Meter part={have.length / want} tone={have.length >= want ? "good" : "accent"} label="Approvals" />}
            <ul className="rows" style={{ marginTop: 10 }}>{have.map((a) => <li key={a.by}><Tag tone="good">approved</Tag> <b>{a.by}</b> <span className="small soft"><Moment at={a.at} /></span>{a.reason && <div className="small soft">{a.reason}</div>}</li>)}
              {c.state === "open" && Array.from({ length: Math.max(0, want - have.length) }, (_, i) => <li key={i} className="soft"><Tag>waits</Tag> {missing(c)}</li>)}
              {c.rejectedBy && <li><Tag tone="bad">rejected</Tag> <b>{c.rejectedBy}</b><div className="small soft">{c.rejectedAs}</div></li>}
              {c.appliedBy && <li><Tag tone="good">applied</Tag> <b>{c.appliedBy}</b> <span className="small soft"><Moment at={c.appliedAt} /></span></li>}</ul>
            <p className="small soft" style={{ marginBottom: 0 }}>{c.state === "open" ? <>{needs(c.plan)} It ends in <Remaining until={Date.parse(c.expiresAt)} />. <b>{approvable(c, session)}</b></> : c.state === "expired" ? "Nobody applied it in time: propose it again." : null}</p>
          </Card>
          <Card title="Exactly this"><p className="small soft" style={{ marginTop: 0 }}>An approval counts for this digest alone. If anything that it touches is edited before it is applied, the approvals are void.</p><div className="line" style={{ flexWrap: "nowrap" }}><span className="mono small">{c.plan.digest}</span><Copy text={c.plan.digest} label="Copy the digest" /></div></Card>
        </div>
      </div>
    </div>
  );
}

// Decide offers what may be done with a request, and says of the rest why not.
function Decide({ of: c }: { of: ChangeRequest }) {
  const session = useSession();
  const begin = useChange();
  const lines = planLines(c.plan), stop = approvable(c, session), apply = appliable(c, session);
  const door = (verb: string, body: Record<string, unknown> = {}) => ({ method: "POST" as const, path: `/api/v1/changes/${c.id}/${verb}`, body });
  const exactly = { digest: c.plan.digest };
  if (c.state === "review") return <Why because={stop}><Button disabled={Boolean(stop)} onClick={() => begin({ title: "Close the review", verb: "Close it", plain: true, difference: lines, change: door("review", exactly) })}>Close the review…</Button></Why>;
  if (c.state !== "open") return null;
  const enough = (c.approvals?.length ?? 0) >= c.plan.needs.number;
  const own = session.user === c.proposer.id || session.user === c.proposer.onBehalfOf;
  const agree = () => begin({ title: "Approve exactly this", verb: "Approve", plain: true, difference: lines, change: door("approve", exactly) });
  return (
    <>
      <Why because={own ? undefined : stop}><Button variant="outline" color="red" disabled={!own && Boolean(stop)} onClick={() => begin({ title: own ? "Take it back" : "Reject it", verb: own ? "Take it back" : "Reject", plain: true, danger: true, difference: ["nothing is changed, and the request is closed"], change: door("reject") })}>{own ? "Take it back…" : "Reject…"}</Button></Why>
      {enough ? <Why because={apply}><Button color="teal" disabled={Boolean(apply)} onClick={() => begin({ title: "Apply it", verb: "Apply", plain: true, difference: lines, change: door("apply") })}>Apply…</Button></Why> : <Why because={stop}><Button disabled={Boolean(stop)} onClick={agree}>Approve…</Button></Why>}
    </>
  );
}
