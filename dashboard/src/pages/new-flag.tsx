import { Button } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";

import { useRefusal } from "../api/auth";
import { Card, Page, Why } from "../parts/basics";
import { useChange } from "../parts/change";
import { bodyOf, type Definition, DefinitionForm, startVariants, troublesOf, useRules } from "../parts/definition";

// What governance asks of a flag, each with the reason for it.
const checks: [keyof Definition, string][] = [
  ["key", "a key that was never used before: code that read an old flag may still run somewhere"],
  ["owner", "an owner: somebody is asked when it expires, breaks, or is to be approved"],
  ["expiresAt", "an end, if it is a release or an experiment: what is to go says when"],
  ["variants", "variants of one type, so that code always gets what it can use"],
  ["safeVariant", "a safe variant: what a kill serves, and what the system can live with for good"],
  ["description", "a description, where policy asks for one"],
];

const inThreeMonths = () => new Date(Date.now() + 90 * 86_400_000).toISOString().slice(0, 10);

export function NewFlag() {
  const [d, setD] = useState<Definition>({
    key: "", kind: "release", description: "", owner: "", tags: [], riskTier: "medium", expiresAt: inThreeMonths(), type: "boolean", variants: startVariants.boolean, safeVariant: "off", clientVisible: false, consistency: "cosmetic",
  });
  const begin = useChange();
  const navigate = useNavigate();
  const troubles = { ...troublesOf(d), ...useRules(d) };
  const refused = useRefusal({ role: "editor", team: d.owner || undefined }, true);
  const first = Object.values(troubles)[0];
  return (
    <Page title="Create a flag">
      <Card>
        <p className="soft small" style={{ marginTop: 0 }}>It begins disabled everywhere and serves its safe variant, so that code can ship first.</p>
        <div className="with-aside">
          <DefinitionForm value={d} onChange={setD} troubles={troubles} />
          <aside aria-label="What every flag has">
            <h3>What every flag has</h3>
            <ul className="checks small">{checks.map(([name, text]) => {
              const wrong = troubles[name], begun = name !== "key" || d.key !== "";
              return <li key={name} className={wrong ? (begun && d.key ? "bad" : "soft") : "good"}><span aria-hidden>{wrong ? "○" : "✓"}</span><span>{text}{wrong && begun && d.key && <div>{wrong}.</div>}</span></li>;
            })}</ul>
            <p className="small soft">Here nobody gets anything else yet, so nobody has to approve it. What it serves is changed on its page, where each change shows whom it reaches first.</p>
          </aside>
        </div>
        <div className="line" style={{ marginTop: 16 }}>
          <Why because={refused}><Button disabled={Boolean(first || refused)} onClick={() => begin({
            title: `Create ${d.key}`, verb: "Create", change: { method: "POST", path: "/api/v1/flags", body: bodyOf(d) },
            difference: [`${d.key} is made, disabled everywhere: it serves ${d.safeVariant}`],
            done: (answer) => { if ((answer.body as { key?: string }).key === d.key) void navigate({ to: "/flags/$key", params: { key: d.key } as never }); },
          })}>Create…</Button></Why>
          {first && <span className="small soft">{d.key ? first : "Begin with a key."}</span>}
        </div>
      </Card>
    </Page>
  );
}
