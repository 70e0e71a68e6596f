// All flags. Thousands stay fluent since only the rows in sight exist.
import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { memo, useDeferredValue, useLayoutEffect, useMemo, useRef, useState } from "react";

import type { Flag } from "../api/client";
import { environments, flags } from "../api/queries";
import { Empty, Moment, Page, Ready, Tag } from "../parts/basics";
import { Icon } from "../parts/icons";
import { type Search, to, useAddress } from "../routes";
import { count, plural } from "../words/numbers";
import { serving } from "../words/serving";

const day = 86_400_000;

const states: Record<string, { name: string; holds: (f: Flag, now: number) => boolean }> = {
  rollout: { name: "in a rollout", holds: (f) => configs(f).some((c) => c.rollout) },
  killed: { name: "killed somewhere", holds: (f) => configs(f).some((c) => c.killed) },
  on: { name: "enabled somewhere", holds: (f) => configs(f).some((c) => c.enabled && !c.killed) },
  off: { name: "off everywhere", holds: (f) => configs(f).every((c) => !c.enabled) },
  expiring: { name: "expires within two weeks", holds: (f, now) => Boolean(f.expiresAt) && Date.parse(f.expiresAt!) - now < 14 * day },
  overdue: { name: "expired", holds: (f, now) => Boolean(f.expiresAt) && Date.parse(f.expiresAt!) < now },
  never: { name: "never evaluated", holds: (f) => !f.lastEvaluated },
  quiet: { name: "not evaluated for a week", holds: (f, now) => !f.lastEvaluated || now - Date.parse(f.lastEvaluated) > 7 * day },
  archived: { name: "archived", holds: () => true },
};

const configs = (f: Flag) => Object.values(f.environments ?? {});

// matches finds every word of a search in what people know a flag by.
export function matches(f: Flag, search: Search, words: string[], now: number): boolean {
  if (search.owner && f.owner !== search.owner) return false;
  if (search.kind && f.kind !== search.kind) return false;
  if (search.tag && !f.tags?.includes(search.tag)) return false;
  if (search.state && states[search.state] && !states[search.state].holds(f, now)) return false;
  if (words.length === 0) return true;
  const text = `${f.key} ${f.description ?? ""} ${f.owner} ${f.tags?.join(" ") ?? ""}`.toLowerCase();
  return words.every((w) => text.includes(w));
}

export function Flags() {
  const [search, setSearch] = useAddress();
  const all = useQuery(flags(search.state === "archived"));
  return (
    <Page title="Flags" about={all.data && plural(all.data.length, "flag")} actions={<Button component="a" href="#/flags/new" leftSection={<Icon name="plus" size={14} />}>Create a flag</Button>}>
      <Ready of={all}>{(list) => (
        <>
          <Filters list={list} search={search} setSearch={setSearch} />
          <List list={list} search={search} clear={() => setSearch({ q: undefined, owner: undefined, kind: undefined, tag: undefined, state: undefined })} />
        </>
      )}</Ready>
    </Page>
  );
}

function Filters({ list, search, setSearch }: { list: Flag[]; search: Search; setSearch: (s: Search) => void }) {
  const [text, setText] = useState(search.q ?? "");
  const owners = useMemo(() => [...new Set(list.map((f) => f.owner))].sort(), [list]);
  const tags = useMemo(() => [...new Set(list.flatMap((f) => f.tags ?? []))].sort(), [list]);
  const pick = (name: keyof Search & string, label: string, options: { value: string; label: string }[]) => (
    <NativeSelect aria-label={label} value={search[name] ?? ""} onChange={(e) => setSearch({ [name]: e.currentTarget.value || undefined })} data={[{ value: "", label }, ...options]} />
  );
  const same = (values: string[]) => values.map((value) => ({ value, label: value }));
  return (
    <div className="line" style={{ marginBottom: 12 }} role="search">
      <TextInput aria-label="Search flags" placeholder="Search key, description, owner, tag" leftSection={<Icon name="search" size={14} />} className="grow" miw={200} value={text} autoFocus
        onChange={(e) => { setText(e.currentTarget.value); setSearch({ q: e.currentTarget.value || undefined }); }} />
      {pick("state", "Any state", Object.entries(states).map(([value, s]) => ({ value, label: s.name })))}
      {pick("kind", "Any kind", same(["release", "ops", "experiment", "permission"]))}
      {pick("owner", "Any owner", same(owners))}
      {tags.length > 0 && pick("tag", "Any tag", same(tags))}
    </div>
  );
}

function List({ list, search, clear }: { list: Flag[]; search: Search; clear: () => void }) {
  const known = useQuery(environments).data ?? [];
  const shownEnvironments = known.slice(0, 3).map((e) => e.key);
  const words = useDeferredValue(search.q ?? "");
  const found = useMemo(() => {
    const parts = words.toLowerCase().split(/\s+/).filter(Boolean), now = Date.now();
    return list.filter((f) => matches(f, search, parts, now));
  }, [list, search, words]);
  if (list.length === 0) {
    return <div className="card"><Empty title="No flags yet" action={<Button component="a" href="#/flags/new">Create the first</Button>}>A flag lets code ship dark: deploy it off, then turn it on for a few, for a while, and watch.</Empty></div>;
  }
  if (found.length === 0) {
    return <div className="card"><Empty title="No flag is like that" action={<Button variant="default" onClick={clear}>Clear search and filters</Button>}>{plural(list.length, "flag")} in all.</Empty></div>;
  }
  return (
    <div className="flags" style={{ ["--environments" as string]: shownEnvironments.length }}>
      <div className="flags-head"><span>Flag</span>{shownEnvironments.map((e) => <span key={e}>{e}</span>)}<span>Owner</span><span>Evaluated</span></div>
      <Rows found={found} environments={shownEnvironments} />
      {found.length < list.length && <div className="small soft" style={{ padding: "6px 14px" }} role="status">{count(found.length)} of {count(list.length)}</div>}
    </div>
  );
}

const phone = window.matchMedia("(max-width: 760px)");

function Rows({ found, environments }: { found: Flag[]; environments: string[] }) {
  const body = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0), [height, setHeight] = useState(600);
  const row = phone.matches ? 76 : 52, spare = 8;
  useLayoutEffect(() => {
    const el = body.current!;
    const seen = new ResizeObserver(() => setHeight(el.clientHeight));
    seen.observe(el);
    return () => seen.disconnect();
  }, []);
  useLayoutEffect(() => {
    body.current!.scrollTop = 0;
  }, [found]);
  const first = Math.max(0, Math.floor(top / row) - spare), last = Math.min(found.length, Math.ceil((top + height) / row) + spare);
  return (
    <div className="flags-body" ref={body} onScroll={(e) => setTop(e.currentTarget.scrollTop)} tabIndex={0} role="region" aria-label={plural(found.length, "flag")} style={{ height: `min(calc(100vh - 220px), ${found.length * row + 1}px)`, minHeight: Math.min(320, found.length * row + 1) }}>
      <div style={{ height: found.length * row, position: "relative" }}>
        {found.slice(first, last).map((f, i) => <Row key={f.key} of={f} at={(first + i) * row} environments={environments} />)}
      </div>
    </div>
  );
}

const Row = memo(function Row({ of, at, environments }: { of: Flag; at: number; environments: string[] }) {
  return (
    <a className="flag-row" href={to.flag(of.key)} style={{ top: at }}>
      <span className="name"><div className="key mono" title={of.key}>{of.key}</div><div className="about">{of.kind}{of.description && ` · ${of.description}`}</div></span>
      {environments.map((name) => {
        const config = of.environments?.[name];
        if (!config) return <span key={name} className="cell soft small">–</span>;
        const s = serving(config, of);
        return <span key={name} className="cell"><Tag tone={s.tone} title={`${name}: ${s.text} ${s.note}`}><span className="only-phone">{name}:&nbsp;</span>{s.text}</Tag><div className="about hide-phone">{s.note}</div></span>;
      })}
      <span className="small soft owner">{of.owner}</span>
      <span className="small soft last-seen"><Moment at={of.lastEvaluated} /></span>
    </a>
  );
});
