// Environments side by side: what each serves, where they differ, and how one
// is made like another.
import { Button, Menu } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";

import { refusal, useSession } from "../api/auth";
import { type Config, type Flag, inEnvironment } from "../api/client";
import { Card, Moment } from "../parts/basics";
import { useChange } from "../parts/change";
import { configDifference, kept, same } from "../words/difference";
import { conditionWords, lease, serveWords, serving } from "../words/serving";

interface Row { name: ReactNode; key: string; cell: (c: Config) => ReactNode; text: (c: Config) => string }

function rowsOf(of: Flag, names: string[]): Row[] {
  const configs = names.map((n) => of.environments![n]);
  const plain = (key: string, name: string, text: (c: Config) => string): Row => ({ key, name, text, cell: text });
  const ids = [...new Set(configs.flatMap((c) => (c.rules ?? []).map((r) => r.id)))];
  const needs = (c: Config) => (c.prerequisites ?? []).map((p) => `${p.flag} serves ${p.variant}`).join(", ") || "–";
  return [
    plain("state", "State", (c) => (c.killed ? `killed by ${c.killed.by}` : c.enabled ? "enabled" : "disabled")),
    ...(configs.some((c) => c.prerequisites?.length) ? [plain("needs", "Only where", needs)] : []),
    ...ids.map((id): Row => {
      const rule = (c: Config) => c.rules?.find((r) => r.id === id);
      return {
        key: `rule ${id}`, name: <>rule <span className="mono">{id}</span></>,
        text: (c) => { const r = rule(c); return r ? `${c.rules!.indexOf(r)} ${conditionWords(r.if)} ${serveWords(r.serve)} ${r.notBefore} ${r.notAfter}` : ""; },
        cell: (c) => {
          const r = rule(c);
          if (!r) return <span className="soft">none</span>;
          const state = lease(r, Date.now());
          return <><span className="soft">{c.rules!.indexOf(r) + 1}. </span>if {conditionWords(r.if)}: <b>{serveWords(r.serve)}</b>{state !== "none" && <div className="soft">{state === "over" ? "over" : <>{r.notBefore && <>from <Moment at={r.notBefore} full /> </>}{r.notAfter && <>until <Moment at={r.notAfter} full /></>}</>}</div>}</>;
        },
      };
    }),
    { key: "default", name: ids.length > 0 ? "Otherwise" : "Everybody", text: (c) => serveWords(c.default), cell: (c) => <b>{serveWords(c.default)}</b> },
    ...(configs.some((c) => c.rollout) ? [plain("rollout", "Rollout", (c) => (c.rollout ? `${c.rollout.treatment} to ${c.rollout.ppm / 10_000} %` : "–"))] : []),
    plain("off", "Off variant", (c) => c.offVariant),
  ];
}

export function Compare({ of, names, then }: { of: Flag; names: string[]; then: boolean }) {
  const begin = useChange();
  const session = useSession();
  const client = useQueryClient();
  if (names.length < 2) return <Card><p className="soft" style={{ margin: 0 }}>There is one environment only. With a second, both stand here side by side.</p></Card>;
  function copy(from: string, to: string) {
    const source = kept(of.environments![from]), target = of.environments![to];
    begin({
      title: `Make ${to} like ${from}`, verb: "Copy", difference: configDifference(kept(target), source),
      change: { method: "PUT", path: inEnvironment(to, of.key, ""), body: { ...source, ifVersion: target.version } },
      warning: target.rollout ? `A rollout is live in ${to}; what it stands in for cannot be changed under it.` : undefined,
      stale: () => void client.invalidateQueries({ queryKey: ["flag", of.key] }), staleSays: "Read it again",
    });
  }
  const first = of.environments![names[0]];
  return (
    <Card>
      <div className="scroll" tabIndex={0} role="region" aria-label="Environments side by side">
        <table className="plain compare" style={{ ["--columns" as string]: names.length }}>
          <thead><tr><th><span className="soft small">differs from {names[0]}</span> <span className="swatch" /></th>{names.map((name) => (
            <th key={name}>
              <div className="line" style={{ flexWrap: "nowrap" }}><span className={`dot ${serving(of.environments![name], of).tone}`} /><b>{name}</b>
                {!then && <Menu position="bottom-end">
                  <Menu.Target><Button variant="subtle" size="compact-xs" className="push" aria-label={`Copy ${name} to another environment`}>copy to…</Button></Menu.Target>
                  <Menu.Dropdown>{names.filter((n) => n !== name).map((to) => {
                    const why = refusal(session, { role: "editor", environment: to, team: of.owner }) ?? (same(kept(of.environments![name]), kept(of.environments![to])) ? "It is the same already." : undefined);
                    return <Menu.Item key={to} disabled={Boolean(why)} title={why} onClick={() => copy(name, to)}>{to}</Menu.Item>;
                  })}</Menu.Dropdown>
                </Menu>}
              </div>
            </th>
          ))}</tr></thead>
          <tbody>{rowsOf(of, names).map((row) => (
            <tr key={row.key}><th scope="row">{row.name}</th>{names.map((name) => {
              const c = of.environments![name];
              return <td key={name} className={row.text(c) === row.text(first) ? undefined : "differs"}>{row.cell(c)}</td>;
            })}</tr>
          ))}</tbody>
        </table>
      </div>
    </Card>
  );
}
