// Environments, teams, and what policy asks of changes.
import { Button, Checkbox, Modal, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import type { Schemas } from "../api/client";
import { doors, policy } from "../api/governance";
import { stringify } from "../api/json";
import { environments, flags, teams } from "../api/queries";
import { Card, Page, Ready, Tag } from "../parts/basics";
import { useChange } from "../parts/change";
import { keyPattern } from "../parts/definition";
import { Icon } from "../parts/icons";
import { useAddress } from "../routes";
import { fieldDifference } from "../words/difference";
import { plural } from "../words/numbers";

export function Settings() {
  const [search, setSearch] = useAddress();
  const [what, key] = (search.edit ?? "").split(":");
  const close = () => setSearch({ edit: undefined });
  const env = useQuery(environments), team = useQuery(teams);
  const all = useQuery(flags()).data ?? [];
  const title = what === "environment" ? (key ? `Environment ${key}` : "Create an environment") : key ? `Team ${key}` : "Create a team";
  return (
    <Page title="Environments & teams">
      <div style={{ display: "grid", gap: 14 }}>
        <Card title="Environments" actions={<Button variant="default" leftSection={<Icon name="plus" size={13} />} onClick={() => setSearch({ edit: "environment:" })}>Create an environment</Button>}>
          <Ready of={env}>{(list) => <div className="scroll" tabIndex={0} role="region" aria-label="Environments"><table className="plain"><thead><tr><th>Environment</th><th>Changes</th><th className="num">Ruleset</th><th /></tr></thead>
            <tbody>{list.map((e) => <tr key={e.key}><td><b>{e.key}</b></td><td>{e.protected ? <Tag tone="warn">protected</Tag> : <Tag>self-serve</Tag>} <span className="small soft">{e.protected ? "approvals apply by risk" : "a reason is enough"}</span></td><td className="num">v{e.version ?? 0}</td><td><Button size="compact-xs" variant="default" onClick={() => setSearch({ edit: `environment:${e.key}` })} aria-label={`Edit ${e.key}`}>Edit</Button></td></tr>)}</tbody></table></div>}</Ready>
        </Card>
        <Card title="Teams" actions={<Button variant="default" leftSection={<Icon name="plus" size={13} />} onClick={() => setSearch({ edit: "team:" })}>Create a team</Button>}>
          <Ready of={team}>{(list) => <div className="scroll" tabIndex={0} role="region" aria-label="Teams"><table className="plain"><thead><tr><th>Team</th><th>Contact</th><th>Owns</th><th /></tr></thead>
            <tbody>{list.map((t) => <tr key={t.key}><td>{t.name || t.key}<div className="small soft mono">{t.key}</div></td><td>{t.contact}</td><td><a href={`#/flags?owner=${t.key}`}>{plural(all.filter((f) => f.owner === t.key).length, "flag")}</a></td><td><Button size="compact-xs" variant="default" onClick={() => setSearch({ edit: `team:${t.key}` })} aria-label={`Edit team ${t.key}`}>Edit</Button></td></tr>)}</tbody></table></div>}</Ready>
        </Card>
        <PolicyCard />
      </div>
      <Modal opened={Boolean(search.edit)} onClose={close} title={title} closeButtonProps={{ "aria-label": "Close" }}>
        {what === "environment" ? <EnvironmentForm key={search.edit} of={env.data?.find((e) => e.key === key)} close={close} /> : <TeamForm key={search.edit} of={team.data?.find((t) => t.key === key)} close={close} />}
      </Modal>
    </Page>
  );
}

function PolicyCard() {
  const known = useQuery(doors).data;
  const of = useQuery(policy(known?.policy ?? false));
  if (!known?.policy) return null;
  return <Card title="Policy" actions={<span className="small soft">changed with <span className="mono">flyball policy update</span></span>}><p className="small soft" style={{ marginTop: 0 }}>What changes need in protected environments.</p><Ready of={of}>{(p) => <pre className="json" tabIndex={0}>{stringify(p, 2)}</pre>}</Ready></Card>;
}

function EnvironmentForm({ of, close }: { of?: Schemas["Environment"]; close: () => void }) {
  const [key, setKey] = useState(of?.key ?? ""), [guarded, setGuarded] = useState(of?.protected ?? false);
  const begin = useChange();
  const why = !keyPattern.test(key) ? "3 to 128 of a-z, 0-9, dot, dash and underscore." : of && of.protected === guarded ? "Nothing differs yet." : undefined;
  return (
    <div style={{ display: "grid", gap: 12 }}>
      <TextInput label="Key" readOnly={Boolean(of)} value={key} onChange={(e) => setKey(e.currentTarget.value)} data-autofocus />
      <Checkbox label="Protected" description="Changes there need approval by their risk" checked={guarded} onChange={(e) => setGuarded(e.currentTarget.checked)} />
      <div className="line"><Button disabled={Boolean(why)} onClick={() => { close(); begin({ title: of ? `Change environment ${key}` : `Create environment ${key}`, verb: of ? "Apply" : "Create", difference: of ? [guarded ? "approvals apply" : "approvals apply no longer"] : ["every flag serves its safe variant there, disabled"], change: of ? { method: "PUT", path: `/api/v1/environments/${key}`, body: { protected: guarded } } : { method: "POST", path: "/api/v1/environments", body: { key, protected: guarded } } }); }}>{of ? "Review and apply" : "Create…"}</Button>{why && <span className="small soft">{why}</span>}</div>
    </div>
  );
}

function TeamForm({ of, close }: { of?: Schemas["Team"]; close: () => void }) {
  const [t, setT] = useState({ key: of?.key ?? "", name: of?.name ?? "", contact: of?.contact ?? "" });
  const begin = useChange();
  const why = !keyPattern.test(t.key) ? "3 to 128 of a-z, 0-9, dot, dash and underscore." : undefined;
  return (
    <div style={{ display: "grid", gap: 12 }}>
      <TextInput label="Key" readOnly={Boolean(of)} value={t.key} onChange={(e) => setT({ ...t, key: e.currentTarget.value })} data-autofocus />
      <TextInput label="Name" description="What people call it" value={t.name} onChange={(e) => setT({ ...t, name: e.currentTarget.value })} />
      <TextInput label="Contact" description="Where to reach it when its flag misbehaves" placeholder="#payments" value={t.contact} onChange={(e) => setT({ ...t, contact: e.currentTarget.value })} />
      <div className="line"><Button disabled={Boolean(why)} onClick={() => { close(); begin({ title: of ? `Change team ${t.key}` : `Create team ${t.key}`, verb: of ? "Apply" : "Create", difference: fieldDifference(of ?? {}, t), change: of ? { method: "PUT", path: `/api/v1/teams/${t.key}`, body: t } : { method: "POST", path: "/api/v1/teams", body: t } }); }}>{of ? "Review and apply" : "Create…"}</Button>{why && <span className="small soft">{why}</span>}</div>
    </div>
  );
}
