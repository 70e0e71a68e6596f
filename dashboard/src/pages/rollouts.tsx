import { Button, SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { useRefusal } from "../api/auth";
import { isLive, rollouts } from "../api/queries";
import { Card, Empty, Page, Ready } from "../parts/basics";
import { Lead } from "../parts/form";
import { Icon } from "../parts/icons";
import { RolloutLine } from "../parts/rollout-line";
import { useAddress } from "../address";

export function Rollouts() {
  const all = useQuery(rollouts());
  const [search, setSearch] = useAddress();
  const refused = useRefusal({ role: "editor" }, true);
  const which = search.which ?? "all";
  return (
    <Page title="Rollouts" about="A variant that rises step by step, and is taken back if it harms." actions={<Lead href="#/rollouts/new" because={refused} leftSection={<Icon name="plus" size={14} />}>Start a rollout</Lead>}>
      <SegmentedControl mb="md" value={which} onChange={(v) => setSearch({ which: v === "all" ? undefined : v })} data={[{ value: "all", label: "All" }, { value: "live", label: "Live" }, { value: "ended", label: "Ended" }]} aria-label="Which rollouts" />
      <Card>
        <Ready of={all}>{(list) => {
          const shown = list.filter((r) => which === "all" || (which === "live") === isLive(r.state));
          if (list.length === 0) return <Empty title="No rollouts yet" action={<Button component="a" href="#/rollouts/new">Plan the first</Button>}>A rollout raises a variant from a few users to all, holds at each step until the guardrails are shown to be healthy, and takes it back within seconds if one breaks.</Empty>;
          if (shown.length === 0) return <Empty title={which === "live" ? "Nothing moves now" : "None has ended yet"} />;
          return <ul className="rows">{shown.map((r) => <RolloutLine key={r.id} of={r} />)}</ul>;
        }}</Ready>
      </Card>
    </Page>
  );
}
