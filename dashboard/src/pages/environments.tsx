// Environments: where flags serve, how guarded each is, and which attributes of
// users its previews know.
import { Button, Checkbox, TagsInput, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { useRunsIt } from "../api/auth";
import type { Schemas } from "../api/client";
import { environments, fleet } from "../api/queries";
import { Card, Page, Ready, Tag, Why } from "../parts/basics";
import { useChange } from "../parts/change";
import { keyPattern } from "../parts/definition";
import { FormPage, Lead } from "../parts/form";
import { Icon } from "../parts/icons";
import { useAddress } from "../address";
import { same } from "../words/difference";

export function Environments() {
  const [search, setSearch] = useAddress();
  const refused = useRunsIt();
  const all = useQuery(environments), seen = useQuery(fleet()).data;
  const edited = all.data?.find((e) => e.key === search.edit);
  if (search.edit && (search.edit === "+" || edited)) return <Form key={search.edit} of={edited} />;
  return (
    <Page title="Environments" about="Each serves its own state of every flag." actions={<Lead href="#/environments?edit=%2B" because={refused} leftSection={<Icon name="plus" size={14} />}>Create an environment</Lead>}>
      <Card><Ready of={all}>{(list) => (
        <div className="scroll" tabIndex={0} role="region" aria-label="Environments"><table className="plain cards"><thead><tr><th>Environment</th><th>A change there</th><th>Previews know</th><th className="num">Ruleset</th><th className="num">Instances</th><th /></tr></thead>
          <tbody>{list.map((e) => {
            const f = seen?.find((x) => x.environment === e.key);
            return (
              <tr key={e.key}><td><b>{e.key}</b></td><td>{e.protected ? <><Tag tone="warn">protected</Tag> <a className="small" href="#/policy">needs what policy asks</a></> : <><Tag>self-serve</Tag> <span className="small soft">a reason is enough</span></>}</td>
                <td className="small" data-label="previews know">{e.sampleAttributes?.length ? e.sampleAttributes.join(", ") : <span className="soft">no attribute of users</span>}</td><td className="num" data-label="ruleset">v{e.version ?? 0}</td><td className="num" data-label="instances">{f ? <a href="#/fleet">{f.instances + (f.remote ?? 0)}</a> : "–"}</td>
                <td className="num"><Why because={refused}><Button size="compact-xs" variant="default" disabled={Boolean(refused)} onClick={() => setSearch({ edit: e.key }, "push")} aria-label={`Edit ${e.key}`}>Edit</Button></Why></td></tr>
            );
          })}</tbody></table></div>
      )}</Ready></Card>
    </Page>
  );
}

function Form({ of }: { of?: Schemas["Environment"] }) {
  const refused = useRunsIt();
  const begin = useChange();
  const [key, setKey] = useState(of?.key ?? ""), [guarded, setGuarded] = useState(of?.protected ?? false), [known, setKnown] = useState(of?.sampleAttributes ?? []);
  const was = of?.sampleAttributes ?? [];
  const lines = [
    ...(of ? [] : ["every flag serves its safe variant there, disabled"]), ...(guarded !== (of?.protected ?? false) ? [guarded ? "changes need what policy asks" : "a reason is enough for any change there"] : []),
    ...(same(was, known) ? [] : [`previews know ${known.join(", ") || "no attribute of users"}${of ? `, and not ${was.join(", ") || "none"}` : ""}`]),
  ];
  const why = !keyPattern.test(key) ? "A key has 3 to 128 of a-z, 0-9, dot, dash and underscore." : of && lines.length === 0 ? "Nothing differs yet." : undefined;
  const save = () => begin({
    title: of ? `Change environment ${key}` : `Create environment ${key}`, verb: of ? "Apply" : "Create", plain: true, difference: lines, done: () => { location.hash = "#/environments"; },
    warning: of?.protected && !guarded ? "Nobody has to look at any change there from now on, and freezes do not hold." : undefined,
    change: of ? { method: "PUT", path: `/api/v1/environments/${encodeURIComponent(key)}`, body: { key, protected: guarded, sampleAttributes: known, ifRevision: of.revision } } : { method: "POST", path: "/api/v1/environments", body: { key, protected: guarded, sampleAttributes: known } },
  });
  return (
    <FormPage title={of ? `Change ${of.key}` : "Create an environment"} back="#/environments" backTo="environments" verb={of ? "Review and apply" : "Create…"} why={why} refused={refused} submit={save} aside={<>
      <h2>Protected</h2><p>Where customers are. The server finds out how many users a change touches before it is made, and <a href="#/policy">policy</a> says who else must look.</p>
      <h2>What previews know</h2><p>To tell how many users a rule would reach, programs send a small sample of contexts: units as hashes, and these attributes alone. Leave out what identifies somebody.</p>
    </>}>
      <TextInput label="Key" description="Permanent; tokens of programs name it" placeholder="staging" required readOnly={Boolean(of)} autoFocus={!of} className="mono" value={key} onChange={(e) => setKey(e.currentTarget.value)} />
      <Checkbox label="Protected" description="Changes there need what policy asks by their risk, and freezes hold" checked={guarded} onChange={(e) => setGuarded(e.currentTarget.checked)} />
      <TagsInput label="Attributes that previews know" description="Such as country or plan, each with Enter; no other attribute leaves a program" value={known} onChange={setKnown} acceptValueOnBlur />
    </FormPage>
  );
}
