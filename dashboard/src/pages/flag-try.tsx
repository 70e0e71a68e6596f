// Who gets what, and why: a context is tried in every environment, exactly as an
// SDK would evaluate it. Nobody is exposed by it.
import { Button, Textarea } from "@mantine/core";
import { useQueries } from "@tanstack/react-query";
import { useState } from "react";

import { type Flag, post, read } from "../api/client";
import { parse, stringify } from "../api/json";
import { Card, Empty, Tag, Trouble } from "../parts/basics";
import { to, useAddress } from "../routes";
import { conditionWords, value } from "../words/serving";

const example = '{\n  "targetingKey": "user-1",\n  "country": "CA"\n}';

const reasons: Record<string, string> = {
  STATIC: "the flag serves one thing to everybody", DEFAULT: "no rule matched, so the default applies", TARGETING_MATCH: "a rule matched", SPLIT: "the unit fell into this part of a split",
  DISABLED: "the flag is off or killed here", ERROR: "it could not be evaluated",
};

export function WhoGetsWhat({ of, environments }: { of: Flag; environments: string[] }) {
  const [search, setSearch] = useAddress();
  const [text, setText] = useState(search.context ?? example);
  const [wrong, setWrong] = useState("");
  const context = readContext(search.context);
  const answers = useQueries({
    queries: environments.map((environment) => ({
      queryKey: ["evaluate", of.key, environment, search.context, of.environments?.[environment]?.version], enabled: context !== undefined, retry: false,
      queryFn: () => read(post("/api/v1/environments/{environment}/flags/{key}/evaluate", { params: { path: { environment, key: of.key } }, body: { context } })),
    })),
  });
  function go() {
    try {
      if (typeof parse(text) !== "object" || parse(text) === null || Array.isArray(parse(text))) throw new Error("a context is a JSON object");
      setWrong("");
      setSearch({ context: stringify(parse(text)) });
    } catch (e) {
      setWrong(`That is no context: ${(e as Error).message}`);
    }
  }
  return (
    <div className="grid">
      <Card title="Context">
        <Textarea aria-label="Context, as JSON" className="mono" autosize minRows={6} maxRows={18} value={text} error={wrong} onChange={(e) => setText(e.currentTarget.value)} onKeyDown={(e) => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) go(); }} spellCheck={false} />
        <div className="line" style={{ marginTop: 8 }}><Button onClick={go}>Evaluate</Button><span className="small soft">Ctrl Enter. The address holds the context, so that it can be sent to others.</span></div>
      </Card>
      <Card title="What is served">
        {context === undefined ? <Empty title="Try somebody">Write who asks: a targeting key, and attributes that rules look at.</Empty> : (
          <ul className="rows">{environments.map((environment, i) => {
            const { data: r, error } = answers[i];
            const rule = r?.rule ? of.environments?.[environment]?.rules?.find((x) => x.id === r.rule) : undefined;
            return (
              <li key={environment}>
                <div className="line"><b>{environment}</b>{r && <><Tag tone={r.errorCode ? "bad" : "accent"}>{r.variant ?? r.errorCode}</Tag><span className="mono small">{r.value !== undefined && value(r.value, 80)}</span><span className="push"><Tag>{r.reason}</Tag></span></>}</div>
                {error && <Trouble error={error} />}
                {r && (
                  <div className="small soft">
                    {r.errorCode === "TARGETING_KEY_MISSING" ? "a split needs a targeting key, and the context has none" : reasons[r.reason] ?? r.reason}
                    {rule && <>: <b>{rule.id}</b>, {conditionWords(rule.if)}</>}
                    {r.rollout && <>, by <a href={to.rollout(r.rollout)}>a rollout</a> at step {(r.step ?? 0) + 1}</>}
                    <span> · ruleset v{r.version}</span>
                  </div>
                )}
              </li>
            );
          })}</ul>
        )}
      </Card>
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
