// All flags. Thousands stay fluent since only the rows in sight exist.
import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, memo, useDeferredValue, useLayoutEffect, useMemo, useRef, useState } from "react";

import { useRefusal } from "../api/auth";
import type { Flag } from "../api/client";
import { environments, flags, rollouts } from "../api/queries";
import { Empty, Meter, Moment, Page, Ready, Tag } from "../parts/basics";
import { Lead } from "../parts/form";
import { Icon } from "../parts/icons";
import { type Search, to, useAddress } from "../address";
import { expiries, find, seens, sorts, states, type Wanted } from "../words/finding";
import { count, plural } from "../words/numbers";
import { serving } from "../words/serving";

const filters = ["q", "owner", "kind", "tag", "state", "in", "expiry", "seen"] as const;

export function Flags() {
  const [address, setSearch] = useAddress();
  const search = useMemo(() => (address.state === "expiring" ? { ...address, state: undefined, expiry: "soon" } : address), [address]); // an older address
  const all = useQuery(flags(search.state === "archived"));
  const refused = useRefusal({ role: "editor" }, true);
  return (
    <Page title="Flags" about={all.data && plural(all.data.length, "flag")} actions={<Lead href="#/flags/new" because={refused} leftSection={<Icon name="plus" size={14} />}>Create a flag</Lead>}>
      <Ready of={all}>{(list) => (
        <>
          <Filters list={list} search={search} setSearch={setSearch} />
          <List list={list} search={search} clear={() => setSearch(none)} />
        </>
      )}</Ready>
    </Page>
  );
}

const none: Search = Object.fromEntries(filters.map((name) => [name, undefined]));

const choices = (of: Record<string, { name: string }>) => Object.entries(of).map(([value, { name }]) => ({ value, label: name }));
const same = (values: string[]) => values.map((value) => ({ value, label: value }));

function Filters({ list, search, setSearch }: { list: Flag[]; search: Search; setSearch: (s: Search) => void }) {
  const [text, setText] = useState(search.q ?? "");
  const known = useQuery(environments).data ?? [];
  const owners = useMemo(() => [...new Set(list.map((f) => f.owner))].sort(), [list]);
  const tags = useMemo(() => [...new Set(list.flatMap((f) => f.tags ?? []))].sort(), [list]);
  const narrowed = filters.some((name) => search[name]);
  const pick = (name: string, label: string, options: { value: string; label: string }[], spoken = label) => (
    <NativeSelect aria-label={spoken} className={search[name] ? "set" : undefined} value={search[name] ?? ""} onChange={(e) => setSearch({ [name]: e.currentTarget.value || undefined })} data={[{ value: "", label }, ...options]} />
  );
  const [open, setOpen] = useState(false); // on a phone, where they would fill it
  const many = filters.filter((name) => name !== "q" && search[name]).length;
  return (
    <div role="search" className="filters">
      <div className="line" style={{ flexWrap: "nowrap" }}>
        <TextInput aria-label="Search flags" className="grow" placeholder="Search key, description, owner, tag" leftSection={<Icon name="search" size={14} />} value={text} autoFocus
          onChange={(e) => { setText(e.currentTarget.value); setSearch({ q: e.currentTarget.value || undefined }); }}
          onKeyDown={(e) => { if (e.key === "ArrowDown") { e.preventDefault(); document.querySelector<HTMLElement>(".flag-row")?.focus(); } }} />
        {phone.matches ? <Button variant="default" aria-expanded={open} onClick={() => setOpen(!open)}>Filters{many > 0 && ` (${many})`}</Button> : pick("sort", "by key", choices(sorts), "Order")}
      </div>
      {(open || !phone.matches) && <div className="line">
        {pick("state", "Any state", [...choices(states), { value: "archived", label: "archived" }])}
        {known.length > 1 && pick("in", "anywhere", known.map((e) => ({ value: e.key, label: `in ${e.key}` })), "in any environment")}
        {pick("expiry", "Any expiry", choices(expiries))}
        {pick("seen", "Evaluated or not", choices(seens))}
        {pick("kind", "Any kind", same(["release", "ops", "experiment", "permission"]))}
        {pick("owner", "Any owner", same(owners))}
        {tags.length > 0 && pick("tag", "Any tag", same(tags))}
        {phone.matches && pick("sort", "by key", choices(sorts), "Order")}
        {narrowed && <Button variant="subtle" size="compact-xs" onClick={() => { setText(""); setSearch(none); }}>Clear</Button>}
      </div>}
    </div>
  );
}

function List({ list, search, clear }: { list: Flag[]; search: Search; clear: () => void }) {
  const place = useRef<HTMLDivElement>(null);
  const places = useQuery(environments), known = places.data ?? [];
  const fit = useFit(place, known.length);
  const live = useQuery(rollouts({ live: true })).data;
  const held = useMemo(() => new Map((live ?? []).map((r) => [r.id, r.state])), [live]);
  const want = useDeferredValue(search);
  const found = useMemo(() => find(list, want as Wanted, Date.now()), [list, want]);
  if (!places.data) return <div ref={place}><Ready of={places}>{() => null}</Ready></div>; // columns are made of them
  if (list.length === 0) {
    return <div className="card"><Empty title="No flags yet" action={<Button component="a" href="#/flags/new">Create the first</Button>}>A flag lets code ship dark: deploy it off, then turn it on for a few, for a while, and watch.</Empty></div>;
  }
  const names = known.map((e) => e.key).toSorted((a, b) => Number(b === want.in) - Number(a === want.in)); // the one that is asked for has a column
  const shown = names.slice(0, fit), rest = names.slice(fit);
  return (
    <div ref={place}>
      {found.length === 0 ? <div className="card"><Empty title="No flag is like that" action={<Button variant="default" onClick={clear}>Clear search and filters</Button>}>{plural(list.length, "flag")} in all.</Empty></div> : (
        <div className="flags" style={{ ["--environments" as string]: shown.length, ["--rest" as string]: rest.length > 0 ? "90px" : "0px" }}>
          <div className="flags-head"><span>Flag</span>{shown.map((e) => <span key={e} title={e}>{e}</span>)}<span title={rest.join(", ")}>{rest.length > 0 && `${rest.length} more`}</span><span>Owner</span><span>Evaluated</span></div>
          <Rows found={found} environments={shown} rest={rest} held={held} />
        </div>
      )}
      {found.length < list.length && found.length > 0 && <div className="small soft" style={{ padding: "6px 14px" }} role="status">{count(found.length)} of {count(list.length)}</div>}
    </div>
  );
}

// useFit is how many environments have room for a column of their own.
function useFit(place: React.RefObject<HTMLDivElement | null>, most: number): number {
  const [fit, setFit] = useState(3);
  useLayoutEffect(() => {
    const el = place.current;
    if (!el) return;
    const seen = new ResizeObserver(() => setFit(Math.max(1, Math.min(6, Math.floor((el.clientWidth - 560) / 140)))));
    seen.observe(el);
    return () => seen.disconnect();
  }, [place, most]);
  return phone.matches ? 3 : fit;
}

const phone = window.matchMedia("(max-width: 760px)");

interface Shown { environments: string[]; rest: string[]; held: Map<string, string> }

function Rows({ found, ...shown }: { found: Flag[] } & Shown) {
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
  // The arrows go from flag to flag; the row that is gone to may not exist yet.
  function keys(e: KeyboardEvent) {
    const at = Number((document.activeElement as HTMLElement | null)?.dataset.at ?? NaN);
    const page = Math.max(1, Math.floor(height / row) - 1);
    const step: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -found.length, End: found.length };
    if (Number.isNaN(at) || !(e.key in step)) return;
    e.preventDefault();
    const next = Math.max(0, Math.min(found.length - 1, at + step[e.key])), el = body.current!;
    if (next * row < el.scrollTop) el.scrollTop = next * row;
    else if ((next + 1) * row > el.scrollTop + el.clientHeight) el.scrollTop = (next + 1) * row - el.clientHeight;
    setTop(el.scrollTop);
    requestAnimationFrame(() => el.querySelector<HTMLElement>(`[data-at="${next}"]`)?.focus({ preventScroll: true }));
  }
  return (
    <div className="flags-body" ref={body} onScroll={(e) => setTop(e.currentTarget.scrollTop)} onKeyDown={keys} tabIndex={0} role="region" aria-label={plural(found.length, "flag")} style={{ height: `min(calc(100vh - 260px), ${found.length * row + 1}px)`, minHeight: Math.min(320, found.length * row + 1) }}>
      <div style={{ height: found.length * row, position: "relative" }}>
        {found.slice(first, last).map((f, i) => <Row key={f.key} of={f} at={first + i} row={row} {...shown} />)}
      </div>
    </div>
  );
}

const Row = memo(function Row({ of, at, row, environments, rest, held }: { of: Flag; at: number; row: number } & Shown) {
  return (
    <a className="flag-row" href={to.flag(of.key)} style={{ top: at * row }} data-at={at}>
      <span className="name"><div className="key mono" title={of.key}>{of.key}</div><div className="about"><Expiry of={of} />{of.kind}{of.description && ` · ${of.description}`}</div></span>
      {environments.map((name) => <Cell key={name} of={of} name={name} held={held} />)}
      <span className="rest hide-phone">{rest.map((name) => {
        const s = of.environments?.[name] && serving(of.environments[name], of);
        return s && <span key={name} className={`dot ${s.tone}`} role="img" aria-label={`${name}: ${s.text}`} title={`${name}: ${s.text} ${s.note}`} />;
      })}</span>
      <span className="small soft owner">{of.owner}</span>
      <span className="small soft last-seen"><Moment at={of.lastEvaluated} /></span>
    </a>
  );
});

function Expiry({ of }: { of: Flag }) {
  const now = Date.now();
  if (of.state === "archived") return <Tag>archived</Tag>;
  if (expiries.overdue.holds(of, now)) return <><Tag tone="bad">expired</Tag> </>;
  return expiries.soon.holds(of, now) ? <><Tag tone="warn">expires <Moment at={of.expiresAt} /></Tag> </> : null;
}

function Cell({ of, name, held }: { of: Flag; name: string; held: Map<string, string> }) {
  const config = of.environments?.[name];
  if (!config) return <span className="cell soft small">–</span>;
  const s = serving(config, of), rollout = config.rollout, state = rollout && held.get(rollout.id);
  return (
    <span className="cell">
      <Tag tone={s.tone} title={`${name}: ${s.text} ${s.note}`}><span className="only-phone">{name}:&nbsp;</span>{s.text}</Tag>
      {rollout ? <div className="about hide-phone climb"><Meter part={rollout.ppm / 1e6} tone={state === "holding" || state === "paused" ? "warn" : "accent"} label={`Share of ${rollout.treatment}`} />step {rollout.step + 1}{state && state !== "running" && `, ${state}`}</div> : <div className="about hide-phone">{s.note}</div>}
    </span>
  );
}
