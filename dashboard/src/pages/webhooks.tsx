// Webhooks: who is told of what happens, and whether it arrives.
import { Button, Checkbox, Menu, Modal, MultiSelect, NativeSelect, PasswordInput, TagsInput, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { useRunsIt } from "../api/auth";
import type { Schemas } from "../api/client";
import { deliveries, environments, webhooks } from "../api/queries";
import { Card, Empty, Moment, Page, Ready, Tag } from "../parts/basics";
import { useChange } from "../parts/change";
import { keyPattern } from "../parts/definition";
import { FormPage, Lead, onTop, useRead } from "../parts/form";
import { Icon } from "../parts/icons";
import { useAddress } from "../address";
import { fieldDifference } from "../words/difference";

type Webhook = Schemas["WebhookView"];

export function Webhooks() {
  const refused = useRunsIt();
  const all = useQuery({ ...webhooks, enabled: !refused });
  const [search, setSearch] = useAddress();
  const edited = all.data?.find((w) => w.key === search.edit), shown = all.data?.find((w) => w.key === search.deliveries);
  const close = () => setSearch({ deliveries: undefined });
  if (refused) return <Page title="Webhooks"><Card><Empty title="Webhooks are for those who run the installation">{refused}</Empty></Card></Page>;
  if (search.edit === "+" || edited) return <Form key={search.edit} of={edited} />;
  return (
    <Page title="Webhooks" about="Who is told of what happens, and whether it arrives." actions={<Lead href="#/webhooks?edit=%2B" leftSection={<Icon name="plus" size={14} />}>Create a webhook</Lead>}>
      <Card>
        <Ready of={all}>{(list) => list.length === 0 ? <Empty title="Nobody is told yet" action={<Lead href="#/webhooks?edit=%2B">Create the first</Lead>}>A webhook tells Slack, or a program of yours, of kills, aborts and whatever else changes what users get, at least once and in order.</Empty> : (
          <div className="scroll" tabIndex={0} role="region" aria-label="Webhooks"><table className="plain cards"><thead><tr><th>Webhook</th><th>To</th><th>Told of</th><th>State</th><th /></tr></thead>
            <tbody>{list.map((w) => <Row key={w.key} of={w} edit={() => setSearch({ edit: w.key }, "push")} see={() => setSearch({ deliveries: w.key })} />)}</tbody></table></div>
        )}</Ready>
      </Card>
      <Modal opened={Boolean(shown)} onClose={close} size="xl" title={shown && `What ${shown.key} was told`} closeButtonProps={{ "aria-label": "Close" }}>{shown && <Deliveries of={shown} />}</Modal>
    </Page>
  );
}

function Row({ of: w, edit, see }: { of: Webhook; edit: () => void; see: () => void }) {
  const begin = useChange();
  const door = (verb: string) => ({ method: "POST" as const, path: `/api/v1/webhooks/${w.key}/${verb}`, body: {} });
  return (
    <tr>
      <td><b className="mono">{w.key}</b><div className="small soft">{w.description}</div></td>
      <td data-label="to">{w.host}<div className="small soft">{w.kind}{w.signed && ", signed"}</div></td>
      <td className="small" data-label="told of">{w.actions?.length ? w.actions.join(", ") : "whatever changes what users get"}<div className="soft">{w.environments?.length ? w.environments.join(", ") : "all environments"}, {w.flags?.length ? w.flags.join(", ") : "all flags"}</div></td>
      <td data-label="state">{w.enabled === false ? <Tag>off</Tag> : w.dead > 0 ? <Tag tone="bad">{w.dead} dead</Tag> : w.pending > 0 ? <Tag tone="warn">{w.pending} wait</Tag> : <Tag tone="good">all told</Tag>}{w.restsUntil && <div className="small soft">rests until <Moment at={w.restsUntil} /></div>}</td>
      <td className="num"><div className="line" style={{ justifyContent: "flex-end", flexWrap: "nowrap" }}>
        <Button size="compact-xs" variant="default" onClick={see} aria-label={`Deliveries of ${w.key}`}>Deliveries</Button>
        <Menu position="bottom-end"><Menu.Target><Button size="compact-xs" variant="default" aria-label={`More of ${w.key}`}>…</Button></Menu.Target><Menu.Dropdown>
          <Menu.Item onClick={edit}>Edit</Menu.Item>
          <Menu.Item onClick={() => begin({ title: `Test ${w.key}`, verb: "Send", plain: true, difference: ["a message is sent to it now"], change: door("test"), done: (a) => { const r = a.body as Schemas["WebhookTested"]; notifications.show(r.delivered ? { color: "teal", title: "It arrived", message: `Status ${r.status}, after ${r.took}.` } : { color: "red", title: "It did not arrive", message: r.error ?? `Status ${r.status}.` }); } })}>Send a test</Menu.Item>
          <Menu.Item color="red" onClick={() => begin({ title: `Delete ${w.key}`, verb: "Delete", danger: true, change: door("delete"), difference: ["it is told nothing more, and what waits for it is dropped"] })}>Delete…</Menu.Item>
        </Menu.Dropdown></Menu></div>
      </td>
    </tr>
  );
}

function Deliveries({ of }: { of: Webhook }) {
  const all = useQuery(deliveries(of.key));
  const begin = useChange();
  return (
    <Ready of={all}>{(list) => list.length === 0 ? <Empty title="Nothing yet">It is told what happens from its making on.</Empty> : (
      <div className="scroll" tabIndex={0} role="region" aria-label="Deliveries"><table className="plain"><thead><tr><th>Entry</th><th>State</th><th className="num">Attempts</th><th>Answer</th><th>When</th><th /></tr></thead>
        <tbody>{list.map((d) => <tr key={d.seq}><td>{d.seq}</td><td><Tag tone={d.state === "delivered" ? "good" : d.state === "dead" ? "bad" : "warn"}>{d.state}</Tag></td><td className="num">{d.attempts}</td><td className="small">{d.status ?? ""} {d.error}</td><td><Moment at={d.at} />{d.due && d.state === "pending" && <div className="small soft">again <Moment at={d.due} /></div>}</td><td><Button size="compact-xs" variant="default" aria-label={`Tell of entry ${d.seq} again`} onClick={() => begin({ title: `Tell ${of.key} of entry ${d.seq} again`, verb: "Tell it", plain: true, difference: ["it is told once more, now"], change: { method: "POST", path: `/api/v1/webhooks/${of.key}/redeliver`, body: { seq: d.seq } } })}>Again</Button></td></tr>)}</tbody></table></div>
    )}</Ready>
  );
}

function Form({ of: now }: { of?: Webhook }) {
  const known = useQuery(environments).data ?? [];
  const [w, setW] = useState({ key: now?.key ?? "", kind: now?.kind ?? ("slack" as Webhook["kind"]), description: now?.description ?? "", environments: now?.environments ?? [], flags: now?.flags ?? [], actions: now?.actions ?? [], enabled: now?.enabled ?? true });
  const [of, readAgain] = useRead(now, (was, is) => setW(onTop(w, was as Partial<typeof w>, is as Partial<typeof w>)));
  const [url, setURL] = useState(""), [secret, setSecret] = useState("");
  const begin = useChange();
  const set = (part: Partial<typeof w>) => setW({ ...w, ...part });
  const why = !keyPattern.test(w.key) ? "3 to 128 of a-z, 0-9, dot, dash and underscore." : !of && !/^https?:\/\/./.test(url) ? "Give the address that it listens at." : undefined;
  const body = { ...w, ...(url && { url }), ...(secret && { secret }) };
  const save = () => {
    begin({
      done: () => { location.hash = "#/webhooks"; }, stale: readAgain,
      title: of ? `Change webhook ${w.key}` : `Create webhook ${w.key}`, verb: of ? "Apply" : "Create",
      difference: [...fieldDifference(of ? Object.fromEntries(Object.keys(w).map((k) => [k, of[k as keyof Webhook] ?? w[k as keyof typeof w]])) : {}, w), ...(url ? ["its address is set"] : []), ...(secret ? ["its secret is set"] : [])],
      change: of ? { method: "PUT", path: `/api/v1/webhooks/${w.key}`, body: { ...body, ifVersion: of.version } } : { method: "POST", path: "/api/v1/webhooks", body },
    });
  };
  return (
    <FormPage title={of ? `Change ${of.key}` : "Create a webhook"} back="#/webhooks" backTo="webhooks" verb={of ? "Review and apply" : "Create…"} why={why} submit={save} aside={<><h2>What it is told</h2><p>Kills, aborts and whatever else changes what users get, at least once and in order; or just the actions that you name. A broken glass is told whatever the actions are.</p><h2>If it does not answer</h2><p>It is tried again, ever more slowly, for a day; then the message is kept as dead, and can be told again from its deliveries.</p></>}>
      <div className="two"><TextInput label="Key" required readOnly={Boolean(of)} className="mono" value={w.key} onChange={(e) => set({ key: e.currentTarget.value })} autoFocus={!of} /><NativeSelect label="Kind" value={w.kind} onChange={(e) => set({ kind: e.currentTarget.value as Webhook["kind"] })} data={[{ value: "slack", label: "Slack" }, { value: "generic", label: "generic: JSON, signed" }]} /></div>
      <PasswordInput label="Address" description={of ? `It is at ${of.host}; left empty, it stays there. Whoever knows an address can write to it, so it is never shown.` : "https://…. It is kept sealed, and never shown again."} value={url} onChange={(e) => setURL(e.currentTarget.value)} autoComplete="off" />
      {w.kind === "generic" && <PasswordInput label="Secret" description="Signs each message, 16 bytes or more" value={secret} onChange={(e) => setSecret(e.currentTarget.value)} autoComplete="new-password" />}
      <TextInput label="Description" value={w.description} onChange={(e) => set({ description: e.currentTarget.value })} />
      <MultiSelect size="xs" label="Environments" placeholder="all" data={known.map((e) => e.key)} value={w.environments} onChange={(v) => set({ environments: v })} />
      <TagsInput label="Flags" description="Globs such as payments.*; all if there are none" value={w.flags} onChange={(v) => set({ flags: v })} acceptValueOnBlur />
      <TagsInput label="Actions" description="Globs such as rollout.*; whatever changes what users get, if there are none" value={w.actions} onChange={(v) => set({ actions: v })} acceptValueOnBlur />
      <Checkbox label="It is told" checked={w.enabled} onChange={(e) => set({ enabled: e.currentTarget.checked })} />
    </FormPage>
  );
}
