// Agents: what each may do at most, what is used of it, and how all are stopped.
import { Alert, Button, NativeSelect, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { useRunsIt, useSession } from "../api/auth";
import type { Schemas } from "../api/client";
import { agents, audit, users } from "../api/queries";
import { Card, Copy, Empty, Moment, Page, Ready, Tag, Why } from "../parts/basics";
import { useChange } from "../parts/change";
import { EntryLine } from "../parts/entries";
import { EnvelopeFacts, EnvelopeForm, Use } from "../parts/envelope";
import { FormPage, Lead } from "../parts/form";
import { Icon } from "../parts/icons";
import { Secret } from "../parts/secret";
import { to, useAddress } from "../address";
import { nameOf } from "../words/access";
import { type Envelope, envelopeLines, envelopeStarts, envelopeTrouble } from "../words/envelope";

type Agent = Schemas["Agent"];

export function Agents() {
  const all = useQuery(agents);
  const [search, setSearch] = useAddress();
  const refused = useRunsIt();
  const [secret, setSecret] = useState<Schemas["NewToken"]>();
  if (search.edit) return <Form made={(t) => { setSecret(t); setSearch({ edit: undefined }); }} />;
  return (
    <Page title="Agents" about="Programs that write code, and change flags on behalf of a person." actions={<Lead href="#/agents?edit=%2B" because={refused} leftSection={<Icon name="plus" size={14} />}>Let an agent in</Lead>}>
      <div className="stack">
        {secret && <><Secret of={secret} close={() => setSecret(undefined)} /><Connect secret={secret.secret} /></>}
        <Ready of={all}>{(a) => (
          <>
            <Switch of={a} refused={refused} />
            {(a.agents ?? []).length === 0 ? <Card><Empty title="No agent may act" action={<Lead href="#/agents?edit=%2B" because={refused}>Let the first one in</Lead>}>An agent acts on behalf of a person, for 24 hours unless you say more. What it may reach is bounded here, in the server: no prompt, and no text that it reads, makes it more.</Empty></Card>
              : byPerson(a.agents ?? []).map(([person, theirs]) => <Party key={person} person={person} of={theirs} frozen={Boolean(a.frozen)} refused={refused} />)}
            <Acted />
          </>
        )}</Ready>
      </div>
    </Page>
  );
}

function byPerson(all: Agent[]): [string, Agent[]][] {
  const found = new Map<string, Agent[]>();
  for (const a of all) found.set(a.onBehalfOf, [...(found.get(a.onBehalfOf) ?? []), a]);
  return [...found];
}

function Switch({ of, refused }: { of: Schemas["Agents"]; refused?: string }) {
  const begin = useChange();
  const n = of.agents?.length ?? 0;
  if (of.frozen) {
    return (
      <Alert color="red" variant="light" title="All agents are read-only" role="status">
        <div className="line"><span className="grow wide">{of.frozen.by} stopped them <Moment at={of.frozen.at} />: {of.frozen.reason}. They read and plan, and change nothing, not even downwards.</span>
          <Why because={refused}><Button color="teal" disabled={Boolean(refused)} onClick={() => begin({ title: "Let agents go on", verb: "Let them go on", plain: true, difference: ["agents change things again, each within its envelope"], change: { method: "POST", path: "/api/v1/agents/unfreeze", body: {} } })}>Let them go on…</Button></Why></div>
      </Alert>
    );
  }
  return (
    <div className="card line switch"><span className="grow wide"><span className="dot good inline" /> <b>Agents may act</b> <span className="small soft">{n === 0 ? "None has a token now." : `${n === 1 ? "One has a token" : `${n} have tokens`}, each within its envelope. A freeze holds for each change that begins after it, everywhere.`}</span></span>
      <Why because={refused}><Button color="red" variant="outline" leftSection={<Icon name="stop" size={14} />} disabled={Boolean(refused)} onClick={() => begin({ title: "Freeze all agents", verb: "Freeze them now", plain: true, urgent: true, danger: true, difference: ["every agent is read-only, at once; people and rollouts that run go on"], change: { method: "POST", path: "/api/v1/agents/freeze", body: {} } })}>Freeze all agents</Button></Why></div>
  );
}

// The agents of one person are one party: what one used is gone for the others.
function Party({ person, of, frozen, refused }: { person: string; of: Agent[]; frozen: boolean; refused?: string }) {
  const begin = useChange();
  return (
    <Card title={<>For <a href={to.person(person)}>{nameOf(person)}</a></>} actions={<span className="small soft">{of.length > 1 && `${of.length} agents share what is used`}</span>}>
      <ul className="rows">{of.map((a) => (
        <li key={a.id} className="agent">
          <div className="line"><b>{a.name}</b><span className="mono small soft">{a.actor}</span>{frozen && <Tag tone="bad">read-only</Tag>}{!a.envelope && <Tag tone="warn" title="A token from before envelopes">no envelope: changes nothing</Tag>}<span className="push small soft">ends <Moment at={a.expiresAt} /></span>
            <a className="small" href={to.audit({ actor: a.actor })}>what it did</a>
            <Why because={refused}><Button size="compact-xs" color="red" variant="outline" disabled={Boolean(refused)} aria-label={`Revoke ${a.name}`} onClick={() => begin({ title: `Revoke ${a.name}`, verb: "Revoke", danger: true, plain: true, difference: ["its token opens nothing from now on, and what it waits for ends within five seconds", "what it exposed ends by its lease, and its rollouts go on under their guardrails"], change: { method: "POST", path: `/api/v1/tokens/${a.id}/revoke`, body: {} } })}>Revoke…</Button></Why></div>
          {a.envelope && <div className="agent-body"><EnvelopeFacts of={a.envelope} /><Use of={a.envelope} used={a.used} /></div>}
        </li>
      ))}</ul>
    </Card>
  );
}

// Acted are the last changes that anybody made for somebody else.
function Acted() {
  const lately = useQuery(audit({}, 200));
  const theirs = (lately.data ?? []).filter((e) => e.actor.onBehalfOf).slice(0, 8);
  if (theirs.length === 0) return null;
  return <Card title="What agents did lately"><ul className="rows">{theirs.map((e) => <EntryLine key={e.seq} of={e} />)}</ul></Card>;
}

function Connect({ secret }: { secret: string }) {
  const at = location.origin + location.pathname.replace(/\/$/, "");
  const line = `claude mcp add --transport http flyball ${at}/mcp --header "Authorization: Bearer ${secret}"`;
  return <Card title="Connect it"><p className="small soft" style={{ marginTop: 0 }}>Any client of MCP takes the address <span className="mono">{at}/mcp</span> and the token as a bearer. Such as:</p><div className="line"><code className="mono small" style={{ overflowWrap: "anywhere" }}>{line}</code><Copy text={line} label="Copy the command" /></div></Card>;
}

const lasts: [string, string, number][] = [["4h", "4 hours", 4], ["24h", "24 hours", 24], ["7d", "7 days", 168], ["30d", "30 days, the most", 720]];

function Form({ made }: { made: (t: Schemas["NewToken"]) => void }) {
  const { user } = useSession();
  const refused = useRunsIt();
  const begin = useChange();
  const known = useQuery(users(!refused)).data ?? [];
  const [name, setName] = useState(""), [behalf, setBehalf] = useState(user?.startsWith("user:") ? user : ""), [last, setLast] = useState("24h");
  const [envelope, setEnvelope] = useState<Envelope>({ flags: [], environments: ["production"], ...envelopeStarts[1].envelope });
  const why = !/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$/.test(name.trim()) ? "Give it a name, such as shipper." : !/^user:./.test(behalf) ? "Somebody answers for it: choose who." : envelopeTrouble(envelope);
  const hours = lasts.find(([k]) => k === last)![2];
  const person = known.find((u) => u.id === behalf);
  const people = [...new Set([...(behalf ? [behalf] : []), ...known.filter((u) => !u.disabled).map((u) => u.id)])].toSorted();
  const save = () => begin({
    title: `Let ${name} in`, verb: "Create its token", plain: true, difference: [`acts as agent:${name.trim().toLowerCase().replaceAll(" ", "-")} on behalf of ${behalf}, for ${lasts.find(([k]) => k === last)![1]}`, ...envelopeLines(envelope)],
    change: { method: "POST", path: "/api/v1/tokens", body: { kind: "agent", name: name.trim(), onBehalfOf: behalf, envelope: { ...envelope, ...(envelope.kinds?.length ? {} : { kinds: undefined }) }, ...(last !== "24h" && { expiresAt: new Date(Date.now() + hours * 3_600_000 - 60_000).toISOString() }) } },
    done: (answer) => made(answer.body as Schemas["NewToken"]),
  });
  return (
    <FormPage title="Let an agent in" about="A token with an envelope" back="#/agents" backTo="agents" verb="Review and create…" why={why} refused={refused} submit={save} aside={<>
      <h2>It may</h2>
      {envelopeTrouble(envelope) ? <p className="soft">{envelopeTrouble(envelope)}</p> : <ul className="diff">{envelopeLines(envelope).map((l) => <li key={l}>{l}</li>)}</ul>}
      <p>{behalf ? <>And never more than {nameOf(behalf)} may{person && !person.grants?.length && <b>, which is to look: give them a role first</b>}, nor more than <a href="#/policy">policy</a> allows.</> : "And never more than its person may, nor more than policy allows."}</p>
      <h2>It never may</h2>
      <p>Approve or review anything, break the glass, change policy, tokens, people, teams, environments, webhooks, segments or metrics, or lift a kill that a person made.</p>
      <h2>Beyond that</h2>
      <p>It is told the limit, what it asked for and the largest that is allowed, and it can ask people: their approval appears under Approvals.</p>
    </>}>
      <div className="three">
        <TextInput label="Name" description="Stands in the audit log" placeholder="shipper" required autoFocus value={name} onChange={(e) => setName(e.currentTarget.value)} />
        {people.length > 0 ? <NativeSelect label="On behalf of" description="Who answers for it" required value={behalf} onChange={(e) => setBehalf(e.currentTarget.value)} data={[{ value: "", label: "choose…" }, ...people.map((p) => ({ value: p, label: nameOf(p) }))]} /> : <TextInput label="On behalf of" description="user:NAME, who answers for it" required value={behalf} onChange={(e) => setBehalf(e.currentTarget.value)} />}
        <NativeSelect label="For" description="Then it opens nothing" value={last} onChange={(e) => setLast(e.currentTarget.value)} data={lasts.map(([value, label]) => ({ value, label }))} />
      </div>
      <EnvelopeForm value={envelope} onChange={setEnvelope} />
    </FormPage>
  );
}
