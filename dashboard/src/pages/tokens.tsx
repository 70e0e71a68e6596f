// Tokens: who and what may come in, and for what.
import { Alert, Button, Modal, NativeSelect, TagsInput, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { useRefusal } from "../api/auth";
import type { Schemas } from "../api/client";
import { environments, tokens } from "../api/queries";
import { Card, Copy, Empty, Moment, Page, Ready, Tag, useNow, Why } from "../parts/basics";
import { useChange } from "../parts/change";
import { Icon } from "../parts/icons";
import { useAddress } from "../routes";

type Token = Schemas["Token"];

const kinds: Record<Token["kind"], string> = {
  sdk: "a service: rulesets, telemetry and evaluation of one environment", client: "a browser or an app: client-visible flags of one environment. Public by nature", api: "a person or CI: manages flags", agent: "an AI agent: manages flags on behalf of a person",
};

export function Tokens() {
  const all = useQuery(tokens);
  const [search, setSearch] = useAddress();
  const refused = useRefusal({ role: "admin" });
  const [secret, setSecret] = useState<Schemas["NewToken"]>();
  const now = useNow();
  const begin = useChange();
  const over = (t: Token) => Boolean(t.revokedAt) || Boolean(t.expiresAt && Date.parse(t.expiresAt) < now);
  return (
    <Page title="Tokens" actions={<Why because={refused}><Button disabled={Boolean(refused)} leftSection={<Icon name="plus" size={14} />} onClick={() => setSearch({ edit: "+" })}>Create a token</Button></Why>}>
      {secret && <Alert color="teal" title={`The token ${secret.name}`} mb="md" withCloseButton closeButtonLabel="Close" onClose={() => setSecret(undefined)}><p>Copy it now: it is shown once, and never again.</p><div className="line"><code className="mono" style={{ overflowWrap: "anywhere" }}>{secret.secret}</code><Copy text={secret.secret} label="Copy the token" /></div></Alert>}
      <Card>
        <Ready of={all}>{(list) => list.length === 0 ? <Empty title="No tokens" /> : (
          <div className="scroll" tabIndex={0} role="region" aria-label="Tokens"><table className="plain"><thead><tr><th>Name</th><th>Kind</th><th>Opens</th><th>Acts as</th><th>Made</th><th>Expires</th><th /></tr></thead>
            <tbody>{list.toSorted((a, b) => Number(over(a)) - Number(over(b)) || b.createdAt.localeCompare(a.createdAt)).map((t) => (
              <tr key={t.id}><td>{t.name}<div className="small soft mono">{t.id}</div></td><td><Tag tone={t.kind === "agent" ? "accent" : "soft"} title={kinds[t.kind]}>{t.kind}</Tag></td><td>{t.environment ?? "management"}<div className="small soft">{t.flags?.length ? t.flags.join(", ") : "all flags"}</div></td><td className="small">{t.actor}{t.onBehalfOf && <div className="soft">for {t.onBehalfOf}</div>}</td><td><Moment at={t.createdAt} /></td>
                <td>{t.revokedAt ? <Tag tone="bad">revoked <Moment at={t.revokedAt} /></Tag> : t.expiresAt ? <Moment at={t.expiresAt} /> : <span className="soft">never</span>}</td>
                <td>{!t.revokedAt && <Button size="compact-xs" color="red" variant="outline" aria-label={`Revoke ${t.name}`} onClick={() => begin({ title: `Revoke ${t.name}`, verb: "Revoke", danger: true, change: { method: "POST", path: `/api/v1/tokens/${t.id}/revoke`, body: {} }, difference: ["it opens nothing from now on, and its streams end within five seconds"], warning: t.kind === "sdk" ? "Programs that use it go on with the last ruleset they have." : undefined })}>Revoke…</Button>}</td></tr>
            ))}</tbody></table></div>
        )}</Ready>
      </Card>
      <Modal opened={search.edit === "+"} onClose={() => setSearch({ edit: undefined })} size="lg" title="Create a token" closeButtonProps={{ "aria-label": "Close" }}><Form close={() => setSearch({ edit: undefined })} made={setSecret} /></Modal>
    </Page>
  );
}

function Form({ close, made }: { close: () => void; made: (t: Schemas["NewToken"]) => void }) {
  const known = useQuery(environments).data ?? [];
  const [kind, setKind] = useState<Token["kind"]>("sdk"), [name, setName] = useState(""), [environment, setEnvironment] = useState(""), [flags, setFlags] = useState<string[]>([]);
  const [actor, setActor] = useState(""), [behalf, setBehalf] = useState(""), [expires, setExpires] = useState("");
  const begin = useChange();
  const one = kind === "sdk" || kind === "client";
  const where = environment || known[0]?.key || "";
  const why = !name.trim() ? "Say what or who uses it." : kind === "agent" && !/^agent:./.test(actor) ? "An agent acts as agent:NAME." : kind === "agent" && !/^user:./.test(behalf) ? "Somebody answers for an agent: user:NAME." : actor && !/^[a-z]+:./.test(actor) ? "An actor is user:NAME, service:NAME or agent:NAME." : undefined;
  const save = () => {
    close();
    begin({
      title: `Create the token ${name}`, verb: "Create", difference: [`${kind}: ${kinds[kind]}`, one ? `opens ${where}` : `acts as ${actor || "you"}`, flags.length ? `limited to ${flags.join(", ")}` : "for all flags", expires ? `until ${expires}` : "without an end"],
      change: { method: "POST", path: "/api/v1/tokens", body: { kind, name: name.trim(), ...(one && { environment: where }), ...(flags.length > 0 && { flags }), ...(!one && actor && { actor }), ...(kind === "agent" && { onBehalfOf: behalf }), ...(expires && { expiresAt: expires }) } },
      done: (answer) => { const t = answer.body as Schemas["NewToken"]; if (t?.secret) made(t); },
    });
  };
  return (
    <div style={{ display: "grid", gap: 12 }}>
      <NativeSelect label="Kind" description={kinds[kind]} value={kind} onChange={(e) => setKind(e.currentTarget.value as Token["kind"])} data={Object.keys(kinds)} />
      <TextInput label="Name" description="What or who uses it" required value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
      {one && <NativeSelect label="Environment" value={where} onChange={(e) => setEnvironment(e.currentTarget.value)} data={known.map((e) => e.key)} />}
      {!one && <TextInput label="Acts as" description={kind === "agent" ? "agent:NAME" : "user:NAME or service:NAME; you, if it is empty"} value={actor} onChange={(e) => setActor(e.currentTarget.value)} />}
      {kind === "agent" && <TextInput label="On behalf of" description="The person who answers for it, user:NAME" value={behalf} onChange={(e) => setBehalf(e.currentTarget.value)} />}
      <TagsInput label="Limited to flags" description="Globs such as payments.*, each with Enter; all flags if there are none" value={flags} onChange={setFlags} acceptValueOnBlur />
      <TextInput type="date" label="Expires" description="At the end of that day, UTC; never if it is empty" maw={200} value={expires} onChange={(e) => setExpires(e.currentTarget.value)} />
      <div className="line"><Button disabled={Boolean(why)} onClick={save}>Create…</Button>{why && <span className="small soft">{why}</span>}</div>
    </div>
  );
}
