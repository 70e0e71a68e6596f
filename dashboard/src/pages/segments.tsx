// Segments: named sets of users that rules refer to. A change of one is a change
// of every flag that uses it, so those are named beside it.
import { Button, NativeSelect, Textarea, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { useRefusal } from "../api/auth";
import type { Condition, Flag, Schemas } from "../api/client";
import { flags, segments, teams } from "../api/queries";
import { Card, Empty, Page, Ready, Tag } from "../parts/basics";
import { useChange } from "../parts/change";
import { ConditionEditor, incomplete, newTest } from "../parts/condition";
import { keyPattern } from "../parts/definition";
import { Field, FormPage, Lead, onTop, useRead } from "../parts/form";
import { Icon } from "../parts/icons";
import { to, useAddress } from "../address";
import { fieldDifference } from "../words/difference";
import { count, plural } from "../words/numbers";
import { conditionWords } from "../words/serving";

type Segment = Schemas["SegmentView"];

export function Segments() {
  const all = useQuery(segments), known = useQuery(flags()).data ?? [];
  const [search] = useAddress();
  const refused = useRefusal({ role: "editor" }, true);
  const edited = all.data?.find((s) => s.key === search.edit);
  if (search.edit === "+" || edited) return <Form key={search.edit} of={edited} />;
  return (
    <Page title="Segments" about="Sets of users with a name, for the rules of all flags." actions={<Lead href="#/segments?edit=%2B" because={refused} leftSection={<Icon name="plus" size={14} />}>Create a segment</Lead>}>
      <Card>
        <Ready of={all}>{(list) => list.length === 0 ? <Empty title="No segments yet" action={<Lead href="#/segments?edit=%2B" because={refused}>Create the first</Lead>}>A segment names a set of users once, such as beta testers. A change of it changes every flag whose rules use it, and is previewed for all of them.</Empty> : (
          <div className="scroll" tabIndex={0} role="region" aria-label="Segments"><table className="plain cards"><thead><tr><th>Segment</th><th>Who</th><th className="num">Always in</th><th className="num">Never in</th><th className="num">Used by</th><th>Owner</th></tr></thead>
            <tbody>{list.map((s) => <tr key={s.key}><td><a href={`#/segments?edit=${encodeURIComponent(s.key)}`} className="mono">{s.key}</a><div className="small soft">{s.description}</div></td><td style={{ maxWidth: 420 }} data-label="who">{s.if ? conditionWords(s.if) : "those always in"}</td><td className="num" data-label="always in">{count(s.include?.length ?? 0)}</td><td className="num" data-label="never in">{count(s.exclude?.length ?? 0)}</td><td className="num" data-label="used by">{plural(usersOf(s.key, known).length, "flag")}</td><td data-label="owner"><a href={to.team(s.owner)}>{s.owner}</a></td></tr>)}</tbody></table></div>
        )}</Ready>
      </Card>
    </Page>
  );
}

const lines = (text: string) => [...new Set(text.split(/[\s,]+/).filter(Boolean))];

function uses(c: Condition | undefined, key: string): boolean {
  return Boolean(c && (c.segment === key || uses(c.not, key) || [...(c.all ?? []), ...(c.any ?? [])].some((p) => uses(p, key))));
}

const usersOf = (key: string, all: Flag[]) => all.filter((f) => Object.values(f.environments ?? {}).some((c) => c.rules?.some((r) => uses(r.if, key))));

function Form({ of: now }: { of?: Segment }) {
  const refused = useRefusal({ role: "editor", team: now?.owner }, true);
  const owners = useQuery(teams).data ?? [], all = useQuery(flags()).data ?? [];
  const [key, setKey] = useState(now?.key ?? ""), [owner, setOwner] = useState(now?.owner ?? ""), [description, setDescription] = useState(now?.description ?? "");
  const [include, setInclude] = useState((now?.include ?? []).join("\n")), [exclude, setExclude] = useState((now?.exclude ?? []).join("\n"));
  const [condition, setCondition] = useState<Condition | undefined>(now?.if);
  const [of, readAgain] = useRead(now, (was, is) => {
    const text = (s: Segment | undefined) => ({ owner: s?.owner ?? "", description: s?.description ?? "", include: (s?.include ?? []).join("\n"), exclude: (s?.exclude ?? []).join("\n"), condition: s?.if });
    const kept = onTop({ owner, description, include, exclude, condition }, text(was), text(is));
    setOwner(kept.owner);
    setDescription(kept.description);
    setInclude(kept.include);
    setExclude(kept.exclude);
    setCondition(kept.condition);
  });
  const begin = useChange();
  const body = { key, owner, ...(description && { description }), ...(lines(include).length > 0 && { include: lines(include) }), ...(lines(exclude).length > 0 && { exclude: lines(exclude) }), ...(condition && { if: condition }) };
  const why = !keyPattern.test(key) ? "3 to 128 of a-z, 0-9, dot, dash and underscore." : !owner ? "Choose the team that answers for it." : condition ? incomplete(condition) : undefined;
  const users = of ? usersOf(of.key, all) : [];
  const save = () => {
    begin({
      done: () => { location.hash = "#/segments"; }, stale: readAgain,
      title: of ? `Change segment ${key}` : `Create segment ${key}`, verb: of ? "Apply" : "Create", difference: fieldDifference(of ?? {}, of ? { ...body, version: of.version } : body),
      change: of ? { method: "PUT", path: `/api/v1/segments/${key}`, body: { ...body, ifVersion: of.version } } : { method: "POST", path: "/api/v1/segments", body },
      warning: users.length > 0 ? `${plural(users.length, "flag")} use it, and change with it.` : undefined,
    });
  };
  return (
    <FormPage title={of ? `Change ${of.key}` : "Create a segment"} about={of && <Tag>v{of.version}</Tag>} back="#/segments" backTo="segments" verb={of ? "Review and apply" : "Create…"} why={why} refused={refused} submit={save} aside={<>
      <h2>Who is in</h2><p>Whoever matches the condition, and whoever is always in. Never in is stronger than both.</p>
      {of && <><h2>Used by</h2>{users.length === 0 ? <p>No rule, yet.</p> : <><p>{plural(users.length, "flag")}. A change of this is one of them all, and is previewed for each.</p><ul className="rows">{users.slice(0, 12).map((f) => <li key={f.key}><a className="mono small" href={to.flag(f.key)}>{f.key}</a></li>)}</ul></>}</>}
    </>}>
      <div className="two"><TextInput label="Key" required readOnly={Boolean(of)} autoFocus={!of} placeholder="beta-testers" className="mono" value={key} onChange={(e) => setKey(e.currentTarget.value)} /><NativeSelect label="Owner" value={owner} onChange={(e) => setOwner(e.currentTarget.value)} data={[{ value: "", label: "choose…" }, ...owners.map((t) => t.key)]} /></div>
      <TextInput label="Description" placeholder="Who asked to see things early" value={description} onChange={(e) => setDescription(e.currentTarget.value)} />
      <Field label="Whoever matches">{condition ? <ConditionEditor value={condition} label="Segment" onChange={setCondition} onRemove={() => setCondition(undefined)} /> : <div><Button variant="subtle" size="compact-xs" onClick={() => setCondition({ all: [newTest()] })}>+ condition</Button></div>}</Field>
      <div className="two"><Textarea label={`Always in (${count(lines(include).length)})`} description="Targeting keys, one a line" autosize minRows={3} maxRows={10} value={include} onChange={(e) => setInclude(e.currentTarget.value)} className="mono" /><Textarea label={`Never in (${count(lines(exclude).length)})`} description="Stronger than all else" autosize minRows={3} maxRows={10} value={exclude} onChange={(e) => setExclude(e.currentTarget.value)} className="mono" /></div>
    </FormPage>
  );
}
