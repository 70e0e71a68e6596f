import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";

import { useRefusal } from "../api/auth";
import { teams } from "../api/queries";
import { useChange } from "../parts/change";
import { bodyOf, type Definition, DefinitionForm, startVariants, troublesOf, useRules } from "../parts/definition";
import { FormPage } from "../parts/form";

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
  const [written, setD] = useState<Definition>({
    key: "", kind: "release", description: "", owner: "", tags: [], riskTier: "medium", expiresAt: inThreeMonths(), type: "boolean", variants: startVariants.boolean, safeVariant: "off", clientVisible: false, consistency: "cosmetic",
  });
  const owners = useQuery(teams).data ?? [];
  const d = { ...written, owner: written.owner || (owners.length === 1 ? owners[0].key : "") }; // where there is one team, it is that
  const begin = useChange();
  const navigate = useNavigate();
  const troubles = { ...troublesOf(d), ...useRules(d) };
  const refused = useRefusal({ role: "editor", team: d.owner || undefined }, true);
  const first = Object.values(troubles)[0];
  const create = () => begin({
    title: `Create ${d.key}`, verb: "Create", change: { method: "POST", path: "/api/v1/flags", body: bodyOf(d) },
    difference: [`${d.key} is made, disabled everywhere: it serves ${d.safeVariant}`],
    done: (answer) => { if ((answer.body as { key?: string }).key === d.key) void navigate({ to: "/flags/$key", params: { key: d.key } as never }); },
  });
  return (
    <FormPage title="Create a flag" about="It begins disabled everywhere and serves its safe variant, so that code can ship first." back="#/flags" backTo="flags" verb="Create…" why={first && (d.key ? first : "Begin with a key.")} refused={refused} submit={create} aside={<>
      <h2>What every flag has</h2>
      <ul className="checks">{checks.map(([name, text]) => {
        const wrong = troubles[name];
        return <li key={name} className={wrong ? (d.key ? "bad" : "soft") : "good"}><span aria-hidden>{wrong ? "○" : "✓"}</span><span>{text}{wrong && d.key && <div>{wrong}.</div>}</span></li>;
      })}</ul>
      <h2>What comes next</h2>
      <p>Nobody gets anything else yet, so nobody has to approve it. Its page shows how code reads it, and whom each change of what it serves would reach.</p>
    </>}>
      <DefinitionForm value={d} onChange={setD} troubles={troubles} />
    </FormPage>
  );
}
