import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { useRefusal } from "../api/auth";
import type { Schemas } from "../api/client";
import { fleet, unknownFlags } from "../api/queries";
import { Card, Meter, Moment, Page, Ready, Tag, Why } from "../parts/basics";
import { useChange } from "../parts/change";
import { plural } from "../words/numbers";

export function FleetPage() {
  const all = useQuery(fleet(1500));
  return (
    <Page title="Fleet" about="Which instances run which ruleset, as they tell it themselves.">
      <Ready of={all}>{(list) => <div style={{ display: "grid", gap: 14 }}>{list.toSorted((a, b) => heard(b) - heard(a) || a.environment.localeCompare(b.environment)).map((f) => <One key={f.environment} of={f} />)}<Unknown /></div>}</Ready>
    </Page>
  );
}

const heard = (f: Schemas["Fleet"]) => f.instances + (f.remote ?? 0);

function One({ of }: { of: Schemas["Fleet"] }) {
  const begin = useChange();
  const refused = useRefusal({ role: "editor", environment: of.environment }, true);
  const whole = of.converged === of.instances;
  if (heard(of) === 0) {
    return <Card title={<>{of.environment} <span className="small soft">v{of.head.version}</span></>} actions={<Button component="a" size="compact-sm" variant="default" href="#/tokens?edit=%2B">Make an sdk token</Button>}><p className="small soft" style={{ margin: 0 }}>No program reports from here. Instances appear as soon as an SDK with a token of this environment sends telemetry.</p></Card>;
  }
  return (
    <Card title={<>{of.environment} <span className="small soft">v{of.head.version}</span></>} actions={of.instances > 0 && <Tag tone={whole ? "good" : "warn"}>{whole ? `all ${of.instances} run it` : `${of.converged} of ${of.instances} run it`}</Tag>}>
      <>
          <Meter part={of.converged / of.instances} tone={whole ? "good" : "warn"} label={`Converged in ${of.environment}`} />
          <div className="scroll" tabIndex={0} role="region" aria-label={`Programs in ${of.environment}`}><table className="plain"><thead><tr><th>Program</th><th className="num">Instances</th><th className="num">Converged</th><th className="num">With errors</th><th>Rulesets</th><th>Versions</th></tr></thead>
            <tbody>{(of.services ?? []).map((s) => (
              <tr key={s.service}><td><b>{s.service || "unnamed"}</b></td><td className="num">{s.instances}{s.remote ? <div className="small soft">and {s.remote} served remotely</div> : null}</td><td className="num">{s.converged}</td><td className="num">{s.errors ? <Tag tone="bad">{s.errors}</Tag> : 0}</td><td>{runs(s.rulesets, of.head)}</td><td>{spread(s.versions)}</td></tr>
            ))}</tbody></table></div>
          {(of.behind?.length ?? 0) > 0 && (
            <>
              <h3 style={{ margin: "14px 0 6px" }}>{plural(of.behind!.length, "instance")} not there yet</h3>
              <div className="scroll" tabIndex={0} role="region" aria-label={`Laggards in ${of.environment}`}><table className="plain"><thead><tr><th>Instance</th><th>Program</th><th>Runs</th><th>Last heard</th><th>Errors</th><th /></tr></thead>
                <tbody>{of.behind!.map((i) => (
                  <tr key={i.id}><td className="mono">{i.id}</td><td>{i.service} {i.version}<div className="small soft">{i.sdk}</div></td><td>{i.applied ? `v${i.applied.version}` : "—"}</td><td><Moment at={i.lastSeen} /></td><td>{(i.errors ?? []).map((e) => <div key={e} className="small bad">{e}</div>)}</td>
                    <td className="num"><Why because={refused}><Button variant="default" size="compact-xs" disabled={Boolean(refused)} aria-label={`Declare ${i.id} gone`} onClick={() => begin({ title: `Declare ${i.id} gone`, verb: "Forget it", change: { method: "POST", path: "/api/v1/fleet/forget", body: { instance: i.id, environment: of.environment } }, difference: [`nothing waits for ${i.id} any more; if it is heard of again, it is back`] })}>Gone…</Button></Why></td></tr>
                ))}</tbody></table></div>
            </>
          )}
      </>
    </Card>
  );
}

// runs are the rulesets of a program's instances, by version; an epoch is told
// where it is another than the one in force.
function runs(of: Record<string, number>, head: Schemas["RulesetID"]) {
  return Object.entries(of).toSorted((a, b) => b[1] - a[1]).map(([id, n]) => {
    const [epoch, version] = id.split(".");
    const here = Number(epoch) === head.epoch && Number(version) === head.version;
    return <div key={id} className={here ? "" : "warn"}>{version ? `v${version}` : "none"}{version && Number(epoch) !== head.epoch && ` of epoch ${epoch}`} × {n}{here && <span className="soft small"> in force</span>}</div>;
  });
}

const spread = (of: Record<string, number>) => Object.entries(of).sort((a, b) => b[1] - a[1]).map(([v, n]) => `${v || "untold"} × ${n}`).join(", ");

function Unknown() {
  const all = useQuery(unknownFlags);
  if (!all.data?.length) return null;
  return (
    <Card title="Asked for, and no flags">
      <p className="small soft" style={{ marginTop: 0 }}>Misspelt, not created yet, or archived while code still reads them.</p>
      <div className="scroll" tabIndex={0} role="region" aria-label="Unknown flags"><table className="plain"><thead><tr><th>Key</th><th>Environment</th><th>Program</th><th>Last</th></tr></thead>
        <tbody>{all.data.map((u) => <tr key={u.flag + u.environment + u.service + u.version}><td className="mono">{u.flag}</td><td>{u.environment}</td><td>{u.service} {u.version}</td><td><Moment at={u.last} /></td></tr>)}</tbody></table></div>
    </Card>
  );
}
