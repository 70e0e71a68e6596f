// Tokens: which programs, scripts and people come in, and for what.
import { Button, Modal, NativeSelect, SegmentedControl, TagsInput, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { type Grant, useRunsIt } from "../api/auth";
import type { Schemas } from "../api/client";
import { environments, tokens } from "../api/queries";
import { Card, Empty, Moment, Page, Ready, Tag, useNow } from "../parts/basics";
import { useChange } from "../parts/change";
import { Field, FormPage, Lead } from "../parts/form";
import { GrantsEditor, GrantTags } from "../parts/grants";
import { EnvelopeFacts } from "../parts/envelope";
import { Icon } from "../parts/icons";
import { Secret } from "../parts/secret";
import { useAddress } from "../address";
import { clean, grantWords } from "../words/access";

type Token = Schemas["Token"];

const kinds: Record<Token["kind"], { name: string; about: string }> = {
  sdk: { name: "a program", about: "Rulesets, telemetry and evaluation of one environment. Keep it secret." },
  client: { name: "a browser or an app", about: "Evaluation of the flags of one environment that browsers may see. Public by nature." },
  api: { name: "a person or a script", about: "Manages, within roles. On the command line and in pipelines." },
  agent: { name: "an AI agent", about: "Manages within an envelope, on behalf of a person." },
};

export function Tokens() {
  const refused = useRunsIt();
  const all = useQuery({ ...tokens, enabled: !refused });
  const [search, setSearch] = useAddress();
  const [secret, setSecret] = useState<Schemas["NewToken"]>();
  const now = useNow();
  const over = (t: Token) => Boolean(t.revokedAt) || Boolean(t.expiresAt && Date.parse(t.expiresAt) < now);
  if (refused) return <Page title="Tokens"><Card><Empty title="Tokens are for those who run the installation">{refused}</Empty></Card></Page>;
  if (search.edit) return <Form made={(t) => { setSecret(t); setSearch({ edit: undefined }); }} />;
  const which = search.state === "over", shown = (t: Token) => over(t) === which && (!search.kind || t.kind === search.kind);
  return (
    <Page title="Tokens" about="What comes in without a browser." actions={<><Lead href="#/agents?edit=%2B" variant="default">Let an agent in</Lead><Lead href="#/tokens?edit=%2B" leftSection={<Icon name="plus" size={14} />}>Create a token</Lead></>}>
      <div className="stack">
        {secret && <Secret of={secret} close={() => setSecret(undefined)} />}
        <div className="line" role="search">
          <SegmentedControl aria-label="Which tokens" value={which ? "over" : "live"} onChange={(v) => setSearch({ state: v === "over" ? "over" : undefined })} data={[{ value: "live", label: "Open doors" }, { value: "over", label: "Revoked or over" }]} />
          <NativeSelect aria-label="Kind" value={search.kind ?? ""} onChange={(e) => setSearch({ kind: e.currentTarget.value || undefined })} data={[{ value: "", label: "of any kind" }, ...Object.entries(kinds).map(([value, k]) => ({ value, label: `${value}: ${k.name}` }))]} />
        </div>
        <Card><Ready of={all}>{(list) => !list.some(shown) ? <Empty title={which ? "None was revoked, and none is over" : "No token is like that"}>A program reads its flags by an sdk token, a page by a client token, and a script manages flags by an api token.</Empty> : (
          <div className="scroll" tabIndex={0} role="region" aria-label="Tokens"><table className="plain cards"><thead><tr><th>Token</th><th>Kind</th><th>Opens</th><th>Acts as</th><th>Last used</th><th>{which ? "Ended" : "Ends"}</th><th /></tr></thead>
            <tbody>{list.filter(shown).toSorted((a, b) => b.createdAt.localeCompare(a.createdAt)).map((t) => <Row key={t.id} of={t} over={which} />)}</tbody></table></div>
        )}</Ready></Card>
      </div>
    </Page>
  );
}

function Row({ of: t, over }: { of: Token; over: boolean }) {
  const begin = useChange();
  const [open, setOpen] = useState(false);
  return (
    <tr>
      <td><b>{t.name}</b><div className="small soft"><span className="mono">{t.id}</span>, made <Moment at={t.createdAt} />{t.createdBy && ` by ${t.createdBy}`}</div></td>
      <td><Tag tone={t.kind === "agent" ? "accent" : "soft"} title={kinds[t.kind].about}>{t.kind}</Tag></td>
      <td className="small" data-label="opens">{t.environment ?? (t.envelope ? <Button variant="subtle" size="compact-xs" px={0} onClick={() => setOpen(true)}>its envelope</Button> : <GrantTags of={t.grants} none="all that its actor may" />)}{(t.flags?.length ?? 0) > 0 && <div className="soft">only {t.flags!.join(", ")}</div>}
        {t.envelope && <Modal opened={open} onClose={() => setOpen(false)} title={`The envelope of ${t.name}`} closeButtonProps={{ "aria-label": "Close" }}><EnvelopeFacts of={t.envelope} /><p className="small"><a href="#/agents">What is used of it</a></p></Modal>}</td>
      <td className="small" data-label="acts as">{t.actor ?? <span className="soft">nobody: it reads</span>}{t.onBehalfOf && <div className="soft">for {t.onBehalfOf}</div>}</td>
      <td data-label="last used"><Moment at={t.lastUsed} /></td>
      <td data-label="ends">{t.revokedAt ? <><Tag tone="bad">revoked</Tag> <Moment at={t.revokedAt} /></> : t.expiresAt ? <Moment at={t.expiresAt} /> : <span className="soft">never</span>}</td>
      <td className="num">{!over && <Button size="compact-xs" color="red" variant="outline" aria-label={`Revoke ${t.name}`} onClick={() => begin({ title: `Revoke ${t.name}`, verb: "Revoke", danger: true, plain: true, change: { method: "POST", path: `/api/v1/tokens/${t.id}/revoke`, body: {} }, difference: ["it opens nothing from now on, and its streams end within five seconds"], warning: t.kind === "sdk" ? "Programs that use it go on with the last ruleset that they have, and hear of no change." : undefined })}>Revoke…</Button>}</td>
    </tr>
  );
}

function Form({ made }: { made: (t: Schemas["NewToken"]) => void }) {
  const known = useQuery(environments).data ?? [];
  const refused = useRunsIt();
  const [kind, setKind] = useState<Exclude<Token["kind"], "agent">>("sdk"), [name, setName] = useState(""), [environment, setEnvironment] = useState(""), [flags, setFlags] = useState<string[]>([]);
  const [actor, setActor] = useState(""), [expires, setExpires] = useState(""), [grants, setGrants] = useState<Grant[]>([]);
  const begin = useChange();
  const one = kind !== "api", where = environment || known[0]?.key || "";
  const nobodys = kind === "api" && grants.length === 0 && !actor.startsWith("user:");
  const why = !name.trim() ? "Say what or who uses it." : actor && !/^(user|service):./.test(actor) ? "An actor is user:NAME or service:NAME." : undefined;
  const save = () => begin({
    title: `Create the token ${name}`, verb: "Create", plain: true,
    difference: [`${kind}: ${kinds[kind].about}`, one ? `opens ${where}` : `acts as ${actor || `service:${name.trim().toLowerCase().replaceAll(" ", "-")}`}`, ...(one ? [] : grants.length ? grants.map((g) => `may be ${grantWords(g)}`) : ["may do all that its actor may"]), ...(flags.length ? [`limited to ${flags.join(", ")}`] : []), expires ? `until ${expires}` : "without an end"],
    warning: nobodys ? "It has no roles, and its actor may have no account: then nothing bounds it." : undefined,
    change: { method: "POST", path: "/api/v1/tokens", body: { kind, name: name.trim(), ...(one && { environment: where }), ...(flags.length > 0 && { flags }), ...(!one && actor && { actor }), ...(!one && grants.length > 0 && { grants: grants.map(clean) }), ...(expires && { expiresAt: expires }) } },
    done: (answer) => made(answer.body as Schemas["NewToken"]),
  });
  return (
    <FormPage title="Create a token" back="#/tokens" backTo="tokens" verb="Review and create…" why={why} refused={refused} submit={save} aside={<><h2>{kinds[kind].name}</h2><p>{kinds[kind].about}</p><h2>Afterwards</h2><p>Its secret is shown once. The list tells when it was last used, to the minute; a revoked one opens nothing at once, and its streams end within five seconds.</p><p>For an AI agent, <a href="#/agents?edit=%2B">let one in with an envelope</a>.</p></>}>
      <Field label="For"><SegmentedControl aria-label="Kind" value={kind} onChange={(v) => setKind(v as typeof kind)} data={(["sdk", "client", "api"] as const).map((k) => ({ value: k, label: kinds[k].name }))} /></Field>
      <TextInput label="Name" description="What or who uses it" placeholder="checkout in production" required autoFocus value={name} onChange={(e) => setName(e.currentTarget.value)} />
      {one && <NativeSelect label="Environment" value={where} onChange={(e) => setEnvironment(e.currentTarget.value)} data={known.map((e) => e.key)} />}
      {!one && <><TextInput label="Acts as" description="user:NAME or service:NAME; a service of the token's name, if it is empty" placeholder="service:payments-ci" value={actor} onChange={(e) => setActor(e.currentTarget.value)} /><Field label="Roles" about="What it may do at most; never more than a person that it acts as."><GrantsEditor value={grants} onChange={setGrants} /></Field>{nobodys && <p className="small warn" style={{ margin: 0 }}>Without roles, a token that acts as a service is bounded by nothing. Give it one.</p>}</>}
      <TagsInput label="Limited to flags" description="Globs such as payments.*, each with Enter; all flags if there are none" value={flags} onChange={setFlags} acceptValueOnBlur />
      <TextInput type="date" label="Ends" description="At the end of that day, UTC; never if it is empty" maw={220} value={expires} onChange={(e) => setExpires(e.currentTarget.value)} />
    </FormPage>
  );
}
