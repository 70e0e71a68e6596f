// What an environment serves for a flag, edited as a whole: a draft stays here
// until its difference has been looked at, and is made in one change.
import { ActionIcon, Alert, Button, NativeSelect, Switch, TextInput } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";

import { useRefusal } from "../api/auth";
import { type Config, type Flag, inEnvironment } from "../api/client";
import { flags } from "../api/queries";
import { Card, Differences, Empty } from "../parts/basics";
import { useChange } from "../parts/change";
import { incomplete } from "../parts/condition";
import { useDraft } from "../parts/drafts";
import { Icon } from "../parts/icons";
import { newRule, Rules, ruleTrouble } from "../parts/rules";
import { ServeEditor } from "../parts/serve";
import { configDifference, type Draft, kept, same } from "../words/difference";
import { plural } from "../words/numbers";

export function Targeting({ of, environment, config }: { of: Flag; environment: string; config: Config }) {
  const begin = useChange();
  const client = useQueryClient();
  const [written, write] = useDraft(of.key, environment);
  const base = written?.base ?? config, draft = written?.draft ?? kept(config); // without a draft, what is shown is what there is
  const fresh = useRef(new Set<string>());
  const [shown, setShown] = useState(false);
  const dirty = written !== undefined;
  useLeaving(dirty);
  const variants = Object.keys(of.variants);
  const lines = useMemo(() => configDifference(kept(base), draft), [base, draft]);
  const refused = useRefusal({ role: "editor", environment, team: of.owner });
  const trouble = refused ?? troubleOf(draft);
  const put = (next: Draft, of = base) => write(same(next, kept(of)) ? undefined : { base: of, draft: next });
  const set = (part: Partial<Draft>) => put({ ...draft, ...part });
  const reset = () => { write(undefined); fresh.current.clear(); };

  function review() {
    begin({
      title: `Change ${of.key} in ${environment}`, verb: "Apply", difference: lines,
      change: { method: "PUT", path: inEnvironment(environment, of.key, ""), body: { ...draft, ifVersion: base.version } },
      done: (answer) => {
        reset(); // applied, or asked for
        const now = answer.body as Partial<Config> | null;
        if (now?.default && now.version) client.setQueryData<Flag>(["flag", of.key], (old) => old && { ...old, environments: { ...old.environments, [environment]: { ...old.environments?.[environment], ...(now as Config) } } });
      },
      stale: () => void client.invalidateQueries({ queryKey: ["flag", of.key] }),
    });
  }

  const newer = dirty && config.version !== base.version;
  return (
    <>
      {newer && (
        <Alert color="orange" variant="light" title={`${environment} was changed while you edited`} mb="md">
          <Differences lines={configDifference(kept(base), kept(config))} none="Only what people do not write, such as a kill or a rollout." />
          <div className="line"><Button variant="default" onClick={() => put(draft, config)}>Keep what I wrote, on top of that</Button><Button variant="default" onClick={reset}>Drop what I wrote</Button></div>
        </Alert>
      )}
      {config.rollout && <Alert color="blue" variant="light" mb="md">A rollout is live: it stands in for {config.rollout.where === "default" ? "the default" : `what rule ${config.rollout.where} serves`}. <a href={`#/rollouts/${config.rollout.id}`}>See it</a></Alert>}
      {refused && <Alert color="gray" variant="light" mb="md" title="You can look, and try who gets what, but not change it">{refused}</Alert>}
      <fieldset disabled={Boolean(refused)} className="plain">
        <Card title={environment}>
          <div className="line" style={{ gap: 24 }}>
            <Switch label={draft.enabled ? "Enabled: rules and default apply" : "Disabled: everybody gets the off variant"} checked={draft.enabled} onChange={(e) => set({ enabled: e.currentTarget.checked })} />
            <div className="line"><span className="small soft">off variant</span><NativeSelect aria-label="Off variant" value={draft.offVariant} data={variants} onChange={(e) => set({ offVariant: e.currentTarget.value })} /></div>
          </div>
          <Prerequisites of={of} draft={draft} set={set} />
        </Card>
        <Card title="Rules" actions={<Button variant="default" leftSection={<Icon name="plus" size={13} />} onClick={() => { const r = newRule(draft.rules ?? [], variants.find((v) => v !== draft.default.variant) ?? variants[0]); fresh.current.add(r.id); set({ rules: [...(draft.rules ?? []), r] }); }}>Add a rule</Button>}>
          <p className="small soft" style={{ marginTop: 0 }}>In order; the first that matches wins.</p>
          {(draft.rules?.length ?? 0) === 0
            ? <Empty title="No rules">Everybody gets the default. A rule gives some people something else: staff, a country, ten percent for an hour.</Empty>
            : <Rules rules={draft.rules ?? []} variants={variants} onChange={(rules) => set({ rules })} rolloutAt={config.rollout?.where} fresh={fresh.current} />}
        </Card>
        <Card title="Default">
          <p className="small soft" style={{ marginTop: 0 }}>When no rule matches.</p>
          <ServeEditor value={draft.default} variants={variants} label="Default serves" onChange={(d) => set({ default: d })} disabled={config.rollout?.where === "default"} />
        </Card>
      </fieldset>
      {dirty && (
        <div className="bar-foot" role="region" aria-label="Your draft">
          <b>{plural(lines.length, "difference")}</b>
          {trouble ? <span className="small bad">{trouble}</span> : <Button variant="subtle" size="compact-xs" onClick={() => setShown(!shown)} aria-expanded={shown}>{shown ? "hide" : "show"}</Button>}
          <span className="push" /><Button variant="default" onClick={reset}>Discard</Button>
          <Button onClick={review} disabled={Boolean(trouble) || newer} title={trouble}>Review and apply</Button>
          {shown && <div style={{ flexBasis: "100%" }}><Differences lines={lines} /></div>}
        </div>
      )}
    </>
  );
}

function troubleOf(draft: Draft): string | undefined {
  for (const [i, rule] of (draft.rules ?? []).entries()) {
    const lacks = ruleTrouble(draft.rules!, i) ?? incomplete(rule.if);
    if (lacks) return `Rule ${rule.id || i + 1}: ${lacks}`;
  }
  const open = draft.prerequisites?.find((p) => !p.flag || !p.variant);
  return open ? "A prerequisite names no flag or no variant." : undefined;
}

// useLeaving asks before a tab with a draft is closed.
function useLeaving(dirty: boolean) {
  useEffect(() => {
    if (!dirty) return;
    const ask = (e: BeforeUnloadEvent) => e.preventDefault();
    window.addEventListener("beforeunload", ask);
    return () => window.removeEventListener("beforeunload", ask);
  }, [dirty]);
}

function Prerequisites({ of, draft, set }: { of: Flag; draft: Draft; set: (d: Partial<Draft>) => void }) {
  const list = draft.prerequisites ?? [];
  const all = useQuery({ ...flags(), enabled: list.length > 0 }).data ?? [];
  const put = (next: typeof list) => set({ prerequisites: next });
  return (
    <div style={{ marginTop: 10 }}>
      {list.map((p, i) => {
        const variants = Object.keys(all.find((f) => f.key === p.flag)?.variants ?? {});
        return (
          <div className="line" key={i} style={{ marginBottom: 6 }}>
            <span className="small soft">only where</span>
            <TextInput aria-label={`Prerequisite ${i + 1}: flag`} list="flag-keys" placeholder="flag" w={260} value={p.flag} onChange={(e) => put(list.with(i, { ...p, flag: e.currentTarget.value }))} />
            <span className="small soft">serves</span>
            <NativeSelect aria-label={`Prerequisite ${i + 1}: variant`} value={p.variant} data={["", ...new Set([...variants, ...(p.variant ? [p.variant] : [])])]} onChange={(e) => put(list.with(i, { ...p, variant: e.currentTarget.value }))} />
            <ActionIcon variant="subtle" color="gray" size="sm" onClick={() => put(list.toSpliced(i, 1))} aria-label={`Remove prerequisite ${i + 1}`}><Icon name="cross" size={13} /></ActionIcon>
          </div>
        );
      })}
      <datalist id="flag-keys">{all.filter((f) => f.key !== of.key).slice(0, 1000).map((f) => <option key={f.key} value={f.key} />)}</datalist>
      <Button variant="subtle" size="compact-xs" onClick={() => put([...list, { flag: "", variant: "" }])}>+ prerequisite</Button>
    </div>
  );
}
