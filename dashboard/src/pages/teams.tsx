// Teams: who owns what, and who may do what with it.
import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useState } from "react";

import { type Grant, useRunsIt } from "../api/auth";
import type { Schemas } from "../api/client";
import { environments, flags, segments, teams, users } from "../api/queries";
import { Card, Empty, Page, Ready, Tag } from "../parts/basics";
import { useChange } from "../parts/change";
import { keyPattern } from "../parts/definition";
import { FormPage, Lead } from "../parts/form";
import { Icon } from "../parts/icons";
import { to, useAddress } from "../address";
import { clean, grantWords, nameOf, place, sameGrant } from "../words/access";
import { fieldDifference } from "../words/difference";
import { plural } from "../words/numbers";
import { bodyOf } from "./people";

type Team = Schemas["TeamView"];
type User = Schemas["UserView"];
interface Member { user: User; grant: Grant }

const membersOf = (team: string, all: User[]): Member[] => all.filter((u) => !u.disabled).flatMap((user) => (user.grants ?? []).filter((g) => g.team === team).map((grant) => ({ user, grant })));

export function Teams() {
  const refused = useRunsIt();
  const all = useQuery(teams), owned = useQuery(flags()).data ?? [], people = useQuery(users(!refused)).data;
  return (
    <Page title="Teams" about="A team owns flags and segments, and answers for them." actions={<Lead href="#/teams/new" because={refused} leftSection={<Icon name="plus" size={14} />}>Create a team</Lead>}>
      <Card><Ready of={all}>{(list) => (
        <div className="scroll" tabIndex={0} role="region" aria-label="Teams"><table className="plain cards"><thead><tr><th>Team</th><th>Contact</th><th>Owns</th>{people && <th>Members</th>}</tr></thead>
          <tbody>{list.map((t) => {
            const members = people && [...new Set(membersOf(t.key, people).map((m) => m.user.name || nameOf(m.user.id)))];
            return <tr key={t.key}><td><a href={to.team(t.key)}><b>{t.name || t.key}</b></a><div className="small soft mono">{t.key}</div></td><td data-label="contact">{t.contact || <span className="soft">none</span>}</td><td data-label="owns"><a href={`#/flags?owner=${encodeURIComponent(t.key)}`}>{plural(owned.filter((f) => f.owner === t.key).length, "flag")}</a></td>{members && <td data-label="members">{members.length === 0 ? <span className="soft small">nobody yet</span> : members.slice(0, 4).join(", ") + (members.length > 4 ? ` and ${members.length - 4} more` : "")}</td>}</tr>;
          })}</tbody></table></div>
      )}</Ready></Card>
    </Page>
  );
}

export function TeamPage() {
  const { key } = useParams({ strict: false }) as { key: string };
  const all = useQuery(teams);
  const [search] = useAddress();
  const of = all.data?.find((t) => t.key === key);
  if (key === "new") return <TeamForm />;
  if (all.data && !of) return <Page title={key}><Card><Empty title="There is no such team" action={<Button component="a" variant="default" href="#/teams">All teams</Button>}>It may be misspelt: keys of teams are permanent.</Empty></Card></Page>;
  if (of && search.edit) return <TeamForm of={of} />;
  return <Ready of={all}>{() => <Shown of={of!} />}</Ready>;
}

function Shown({ of }: { of: Team }) {
  const refused = useRunsIt();
  const owned = (useQuery(flags()).data ?? []).filter((f) => f.owner === of.key), sets = (useQuery(segments).data ?? []).filter((s) => s.owner === of.key);
  return (
    <Page title={of.name || of.key} about={<span className="mono">{of.key}</span>} actions={<Lead href={to.team(of.key, { edit: "1" })} because={refused} variant="default">Edit</Lead>}>
      <div className="stack">
        <Members of={of} refused={refused} />
        <div className="grid">
          <Card title="Reached at"><p style={{ margin: 0 }}>{of.contact || <span className="soft">Nowhere yet. Whoever finds one of its flags misbehaving looks here.</span>}</p></Card>
          <Card title="Owns" actions={<a className="small" href={`#/flags?owner=${encodeURIComponent(of.key)}`}>its flags</a>}>
            {owned.length + sets.length === 0 && <p className="small soft">Nothing yet.</p>}
            <ul className="rows">{owned.slice(0, 8).map((f) => <li key={f.key}><a className="mono" href={to.flag(f.key)}>{f.key}</a></li>)}{sets.map((s) => <li key={s.key}><Tag>segment</Tag> <a className="mono" href={`#/segments?edit=${encodeURIComponent(s.key)}`}>{s.key}</a></li>)}</ul>
            {owned.length > 8 && <p className="small soft">and {plural(owned.length - 8, "more flag")}</p>}
          </Card>
        </div>
      </div>
    </Page>
  );
}

function Members({ of, refused }: { of: Team; refused?: string }) {
  const begin = useChange();
  const people = useQuery(users(!refused)), places = useQuery(environments).data ?? [];
  const [who, setWho] = useState(""), [role, setRole] = useState("editor"), [where, setWhere] = useState("");
  const replace = (user: User, grants: Grant[], title: string, line: string) => begin({
    title, verb: "Apply", plain: true, difference: [line], warning: "They are signed out, and sign in anew with what they may do then.",
    change: { method: "PUT", path: `/api/v1/users/${encodeURIComponent(user.id)}`, body: { ...bodyOf({ ...user, grants: grants as User["grants"] }), ifVersion: user.version } }, done: () => setWho(""),
  });
  if (refused) return <Card title="Members"><p className="small soft">Those who run the installation see who has which role here. A team changes its own flags; everybody else looks at them.</p></Card>;
  const all = people.data ?? [], members = membersOf(of.key, all), everywhere = all.filter((u) => !u.disabled && (u.grants ?? []).some((g) => !g.team && g.role !== "viewer"));
  const chosen = all.find((u) => u.id === who), wanted = clean({ role, environment: where, team: of.key });
  const why = !chosen ? "Choose who." : (chosen.grants ?? []).some((g) => sameGrant(g, wanted)) ? "They have this role already." : undefined;
  return (
    <Card title="Members">
      <Ready of={people}>{() => members.length === 0 ? <p className="small soft">Nobody has a role here alone yet.</p> : (
        <div className="scroll" tabIndex={0} role="region" aria-label="Members"><table className="plain cards"><thead><tr><th>Person</th><th>Role</th><th>Where</th><th /></tr></thead>
          <tbody>{members.map(({ user, grant }) => <tr key={user.id + grantWords(grant)}><td><a href={to.person(user.id)}>{user.name || nameOf(user.id)}</a> <span className="small soft mono">{user.id}</span></td><td><Tag tone={grant.role === "admin" ? "warn" : grant.role === "approver" ? "good" : "accent"}>{grant.role}</Tag></td><td data-label="where">{grant.environment || "everywhere"}</td>
            <td className="num"><Button size="compact-xs" variant="default" aria-label={`Take ${grant.role} from ${user.id}`} onClick={() => replace(user, (user.grants ?? []).filter((g) => !sameGrant(g, grant)), `Take a role from ${user.name || user.id}`, `is no longer ${grantWords(grant)}`)}>Take away…</Button></td></tr>)}</tbody></table></div>
      )}</Ready>
      <form className="line foot add-member" onSubmit={(e) => { e.preventDefault(); if (chosen && !why) replace(chosen, [...(chosen.grants ?? []), wanted], `Give ${chosen.name || chosen.id} a role`, `may be ${wanted.role} ${place(wanted)}`); }}>
        <NativeSelect label="Who" value={who} onChange={(e) => setWho(e.currentTarget.value)} data={[{ value: "", label: "choose…" }, ...all.filter((u) => !u.disabled).map((u) => ({ value: u.id, label: u.name ? `${u.name} (${nameOf(u.id)})` : nameOf(u.id) }))]} />
        <NativeSelect label="May be" value={role} onChange={(e) => setRole(e.currentTarget.value)} data={["editor", "approver", "admin"]} />
        <NativeSelect label="Where" value={where} onChange={(e) => setWhere(e.currentTarget.value)} data={[{ value: "", label: "everywhere" }, ...places.map((p) => p.key)]} />
        <Button type="submit" disabled={Boolean(why)}>Add a member…</Button>{who && why && <span className="small soft">{why}</span>}
      </form>
      {everywhere.length > 0 && <p className="small soft" style={{ marginBottom: 0 }}>For every team’s things, and so for these too: {everywhere.map((u, i) => <span key={u.id}>{i > 0 && ", "}<a href={to.person(u.id)}>{u.name || nameOf(u.id)}</a> ({[...new Set((u.grants ?? []).filter((g) => !g.team && g.role !== "viewer").map((g) => g.role + (g.environment ? ` in ${g.environment}` : "")))].join(", ")})</span>)}.</p>}
    </Card>
  );
}

function TeamForm({ of }: { of?: Team }) {
  const refused = useRunsIt();
  const begin = useChange();
  const [t, setT] = useState({ key: of?.key ?? "", name: of?.name ?? "", contact: of?.contact ?? "" });
  const was = { key: of?.key ?? "", name: of?.name ?? "", contact: of?.contact ?? "" }, lines = fieldDifference(was, t);
  const why = !keyPattern.test(t.key) ? "A key has 3 to 128 of a-z, 0-9, dot, dash and underscore." : of && lines.length === 0 ? "Nothing differs yet." : undefined;
  const save = () => begin({
    title: of ? `Change team ${t.key}` : `Create team ${t.key}`, verb: of ? "Apply" : "Create", plain: true, difference: lines, done: () => { location.hash = to.team(t.key); },
    change: of ? { method: "PUT", path: `/api/v1/teams/${encodeURIComponent(t.key)}`, body: { ...t, ifVersion: of.version } } : { method: "POST", path: "/api/v1/teams", body: t },
  });
  return (
    <FormPage title={of ? `Change ${of.name || of.key}` : "Create a team"} back={of ? to.team(of.key) : "#/teams"} backTo={of ? "the team" : "teams"} verb={of ? "Review and apply" : "Create…"} why={why} refused={refused} submit={save} aside={<><h2>What a team is for</h2><p>Each flag and each segment has one team that answers for it. Editors of a team change what it owns, and nothing else.</p><p>The key stays for good; the name may change.</p></>}>
      <TextInput label="Key" description="Permanent; flags name it as their owner" placeholder="payments-team" required readOnly={Boolean(of)} autoFocus={!of} className="mono" value={t.key} onChange={(e) => setT({ ...t, key: e.currentTarget.value })} />
      <TextInput label="Name" description="What people call it" placeholder="Payments" value={t.name} onChange={(e) => setT({ ...t, name: e.currentTarget.value })} />
      <TextInput label="Contact" description="Where to reach it when its flag misbehaves: a channel, an address or a telephone number" placeholder="#payments" value={t.contact} onChange={(e) => setT({ ...t, contact: e.currentTarget.value })} />
    </FormPage>
  );
}
