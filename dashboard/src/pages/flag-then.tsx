// A flag as it was: the bar that leads through time, and what an environment
// served then. The moment stands in the address.
import { Button, TextInput } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";

import { useRefusal } from "../api/auth";
import { type Config, type Flag, inEnvironment } from "../api/client";
import { audit } from "../api/queries";
import { Card, Differences, Moment, Why } from "../parts/basics";
import { useChange, type Wish } from "../parts/change";
import { fromLocal, toLocal } from "../parts/condition";
import { useAddress } from "../address";
import { configDifference, kept, same } from "../words/difference";
import { conditionWords, serveWords } from "../words/serving";

// useRevert puts an environment back to what a version of its ruleset served.
export function useRevert() {
  const begin = useChange(), client = useQueryClient();
  return (of: Flag, environment: string, was: Config, now: Config, version = was.version) => begin({
    ...revertWish(of, environment, was, now, version),
    stale: () => void client.invalidateQueries({ queryKey: ["flag", of.key] }), staleSays: "Read it again",
  });
}

const revertWish = (of: Flag, environment: string, was: Config, now: Config, version: number): Wish => ({
  title: `Put ${of.key} in ${environment} back to v${version}`, verb: "Put back", difference: configDifference(kept(now), kept(was)),
  change: { method: "POST", path: inEnvironment(environment, of.key, "/revert"), body: { to: version, ifVersion: now.version } },
  warning: now.killed ? "It is killed, and stays so: this changes what it serves once it is resumed." : undefined,
});

export function TimeBar({ of, at }: { of: Flag; at: string }) {
  const [, setSearch] = useAddress();
  const entries = (useQuery(audit({ subject: of.key }, 200)).data ?? []).filter((e) => e.edits?.some((x) => x.key === of.key && (x.noun === "config" || x.noun === "flag")));
  const then = Date.parse(at);
  const here = entries.find((e) => Date.parse(e.at) <= then), earlier = entries.find((e) => Date.parse(e.at) < then && e !== here), later = entries.findLast((e) => Date.parse(e.at) > then);
  const go = (to: string | undefined) => setSearch({ at: to }, "push");
  return (
    <div className="time-bar" role="region" aria-label="The flag as it was">
      <b>As it was</b>
      <TextInput type="datetime-local" step={1} aria-label="At what time" value={toLocal(at)} max={toLocal(new Date().toISOString())} onChange={(e) => { const to = fromLocal(e.currentTarget.value); if (to) setSearch({ at: to }); }} />
      <Why because={earlier ? undefined : "There is no earlier change of it."}><Button variant="default" disabled={!earlier} onClick={() => go(earlier!.at)}>← earlier change</Button></Why>
      <Why because={later ? undefined : "There is no later change of it."}><Button variant="default" disabled={!later} onClick={() => go(later!.at)}>later change →</Button></Why>
      <Button className="push" onClick={() => go(undefined)}>Back to now</Button>
      {here && <div className="small" style={{ flexBasis: "100%" }}>last changed <Moment at={here.at} full /> by {here.actor.id}, {here.action}: {here.reason}</div>}
    </div>
  );
}

export function Then({ of, now, environment }: { of: Flag; now: Flag; environment: string }) {
  const revert = useRevert();
  const refused = useRefusal({ role: "editor", environment, team: of.owner });
  const was = of.environments![environment], is = now.environments?.[environment];
  const gone = now.state === "archived" ? "It is archived now, and in no ruleset." : !is ? "The environment is gone." : undefined;
  const why = refused ?? gone ?? (is && same(kept(was), kept(is)) ? "It is the same today." : undefined);
  return (
    <div style={{ display: "grid", gap: 14 }}>
      <Card title={`${environment} served`} actions={<Why because={why}><Button variant="default" disabled={Boolean(why)} onClick={() => revert(of, environment, was, is!)}>Put back…</Button></Why>}>
        <InWords of={was} />
      </Card>
      {is && <Card title="Since then"><Differences lines={configDifference(was, is)} none="It is the same today." /></Card>}
    </div>
  );
}

// InWords is all that an environment serves, for reading.
export function InWords({ of }: { of: Config }) {
  return (
    <ol className="in-words">
      {of.killed && <li><span className="bad">killed</span> by {of.killed.by}: {of.killed.reason}</li>}
      {!of.enabled && <li><span className="soft">not enabled:</span> everybody gets <b>{of.offVariant}</b>. Enabled, it would serve:</li>}
      {(of.prerequisites ?? []).map((p) => <li key={p.flag}>only where <span className="mono">{p.flag}</span> serves {p.variant}; else {of.offVariant}</li>)}
      {(of.rules ?? []).map((r) => <li key={r.id}><span className="mono soft">{r.id}</span> if {conditionWords(r.if)}: <b>{serveWords(r.serve)}</b>{r.notAfter && <span className="soft">, until <Moment at={r.notAfter} full /></span>}</li>)}
      <li>{(of.rules?.length ?? 0) > 0 ? "otherwise: " : "everybody: "}<b>{serveWords(of.default)}</b>{of.rollout?.where === "default" && <span className="soft">, of whom a rollout gives {of.rollout.treatment} to {of.rollout.ppm / 10_000} %</span>}</li>
    </ol>
  );
}
