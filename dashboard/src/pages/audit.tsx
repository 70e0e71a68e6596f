// The audit log: who changed what, when and why, between two times if need be;
// and the proof that it is what was written.
import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { auditBefore, environments } from "../api/queries";
import { Card, Empty, Page, Ready, Trouble, Waiting } from "../parts/basics";
import { EntryLine } from "../parts/entries";
import { Proof } from "../parts/proof";
import { clock, moment, zone } from "../parts/when";
import { useAddress } from "../address";

const nouns = ["flag", "rule", "rollout", "segment", "metric", "change", "policy", "agents", "user", "token", "team", "environment", "webhook", "fleet"];
const spans: [string, number][] = [["last hour", 1], ["last day", 24], ["last week", 168]];
const atOnce = 50;

export function AuditPage() {
  const [search] = useAddress();
  return search.entry ? <One seq={Number(search.entry) || 0} /> : <Log />;
}

// One is a single entry, to which a link led.
function One({ seq }: { seq: number }) {
  const of = useQuery({ queryKey: ["audit", "one", seq], queryFn: async () => (await auditBefore({}, seq + 1, 1)).find((e) => e.seq === seq) ?? null });
  return (
    <Page title={`Entry ${seq}`} about="of the audit log" actions={<Button component="a" variant="default" href="#/audit">The whole log</Button>}>
      <Card><Ready of={of}>{(e) => (e ? <ul className="rows"><EntryLine of={e} opened /></ul> : <Empty title="There is no such entry">Entries are numbered from 1 on, and none is ever taken away.</Empty>)}</Ready></Card>
    </Page>
  );
}

function Log() {
  const [search, setSearch] = useAddress();
  const known = useQuery(environments).data ?? [];
  const narrow = useMemo(() => ({ environment: search.environment, subject: search.subject?.trim() || undefined, actor: search.actor?.trim() || undefined, action: search.action?.replace(/\.$/, ".*"), from: search.from, to: search.to }), [search]);
  const pages = useInfiniteQuery({
    queryKey: ["audit", narrow, "pages"], initialPageParam: 0, queryFn: ({ pageParam }) => auditBefore(narrow, pageParam), getNextPageParam: (last) => (last.length < atOnce ? undefined : last.at(-1)!.seq),
  });
  const entries = pages.data?.pages.flat() ?? [];
  const narrowed = Object.values(search).some(Boolean);
  return (
    <Page title="Audit log" about="Who changed what, when and why. Nothing here is ever altered.">
      <div className="stack">
        <Proof />
        <div className="line foot narrow" role="search">
          <TextInput label="What" aria-label="Subject" placeholder="a key or an id" className="mono" value={search.subject ?? ""} onChange={(e) => setSearch({ subject: e.currentTarget.value || undefined })} />
          <TextInput label="Who" aria-label="Actor" placeholder="user:ann, agent:shipper" className="mono" value={search.actor ?? ""} onChange={(e) => setSearch({ actor: e.currentTarget.value || undefined })} />
          <NativeSelect label="Where" aria-label="Environment" value={search.environment ?? ""} onChange={(e) => setSearch({ environment: e.currentTarget.value || undefined })} data={[{ value: "", label: "anywhere" }, ...known.map((e) => e.key)]} />
          <NativeSelect label="Of" aria-label="Action" value={narrow.action ?? ""} onChange={(e) => setSearch({ action: e.currentTarget.value || undefined })} data={[{ value: "", label: "anything" }, ...nouns.map((a) => ({ value: `${a}.*`, label: a })), { value: "apply", label: "files" }]} />
          <TextInput type="datetime-local" label="From" title={zone} value={clock(search.from)} onChange={(e) => setSearch({ from: moment(e.currentTarget.value) })} />
          <TextInput type="datetime-local" label="Until" title={zone} value={clock(search.to)} onChange={(e) => setSearch({ to: moment(e.currentTarget.value) })} />
        </div>
        <div className="line small"><span className="soft">Times are of {zone}.</span>
          {spans.map(([name, hours]) => <Button key={name} variant="default" size="compact-xs" onClick={() => setSearch({ from: moment(clock(new Date(Date.now() - hours * 3_600_000).toISOString())), to: undefined })}>{name}</Button>)}
          {narrowed && <Button variant="subtle" size="compact-xs" onClick={() => setSearch(Object.fromEntries(Object.keys(search).map((k) => [k, undefined])))}>Clear all</Button>}
        </div>
        <Card>
          {pages.error ? <Trouble error={pages.error} retry={() => void pages.refetch()} /> : !pages.data ? <Waiting /> : entries.length === 0
            ? <Empty title={narrowed ? "No entry is like that" : "Nothing has changed yet"} action={narrowed && <Button variant="default" onClick={() => setSearch(Object.fromEntries(Object.keys(search).map((k) => [k, undefined])))}>Show all</Button>}>{narrowed ? "Subjects are whole keys or ids, such as payments.checkout.new-flow, and actors have a kind: user:ann, agent:shipper, service:ci." : "Each change has an entry here, with who made it and why."}</Empty>
            : <ul className="rows">{entries.map((e) => <EntryLine key={e.seq} of={e} />)}</ul>}
          {pages.hasNextPage && <Button variant="default" mt="sm" loading={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()}>Older</Button>}
        </Card>
      </div>
    </Page>
  );
}
