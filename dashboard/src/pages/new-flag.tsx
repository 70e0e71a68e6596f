import { Button } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";

import { Card, Page } from "../parts/basics";
import { useChange } from "../parts/change";
import { bodyOf, type Definition, DefinitionForm, startVariants, troublesOf } from "../parts/definition";

const inThreeMonths = () => new Date(Date.now() + 90 * 86_400_000).toISOString().slice(0, 10);

export function NewFlag() {
  const [d, setD] = useState<Definition>({
    key: "", kind: "release", description: "", owner: "", tags: [], riskTier: "medium", expiresAt: inThreeMonths(), type: "boolean", variants: startVariants.boolean, safeVariant: "off", clientVisible: false, consistency: "cosmetic",
  });
  const begin = useChange();
  const navigate = useNavigate();
  const troubles = troublesOf(d);
  const first = Object.values(troubles)[0];
  return (
    <Page title="Create a flag">
      <Card>
        <p className="soft small" style={{ marginTop: 0 }}>It begins disabled everywhere and serves its safe variant, so that code can ship first.</p>
        <DefinitionForm value={d} onChange={setD} troubles={troubles} />
        <div className="line" style={{ marginTop: 16 }}>
          <Button disabled={Boolean(first)} onClick={() => begin({
            title: `Create ${d.key}`, verb: "Create", change: { method: "POST", path: "/api/v1/flags", body: bodyOf(d) },
            difference: [`${d.key} is made, disabled everywhere: it serves ${d.safeVariant}`],
            done: (answer) => { if ((answer.body as { key?: string }).key === d.key) void navigate({ to: "/flags/$key", params: { key: d.key } as never }); },
          })}>Create…</Button>
          {first && <span className="small soft">{d.key ? first : "Begin with a key."}</span>}
        </div>
      </Card>
    </Page>
  );
}
