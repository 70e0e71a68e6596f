// Who gets what, and why: a context is tried in every environment, exactly as an
// SDK would evaluate it, now or at a moment of the past. Nobody is exposed by it.
import { Button, Textarea, TextInput } from "@mantine/core";
import { useQueries, useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";

import { type Config, type Flag, post, read, type Schemas } from "../api/client";
import { parse, stringify } from "../api/json";
import { segments } from "../api/queries";
import { Card, Empty, Moment, Tag, Trouble } from "../parts/basics";
import { readValue, showValue } from "../parts/condition";
import { to, useAddress } from "../address";
import { asked, at as valueAt, put } from "../words/context";
import { share } from "../words/numbers";
import { conditionWords, value } from "../words/serving";

type Explanation = Schemas["Explanation"];

export function WhoGetsWhat({ of, environments, at }: { of: Flag; environments: string[]; at?: string }) {
  const [search, setSearch] = useAddress();
  const known = useQuery(segments).data ?? [];
  const attributes = asked(of, known);
  const [text, setText] = useState(() => stringify(readContext(search.context) ?? { targetingKey: "user-1" }, 2));
  const [wrong, setWrong] = useState("");
  const written = readContext(text), context = readContext(search.context);
  const answers = useQueries({
    queries: environments.map((environment) => {
      const { targetingKey, ...rest } = context ?? {};
      return {
        queryKey: ["explain", of.key, environment, search.context, at ?? of.environments?.[environment]?.version], enabled: context !== undefined, retry: false,
        queryFn: () => read(post("/api/v1/environments/{environment}/flags/{key}/explain", { params: { path: { environment, key: of.key } }, body: { ...(targetingKey !== undefined && { unit: String(targetingKey) }), context: rest, ...(at && { at }) } })),
      };
    }),
  });
  function go() {
    const read = readContext(text);
    setWrong(read ? "" : "That is no context: a context is a JSON object");
    if (read) setSearch({ context: stringify(read) });
  }
  const fill = (name: string, typed: string) => {
    if (!written) return;
    setText(stringify(put(written, name, typed === "" ? undefined : name === "targetingKey" ? typed : readValue("any", typed)), 2));
  };
  return (
    <div className="grid try">
      <Card title="Who asks" actions={<span className="small soft">the attributes that its rules look at</span>}>
        <form onSubmit={(e) => { e.preventDefault(); go(); }}>
          <div className="asks">{attributes.map((name) => {
            const v = written && valueAt(written, name);
            return <TextInput key={name} label={name} className="mono" disabled={!written} placeholder="missing" value={v === undefined ? "" : typeof v === "object" ? stringify(v) : showValue(name === "targetingKey" ? "text" : "any", v)} onChange={(e) => fill(name, e.currentTarget.value)} />;
          })}</div>
          <Textarea label="Context, as JSON" className="mono" mt={10} autosize minRows={4} maxRows={16} value={text} error={wrong} onChange={(e) => setText(e.currentTarget.value)} onKeyDown={(e) => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) go(); }} spellCheck={false} />
          <div className="line" style={{ marginTop: 8 }}><Button type="submit">Evaluate</Button><span className="small soft grow">Enter, or Ctrl Enter. Nobody is exposed by it, and the address holds it, to be sent to others.</span></div>
        </form>
      </Card>
      <Card title={at ? "What was served" : "What is served"}>
        {context === undefined ? <Empty title="Try somebody">Write who asks, and see what they get in each environment, and why.</Empty> : (
          <ul className="rows">{environments.map((environment, i) => {
            const { data: r, error } = answers[i];
            return (
              <li key={environment}>
                <div className="line"><b>{environment}</b>{r && <><Tag tone={r.errorCode ? "bad" : "accent"}>{r.variant ?? r.errorCode}</Tag><span className="mono small">{r.value !== undefined && value(r.value, 80)}</span><span className="push"><Tag>{r.reason}</Tag></span></>}</div>
                {error && <Trouble error={error} />}
                {r && <Because of={r} config={of.environments?.[environment]} />}
              </li>
            );
          })}</ul>
        )}
      </Card>
    </div>
  );
}

// Because is the reason, from the first thing that decided to where the unit
// fell.
function Because({ of: r, config }: { of: Explanation; config?: Config }) {
  const at = config?.rules?.findIndex((x) => x.id === r.rule) ?? -1, rule = config?.rules?.[at];
  const fails = r.prerequisites?.find((p) => !p.holds);
  const lines: ReactNode[] = [];
  if (r.killed) lines.push(<>it was killed by {r.killed.by}: {r.killed.reason}</>);
  else if (!r.enabled) lines.push("it is not enabled here, so everybody gets the off variant");
  else if (fails) lines.push(<>the prerequisite <a href={to.flag(fails.flag)} className="mono">{fails.flag}</a> serves {fails.serves}, not {fails.wants}: the off variant</>);
  else if (rule) lines.push(<>rule {at + 1}, <b className="mono">{rule.id}</b>, matches{at > 0 && `, and ${at === 1 ? "the one before it does not" : `none of the ${at} before it`}`}: {conditionWords(rule.if)}</>);
  else lines.push((config?.rules?.length ?? 0) > 0 ? `none of the ${config!.rules!.length} rules matches, so the default applies` : "there are no rules, so the default applies");
  if (r.errorCode === "TARGETING_KEY_MISSING") lines.push("a split needs a targeting key, and the context has none");
  else if (r.errorCode) lines.push(`it could not be evaluated: ${r.errorCode}`);
  const overlay = r.rollout ? r.overlay : undefined;
  if (overlay) lines.push(<><a href={to.rollout(r.rollout!)}>a rollout</a> at step {(r.step ?? 0) + 1} gives {overlay.treatment} to {share(overlay.ppm)}</>);
  const weights = overlay ? [{ variant: overlay.treatment, ppm: overlay.ppm }, { variant: overlay.control, ppm: 1_000_000 - overlay.ppm }] : (rule ? rule.serve : config?.default)?.split?.weights ?? [];
  return (
    <div className="small soft">
      {lines.map((line, i) => <div key={i}>{line}</div>)}
      {r.bucket && weights.length > 0 && <Ring point={r.bucket.point} weights={weights} unit={r.bucket.unit} />}
      <div>ruleset v{r.version}, last changed <Moment at={r.changed.at} /> by {r.changed.actor.id}: {r.changed.reason}</div>
    </div>
  );
}

const colours = ["var(--accent)", "var(--line)", "var(--good)", "var(--warn)", "var(--bad)"];

// Ring is the ring of a million points, laid flat, and where the unit fell.
function Ring({ point, weights, unit }: { point: number; weights: { variant: string; ppm: number }[]; unit: string }) {
  const text = `${unit} falls at ${share(point)} of the ring`;
  return (
    <div style={{ margin: "4px 0" }}>
      <div className="ring" role="img" aria-label={text}>
        {weights.map((w, i) => <span key={w.variant} title={`${w.variant}: ${share(w.ppm)}`} style={{ width: `${w.ppm / 10_000}%`, background: colours[i % colours.length] }} />)}
        <i style={{ left: `${point / 10_000}%` }} />
      </div>
      <div>{text}: {weights.map((w) => `${share(w.ppm)} ${w.variant}`).join(", ")}</div>
    </div>
  );
}

function readContext(text: string | undefined): Record<string, unknown> | undefined {
  if (!text) return undefined;
  try {
    const read = parse(text);
    return read && typeof read === "object" && !Array.isArray(read) ? (read as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
