import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { auditBefore, environments } from "../api/queries";
import { Card, Empty, Page, Trouble, Waiting } from "../parts/basics";
import { EntryLine } from "../parts/entries";
import { useAddress } from "../routes";

export function AuditPage() {
  const [search, setSearch] = useAddress();
  const known = useQuery(environments).data ?? [];
  const narrow = useMemo(() => ({ environment: search.environment, subject: search.subject?.trim() || undefined, actor: search.actor?.trim() || undefined }), [search]);
  const pages = useInfiniteQuery({
    queryKey: ["audit", narrow, "pages"], initialPageParam: 0, queryFn: ({ pageParam }) => auditBefore(narrow, pageParam), getNextPageParam: (last) => (last.length < 50 ? undefined : last.at(-1)!.seq),
  });
  const entries = (pages.data?.pages.flat() ?? []).filter((e) => !search.action || e.action.startsWith(search.action));
  return (
    <Page title="Audit log" about="Who changed what, when and why. Nothing here is ever altered.">
      <div className="line" style={{ marginBottom: 12 }} role="search">
        <TextInput aria-label="Subject" placeholder="subject: a key or an id" className="mono" miw={240} value={search.subject ?? ""} onChange={(e) => setSearch({ subject: e.currentTarget.value || undefined })} />
        <TextInput aria-label="Actor" placeholder="actor, such as user:ann" miw={190} value={search.actor ?? ""} onChange={(e) => setSearch({ actor: e.currentTarget.value || undefined })} />
        <NativeSelect aria-label="Environment" value={search.environment ?? ""} onChange={(e) => setSearch({ environment: e.currentTarget.value || undefined })} data={[{ value: "", label: "Any environment" }, ...known.map((e) => e.key)]} />
        <NativeSelect aria-label="Action" value={search.action ?? ""} onChange={(e) => setSearch({ action: e.currentTarget.value || undefined })} data={[{ value: "", label: "Any action" }, ...["flag", "rule", "rollout", "segment", "metric", "team", "environment", "token", "webhook", "fleet"].map((a) => ({ value: `${a}.`, label: a }))]} />
        {Object.values(search).some(Boolean) && <Button variant="subtle" onClick={() => setSearch({ subject: undefined, actor: undefined, environment: undefined, action: undefined })}>Clear</Button>}
      </div>
      <Card>
        {pages.error ? <Trouble error={pages.error} retry={() => void pages.refetch()} /> : !pages.data ? <Waiting /> : entries.length === 0 ? <Empty title={Object.values(search).some(Boolean) ? "No entry is like that" : "Nothing has changed yet"}>Each change has one entry for each ruleset version that it made.</Empty> : <ul className="rows">{entries.map((e) => <EntryLine key={e.seq} of={e} />)}</ul>}
        {pages.hasNextPage && <Button variant="default" mt="sm" loading={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()}>Older</Button>}
      </Card>
    </Page>
  );
}
