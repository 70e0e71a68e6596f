import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import type { Schemas } from "../api/client";
import { fleet, unknownFlags } from "../api/queries";
import { Card, Empty, Meter, Moment, Page, Ready, Tag } from "../parts/basics";
import { useChange } from "../parts/change";
import { plural } from "../words/numbers";

export function FleetPage() {
  const all = useQuery(fleet(1500));
  return (
    <Page title="Fleet" about="Which instances run which ruleset, as they tell it themselves.">
      <Ready of={all}>{(list) => <div style={{ display: "grid", gap: 14 }}>{list.map((f) => <One key={f.environment} of={f} />)}<Unknown /></div>}</Ready>
    </Page>
  );
}

function One({ of }: { of: Schemas["Fleet"] }) {
  const begin = useChange();
  const whole = of.converged === of.instances;
  return (
    <Card title={<>{of.environment} <span className="small soft">v{of.head.version}</span></>} actions={of.instances > 0 && <Tag tone={whole ? "good" : "warn"}>{whole ? `all ${of.instances} run it` : `${of.converged} of ${of.instances} run it`}</Tag>}>
      {of.instances === 0 ? <Empty title="No program reports from here" action={<Button component="a" variant="default" href="#/tokens">Make an sdk token</Button>}>Instances appear as soon as an SDK with a token of this environment sends telemetry.</Empty> : (
        <>
          <Meter part={of.converged / of.instances} tone={whole ? "good" : "warn"} label={`Converged in ${of.environment}`} />
          <div className="scroll" tabIndex={0} role="region" aria-label={`Programs in ${of.environment}`}><table className="plain"><thead><tr><th>Program</th><th className="num">Instances</th><th className="num">Converged</th><th className="num">With errors</th><th>Rulesets</th><th>Versions</th></tr></thead>
            <tbody>{(of.services ?? []).map((s) => (
              <tr key={s.service}><td><b>{s.service || "unnamed"}</b></td><td className="num">{s.instances}</td><td className="num">{s.converged}</td><td className="num">{s.errors ? <Tag tone="bad">{s.errors}</Tag> : 0}</td><td>{spread(s.rulesets)}</td><td>{spread(s.versions)}</td></tr>
            ))}</tbody></table></div>
          {(of.behind?.length ?? 0) > 0 && (
            <>
              <h3 style={{ margin: "14px 0 6px" }}>{plural(of.behind!.length, "instance")} not there yet</h3>
              <div className="scroll" tabIndex={0} role="region" aria-label={`Laggards in ${of.environment}`}><table className="plain"><thead><tr><th>Instance</th><th>Program</th><th>Runs</th><th>Last heard</th><th>Errors</th><th /></tr></thead>
                <tbody>{of.behind!.map((i) => (
                  <tr key={i.id}><td className="mono">{i.id}</td><td>{i.service} {i.version}<div className="small soft">{i.sdk}</div></td><td>{i.applied ? `v${i.applied.version}` : "—"}</td><td><Moment at={i.lastSeen} /></td><td>{(i.errors ?? []).map((e) => <div key={e} className="small bad">{e}</div>)}</td>
                    <td><Button variant="default" size="compact-xs" onClick={() => begin({ title: `Declare ${i.id} gone`, verb: "Forget it", change: { method: "POST", path: "/api/v1/fleet/forget", body: { instance: i.id, environment: of.environment } }, difference: [`nothing waits for ${i.id} any more; if it is heard of again, it is back`] })}>Gone…</Button></td></tr>
                ))}</tbody></table></div>
            </>
          )}
        </>
      )}
    </Card>
  );
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
