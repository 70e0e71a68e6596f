// Segments: named sets of users that rules refer to. A change of one is a change
// of every flag that uses it, so those are named beside it.
import { Button, Modal, NativeSelect, Textarea, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import type { Condition, Schemas } from "../api/client";
import { flags, segments, teams } from "../api/queries";
import { Card, Empty, Page, Ready, Tag } from "../parts/basics";
import { useChange } from "../parts/change";
import { ConditionEditor, incomplete, newTest } from "../parts/condition";
import { keyPattern } from "../parts/definition";
import { Icon } from "../parts/icons";
import { to, useAddress } from "../routes";
import { fieldDifference } from "../words/difference";
import { count, plural } from "../words/numbers";
import { conditionWords } from "../words/serving";

type Segment = Schemas["SegmentView"];

export function Segments() {
  const all = useQuery(segments);
  const [search, setSearch] = useAddress();
  const close = () => setSearch({ edit: undefined });
  const edited = all.data?.find((s) => s.key === search.edit);
  return (
    <Page title="Segments" actions={<Button leftSection={<Icon name="plus" size={14} />} onClick={() => setSearch({ edit: "+" })}>Create a segment</Button>}>
      <Card>
        <Ready of={all}>{(list) => list.length === 0 ? <Empty title="No segments yet" action={<Button onClick={() => setSearch({ edit: "+" })}>Create the first</Button>}>A segment names a set of users once, such as beta testers, for the rules of all flags.</Empty> : (
          <div className="scroll" tabIndex={0} role="region" aria-label="Segments"><table className="plain"><thead><tr><th>Segment</th><th>Who</th><th className="num">Included</th><th className="num">Excluded</th><th>Owner</th></tr></thead>
            <tbody>{list.map((s) => <tr key={s.key}><td><a href={`#/segments?edit=${s.key}`} className="mono">{s.key}</a><div className="small soft">{s.description}</div></td><td style={{ maxWidth: 420 }}>{s.if ? conditionWords(s.if) : "those included"}</td><td className="num">{count(s.include?.length ?? 0)}</td><td className="num">{count(s.exclude?.length ?? 0)}</td><td>{s.owner}</td></tr>)}</tbody></table></div>
        )}</Ready>
      </Card>
      <Modal opened={search.edit === "+" || Boolean(edited)} onClose={close} size="xl" title={edited ? edited.key : "Create a segment"} closeButtonProps={{ "aria-label": "Close" }}>
        <Form key={search.edit} of={edited} close={close} />
      </Modal>
    </Page>
  );
}

const lines = (text: string) => [...new Set(text.split(/[\s,]+/).filter(Boolean))];

function uses(c: Condition | undefined, key: string): boolean {
  return Boolean(c && (c.segment === key || uses(c.not, key) || [...(c.all ?? []), ...(c.any ?? [])].some((p) => uses(p, key))));
}

function Form({ of, close }: { of?: Segment; close: () => void }) {
  const owners = useQuery(teams).data ?? [], all = useQuery(flags()).data ?? [];
  const [key, setKey] = useState(of?.key ?? ""), [owner, setOwner] = useState(of?.owner ?? ""), [description, setDescription] = useState(of?.description ?? "");
  const [include, setInclude] = useState((of?.include ?? []).join("\n")), [exclude, setExclude] = useState((of?.exclude ?? []).join("\n"));
  const [condition, setCondition] = useState<Condition | undefined>(of?.if);
  const begin = useChange();
  const body = { key, owner, ...(description && { description }), ...(lines(include).length > 0 && { include: lines(include) }), ...(lines(exclude).length > 0 && { exclude: lines(exclude) }), ...(condition && { if: condition }) };
  const why = !keyPattern.test(key) ? "3 to 128 of a-z, 0-9, dot, dash and underscore." : !owner ? "Choose the team that answers for it." : condition ? incomplete(condition) : undefined;
  const users = of ? all.filter((f) => Object.values(f.environments ?? {}).some((c) => c.rules?.some((r) => uses(r.if, of.key)))) : [];
  const save = () => {
    close();
    begin({
      title: of ? `Change segment ${key}` : `Create segment ${key}`, verb: of ? "Apply" : "Create", difference: fieldDifference(of ?? {}, of ? { ...body, version: of.version } : body),
      change: of ? { method: "PUT", path: `/api/v1/segments/${key}`, body: { ...body, ifVersion: of.version } } : { method: "POST", path: "/api/v1/segments", body },
      warning: users.length > 0 ? `${plural(users.length, "flag")} use it, and change with it.` : undefined,
    });
  };
  return (
    <div style={{ display: "grid", gap: 12 }}>
      <div className="line foot"><TextInput label="Key" required readOnly={Boolean(of)} className="mono grow" value={key} onChange={(e) => setKey(e.currentTarget.value)} data-autofocus /><NativeSelect label="Owner" value={owner} onChange={(e) => setOwner(e.currentTarget.value)} data={["", ...owners.map((t) => t.key)]} /></div>
      <TextInput label="Description" value={description} onChange={(e) => setDescription(e.currentTarget.value)} />
      <div><b className="small">Whoever matches</b>{condition ? <ConditionEditor value={condition} label="Segment" onChange={setCondition} onRemove={() => setCondition(undefined)} /> : <div><Button variant="subtle" size="compact-xs" onClick={() => setCondition({ all: [newTest()] })}>+ condition</Button></div>}</div>
      <div className="grid"><Textarea label={`Always in (${count(lines(include).length)})`} description="Targeting keys, one a line" autosize minRows={3} maxRows={10} value={include} onChange={(e) => setInclude(e.currentTarget.value)} className="mono" /><Textarea label={`Never in (${count(lines(exclude).length)})`} description="Stronger than all else" autosize minRows={3} maxRows={10} value={exclude} onChange={(e) => setExclude(e.currentTarget.value)} className="mono" /></div>
      {of && <div className="small soft">Used by {users.length === 0 ? "no rule" : users.slice(0, 12).map((f) => <a key={f.key} href={to.flag(f.key)} style={{ marginRight: 8 }}>{f.key}</a>)} <Tag>v{of.version}</Tag></div>}
      <div className="line"><Button disabled={Boolean(why)} onClick={save}>{of ? "Review and apply" : "Create…"}</Button>{why && <span className="small soft">{why}</span>}</div>
    </div>
  );
}
