// A flag's history: who changed it, why, what differs, and the ways back: to how
// it was, and to make it so again.
import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";

import { useSession, refusal } from "../api/auth";
import { type AuditEntry, type Config, type Edit, type Flag } from "../api/client";
import { auditBefore } from "../api/queries";
import { Card, Empty, Trouble, Waiting, Why } from "../parts/basics";
import { fromLocal } from "../parts/condition";
import { EntryLine } from "../parts/entries";
import { useAddress } from "../address";
import { differences } from "../words/difference";
import { useRevert } from "./flag-then";

const ofConfig = (e: AuditEntry, key: string): Edit | undefined => e.edits?.find((x) => x.noun === "config" && x.key === key && x.after);

export function History({ of }: { of: Flag }) {
  const revert = useRevert();
  const session = useSession();
  const [search, setSearch] = useAddress();
  const only = search.only;
  const pages = useInfiniteQuery({
    queryKey: ["audit", { subject: of.key }, "all", only], initialPageParam: 0,
    queryFn: ({ pageParam }) => auditBefore({ subject: of.key, ...(only && { environment: only }) }, pageParam),
    getNextPageParam: (last) => (last.length < 50 ? undefined : last.at(-1)!.seq),
  });
  if (pages.error) return <Trouble error={pages.error} retry={() => void pages.refetch()} />;
  if (!pages.data) return <Waiting />;
  const entries = pages.data.pages.flat();
  const why = (e: AuditEntry, environment: string) => refusal(session, { role: "editor", environment, team: of.owner }) ?? (of.environments?.[environment]?.version === e.version ? "It is what is served now." : undefined);
  return (
    <Card>
      <div className="line foot" style={{ marginBottom: 12 }}>
        <NativeSelect label="Environment" value={only ?? ""} onChange={(e) => setSearch({ only: e.currentTarget.value || undefined })} data={[{ value: "", label: "all" }, ...Object.keys(of.environments ?? {})]} />
        <TextInput type="datetime-local" step={1} label="See it as it was at" onChange={(e) => { const at = fromLocal(e.currentTarget.value); if (at) setSearch({ at, tab: undefined }, "push"); }} />
      </div>
      {entries.length === 0 && <Empty title="Nothing yet">Each change of this flag stands here.</Empty>}
      <ol className="timeline">{entries.map((e) => {
        const edit = ofConfig(e, of.key), environment = edit?.environment ?? "", now = of.environments?.[environment];
        const lines = differences(e.edits);
        return (
          <li key={e.seq} aria-label={`Entry ${e.seq}: ${e.reason}`}>
            <EntryLine of={e} hideSubject within="div" actions={edit && (
              <>
                <Button variant="subtle" size="compact-xs" onClick={() => setSearch({ at: e.at, environment, tab: undefined }, "push")} aria-label={`As it was after entry ${e.seq}`}>as it was</Button>
                {of.state !== "archived" && now && e.version !== undefined && <Why because={why(e, environment)}><Button variant="subtle" size="compact-xs" disabled={Boolean(why(e, environment))} onClick={() => revert(of, environment, edit.after as Config, now, e.version)} aria-label={`Put back to entry ${e.seq}`}>put back</Button></Why>}
              </>
            )} />
            {lines.length > 0 && <ul className="evidence small">{lines.slice(0, 5).map((line, i) => <li key={i}>{line}</li>)}{lines.length > 5 && <li className="soft">and {lines.length - 5} more</li>}</ul>}
          </li>
        );
      })}</ol>
      {pages.hasNextPage && <Button variant="default" mt="sm" loading={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()}>Older</Button>}
    </Card>
  );
}
