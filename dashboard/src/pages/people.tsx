// People: who has an account, what each may do, and how they come in.
import { Alert, Button, Checkbox, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useState } from "react";

import { base, type Grant, useRunsIt, useSession } from "../api/auth";
import type { Schemas } from "../api/client";
import { audit, tokens, users } from "../api/queries";
import { Card, Copy, Empty, Moment, Page, Ready, Tag, Why } from "../parts/basics";
import { useChange } from "../parts/change";
import { EntryLine } from "../parts/entries";
import { Field, FormPage, onTop, useRead } from "../parts/form";
import { GrantsEditor, GrantTags } from "../parts/grants";
import { Icon } from "../parts/icons";
import { to, useAddress } from "../address";
import { clean, grantDifference, nameOf } from "../words/access";
import { plural } from "../words/numbers";

type User = Schemas["UserView"];
type Link = Schemas["PasswordSet"];

const door = (u: { id: string }, verb = "") => `/api/v1/users/${encodeURIComponent(u.id)}${verb}`;

// bodyOf is the account as the server replaces it: what is left out is gone.
export const bodyOf = (u: User) => ({ id: u.id, ...(u.name && { name: u.name }), ...(u.email && { email: u.email }), grants: (u.grants ?? []).map(clean), ...(u.disabled && { disabled: true }), ...(u.issuer && { issuer: u.issuer, subject: u.subject }) });

export function People() {
  const refused = useRunsIt();
  const all = useQuery(users(!refused));
  const [search, setSearch] = useAddress();
  const words = (search.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (u: User) => words.every((w) => [u.id, u.name, u.email, ...(u.grants ?? []).flatMap((g) => [g.role, g.team, g.environment])].join(" ").toLowerCase().includes(w));
  if (refused) return <Page title="People"><Card><Empty title="Who has an account is for those who run the installation" action={<Button component="a" variant="default" href="#/account">What you may do yourself</Button>}>{refused}</Empty></Card></Page>;
  return (
    <Page title="People" about="Everybody who signs in looks at everything. What somebody may change is granted to them." actions={<Button component="a" href="#/people/new" leftSection={<Icon name="plus" size={14} />}>Add somebody</Button>}>
      <Ready of={all}>{(list) => list.length === 0 ? <Card><Empty title="Nobody has an account yet" action={<Button component="a" href="#/people/new">Add the first</Button>}>Until then whoever has a token acts by it. The server’s first start printed a set-up link beside the admin token; it is good for 24 hours and makes the first account. Or add somebody here.</Empty></Card> : (
        <>
          <TextInput aria-label="Search people" placeholder="Name, address, role or team" leftSection={<Icon name="search" size={13} />} maw={320} mb="sm" value={search.q ?? ""} onChange={(e) => setSearch({ q: e.currentTarget.value || undefined })} />
          <Card><div className="scroll" tabIndex={0} role="region" aria-label="People"><table className="plain cards"><thead><tr><th>Person</th><th>May</th><th>Signs in by</th><th>Last seen</th></tr></thead>
            <tbody>{list.filter(matches).toSorted((a, b) => Number(a.disabled ?? false) - Number(b.disabled ?? false) || a.id.localeCompare(b.id)).map((u) => (
              <tr key={u.id} className={u.disabled ? "faded" : ""}>
                <td><a href={to.person(u.id)}><b>{u.name || nameOf(u.id)}</b></a>{u.disabled && <> <Tag tone="bad">disabled</Tag></>}<div className="small soft"><span className="mono">{u.id}</span>{u.email && ` · ${u.email}`}</div></td>
                <td data-label="may"><GrantTags of={u.grants} /></td><td className="small" data-label="signs in by">{how(u)}</td><td data-label="last seen"><Moment at={u.lastSeen} /></td>
              </tr>
            ))}</tbody></table></div>
            {list.every((u) => !matches(u)) && <Empty title="Nobody is like that">Search by name, address, role, team or environment.</Empty>}
          </Card>
        </>
      )}</Ready>
    </Page>
  );
}

const how = (u: User) => (u.issuer ? "the organisation’s sign-in" : u.passwordAt ? "a password" : "nothing yet: make them a link");

export function Person() {
  const { id } = useParams({ strict: false }) as { id: string };
  const refused = useRunsIt();
  const all = useQuery(users(!refused));
  const [search] = useAddress();
  const of = all.data?.find((u) => nameOf(u.id) === nameOf(id));
  if (id === "new") return <AccountForm />;
  if (refused) return <Page title={nameOf(id)}><Card><Empty title="Accounts are for those who run the installation">{refused}</Empty></Card></Page>;
  if (all.data && !of) return <Page title={nameOf(id)}><Card><Empty title="Nobody has this account" action={<Button component="a" variant="default" href="#/people">All people</Button>}>Tokens may act under a name that has no account; this is one, or it is misspelt.</Empty></Card></Page>;
  if (of && search.edit) return <AccountForm of={of} />;
  return <Ready of={all}>{() => <Shown of={of!} />}</Ready>;
}

function Shown({ of }: { of: User }) {
  const begin = useChange();
  const me = useSession().user === of.id;
  const [link, setLink] = useState<Link>();
  const theirs = (useQuery(tokens).data ?? []).filter((t) => !t.revokedAt && (t.actor === of.id || t.onBehalfOf === of.id));
  const done = useQuery(audit({ actor: of.id }, 10));
  const disable = () => begin({ title: `Disable ${of.name || of.id}`, verb: "Disable", danger: true, plain: true, difference: ["they are signed out everywhere, at once", ...(theirs.length ? [`${plural(theirs.length, "token")} open nothing any more, those of their agents too`] : [])], change: { method: "POST", path: door(of, "/disable"), body: {} } });
  const enable = () => begin({ title: `Let ${of.name || of.id} in again`, verb: "Let them in", plain: true, difference: ["they may sign in, and their tokens open again"], change: { method: "PUT", path: door(of), body: { ...bodyOf(of), disabled: false, ifVersion: of.version } } });
  const makeLink = () => begin({ title: `A link for ${of.name || of.id}`, verb: "Make the link", plain: true, difference: ["whoever opens the link within 24 hours chooses a password, once", ...(of.passwordAt ? ["until then the password stays as it is"] : [])], change: { method: "POST", path: door(of, "/password"), body: { link: true } }, done: (a) => setLink(a.body as Link) });
  return (
    <Page title={of.name || nameOf(of.id)} about={<>{of.disabled ? <Tag tone="bad">disabled</Tag> : null} <span className="mono">{of.id}</span></>} actions={<>
      {!of.issuer && <Button variant="default" onClick={makeLink} disabled={of.disabled}>{of.passwordAt ? "Link for a new password…" : "Invite by a link…"}</Button>}
      <Button component="a" variant="default" href={to.person(of.id, { edit: "1" })}>Edit</Button>
      {of.disabled ? <Button onClick={enable}>Let them in again…</Button> : <Why because={me ? "Nobody shuts themselves out: another admin can." : undefined}><Button color="red" variant="outline" disabled={me} onClick={disable}>Disable…</Button></Why>}
    </>}>
      <div className="stack">
        {link?.path && <OneTimeLink of={link} name={of.name || of.id} close={() => setLink(undefined)} />}
        <div className="grid thirds">
          <Card title="May"><GrantTags of={of.grants} none="Looks at everything, and changes nothing." /></Card>
          <Card title="Account"><dl className="facts"><dt>address</dt><dd>{of.email || "none"}</dd><dt>signs in by</dt><dd>{how(of)}{of.passwordAt && <>, chosen <Moment at={of.passwordAt} /></>}</dd><dt>last seen</dt><dd><Moment at={of.lastSeen} /></dd><dt>made</dt><dd><Moment at={of.createdAt} /></dd>{of.issuer && <><dt>provider</dt><dd>{of.issuer}<div className="mono">{of.subject}</div></dd></>}</dl></Card>
          <Card title="Tokens and agents" actions={<a className="small" href="#/tokens">all</a>}>{theirs.length === 0 ? <p className="small soft">No token acts as them or for them.</p> : <ul className="rows">{theirs.map((t) => <li key={t.id} className="line"><Tag tone={t.kind === "agent" ? "accent" : "soft"}>{t.kind}</Tag><span>{t.name}</span><span className="push small soft">used <Moment at={t.lastUsed} /></span></li>)}</ul>}</Card>
        </div>
        <Card title="What they did" actions={<a className="small" href={to.audit({ actor: of.id })}>all of it</a>}><Ready of={done}>{(list) => list.length === 0 ? <p className="small soft">Nothing yet.</p> : <ul className="rows">{list.map((e) => <EntryLine key={e.seq} of={e} />)}</ul>}</Ready></Card>
      </div>
    </Page>
  );
}

function OneTimeLink({ of, name, close }: { of: Link; name: string; close: () => void }) {
  const link = base + (of.path ?? "");
  return (
    <Alert color="teal" title={`A link for ${name}, for one use`} withCloseButton closeButtonLabel="Close" onClose={close}>
      <p>Copy it now and send it to nobody else: it is shown once, and ends <Moment at={of.expiresAt} />.</p>
      <div className="line"><code className="mono" style={{ overflowWrap: "anywhere" }}>{link}</code><Copy text={link} label="Copy the link" /></div>
    </Alert>
  );
}

function AccountForm({ of: now }: { of?: User }) {
  const refused = useRunsIt();
  const begin = useChange();
  const [id, setId] = useState(""), [name, setName] = useState(now?.name ?? ""), [email, setEmail] = useState(now?.email ?? "");
  const [grants, setGrants] = useState<Grant[]>(now?.grants ?? []);
  const [provider, setProvider] = useState(Boolean(now?.issuer)), [issuer, setIssuer] = useState(now?.issuer ?? ""), [subject, setSubject] = useState(now?.subject ?? "");
  const [of, readAgain] = useRead(now, (was, is) => {
    const kept = onTop({ name, email, grants }, was as Partial<{ name: string; email: string; grants: Grant[] }>, is as Partial<{ name: string; email: string; grants: Grant[] }>);
    setName(kept.name);
    setEmail(kept.email);
    setGrants(kept.grants);
  });
  const whole = { ...(of ?? { version: 0 }), id: of?.id ?? `user:${id.trim()}`, name: name.trim(), email: email.trim(), grants, issuer: provider ? issuer.trim() : "", subject: provider ? subject.trim() : "" } as User;
  const lines = [
    ...(of ? [] : [`${whole.id} has an account`]), ...(of && of.name !== (whole.name || undefined) ? [`is called ${whole.name || "nothing"}`] : []), ...(whole.email !== (of?.email ?? "") ? [`is reached at ${whole.email || "no address"}`] : []),
    ...grantDifference(of?.grants ?? [], grants), ...(whole.issuer !== (of?.issuer ?? "") || whole.subject !== (of?.subject ?? "") ? [provider ? `is ${whole.subject} to ${whole.issuer}` : "is not known by a provider"] : []),
  ];
  const why = !of && !/^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$/.test(id.trim()) ? "Choose a sign-in name of letters, digits and . _ @ + -" : email && !/^[^@\s]+@[^@\s]+$/.test(email) ? "That is no address." : provider && !(issuer && subject) ? "A provider and what it calls them go together." : of && lines.length === 0 ? "Nothing differs yet." : undefined;
  const back = of ? to.person(of.id) : "#/people";
  const save = () => begin({
    title: of ? `Change ${of.name || of.id}` : `Add ${name || id}`, verb: of ? "Apply" : "Add", plain: true, difference: lines,
    warning: of && grantDifference(of.grants ?? [], grants).length > 0 ? "They are signed out, and sign in anew with what they may do then." : undefined,
    change: of ? { method: "PUT", path: door(of), body: { ...bodyOf(whole), ifVersion: of.version } } : { method: "POST", path: "/api/v1/users", body: bodyOf(whole) },
    done: () => { location.hash = to.person(whole.id); }, stale: readAgain,
  });
  return (
    <FormPage title={of ? `Change ${of.name || nameOf(of.id)}` : "Add somebody"} back={back} backTo={of ? "the account" : "people"} verb={of ? "Review and apply" : "Add…"} why={why} refused={refused} submit={save} aside={<>
      <h2>What a role allows</h2>
      <p>Everybody looks at everything. <b>Editors</b> change flags, rules, rollouts and segments. <b>Approvers</b> consent to what others propose, and never to their own. <b>Admins</b> do both; an admin of everything also runs the installation.</p>
      <p>A role counts for what a team owns, in an environment; left open, for every team and everywhere.</p>
      <h2>How they come in</h2>
      <p>{of ? "Nobody chooses another’s password: make them a link on their page." : "Once they are added, make them a link on their page. It is good for one use within 24 hours, and they choose their password by it."}</p>
    </>}>
      {!of && <TextInput label="Sign-in name" description="It stands in the audit log as user:NAME, for good." placeholder="ann" required autoFocus className="mono" value={id} onChange={(e) => setId(e.currentTarget.value)} />}
      <div className="two"><TextInput label="Name" description="What people call them" placeholder="Ann Example" value={name} onChange={(e) => setName(e.currentTarget.value)} /><TextInput label="Address" description="Where they are reached; it proves nothing" placeholder="ann@example.com" value={email} onChange={(e) => setEmail(e.currentTarget.value)} /></div>
      <Field label="Roles"><GrantsEditor value={grants} onChange={setGrants} /></Field>
      <Checkbox label="A provider of OpenID Connect knows them" description="Only to name them before they first come: who signs in there gets an account by itself." checked={provider} onChange={(e) => setProvider(e.currentTarget.checked)} />
      {provider && <div className="two"><TextInput label="Issuer" placeholder="https://accounts.example.com" value={issuer} onChange={(e) => setIssuer(e.currentTarget.value)} /><TextInput label="Subject" description="What it calls them: its claim sub" value={subject} onChange={(e) => setSubject(e.currentTarget.value)} /></div>}
    </FormPage>
  );
}
