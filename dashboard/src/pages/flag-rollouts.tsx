import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import type { Flag } from "../api/client";
import { rollouts } from "../api/queries";
import { Card, Empty, Ready } from "../parts/basics";
import { RolloutLine } from "../parts/rollout-line";
import { to } from "../address";

export function FlagRollouts({ of, environment }: { of: Flag; environment?: string }) {
  const all = useQuery(rollouts({ flag: of.key }));
  return (
    <Card>
      <Ready of={all}>{(list) => list.length === 0
        ? <Empty title="No rollouts yet" action={environment && of.state !== "archived" && <Button component="a" href={to.newRollout(of.key, environment)}>Plan one</Button>}>A rollout raises one variant step by step, watches its guardrails, and takes it back by itself if one breaks.</Empty>
        : <ul className="rows">{list.map((r) => <RolloutLine key={r.id} of={r} />)}</ul>}</Ready>
    </Card>
  );
}
