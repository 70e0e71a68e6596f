import { Alert, Button } from "@mantine/core";
import { useState } from "react";

import { useRefusal } from "../api/auth";
import type { Flag } from "../api/client";
import { stringify } from "../api/json";
import { Card, Moment } from "../parts/basics";
import { useChange } from "../parts/change";
import { bodyOf, definitionOf, DefinitionForm, troublesOf } from "../parts/definition";
import { InCode } from "../parts/in-code";
import { fieldDifference, same } from "../words/difference";

export function Details({ of }: { of: Flag }) {
  const [d, setD] = useState(definitionOf(of));
  const [at, setAt] = useState(of.version);
  const begin = useChange();
  const refused = useRefusal({ role: "editor", team: of.owner }, true);
  const before = bodyOf(definitionOf(of)), after = bodyOf(d);
  const dirty = !same(before, after);
  if (!dirty && at !== of.version) setAt(of.version);
  const troubles = troublesOf(d), first = Object.values(troubles)[0];
  if (of.state === "archived") return <Card><pre className="json" tabIndex={0}>{stringify(before, 2)}</pre></Card>;
  return (
    <Card title="Definition">
      <p className="small soft" style={{ marginTop: 0 }}>The same in every environment. Made <Moment at={of.createdAt} full /> by {of.createdBy}; version {of.version}.</p>
      {refused && <Alert color="gray" variant="light" mb="md">{refused}</Alert>}
      <div className="with-aside">
        <fieldset disabled={Boolean(refused)} className="plain"><DefinitionForm value={d} onChange={setD} troubles={troubles} fixed /></fieldset>
        <InCode of={of} />
      </div>
      <div className="line" style={{ marginTop: 16 }}>
        <Button disabled={!dirty || Boolean(first || refused)} title={refused ?? first ?? (dirty ? undefined : "Nothing differs yet")} onClick={() => begin({
          title: `Change what ${of.key} is`, verb: "Apply", difference: fieldDifference(before, after),
          change: { method: "PUT", path: `/api/v1/flags/${encodeURIComponent(of.key)}`, body: { ...after, ifVersion: at } },
          done: (answer) => { const now = answer.body as Flag; if (now.key === of.key) setAt(now.version); }, stale: () => setAt(of.version),
        })}>Review and apply</Button>
        {dirty && <Button variant="default" onClick={() => setD(definitionOf(of))}>Discard</Button>}
        {first && <span className="small bad">{first}</span>}
      </div>
    </Card>
  );
}
