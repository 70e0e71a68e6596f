// A flag's history: who changed it, why, what differs, how it was then, and the
// way back.
import { Button, Modal } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";

import { type AuditEntry, type Config, type Edit, type Flag, inEnvironment } from "../api/client";
import { stringify } from "../api/json";
import { auditBefore } from "../api/queries";
import { Card, Differences, Empty, Moment, Trouble, Waiting } from "../parts/basics";
import { useChange } from "../parts/change";
import { EntryLine } from "../parts/entries";
import { configDifference, kept } from "../words/difference";
import { ruleWords, serveWords, serving } from "../words/serving";

const ofConfig = (e: AuditEntry, key: string): Edit | undefined => e.edits?.find((x) => x.noun === "config" && x.key === key && x.after);

export function History({ of }: { of: Flag }) {
  const begin = useChange();
  const [then, setThen] = useState<AuditEntry>();
  const pages = useInfiniteQuery({
    queryKey: ["audit", { subject: of.key }, "all"], initialPageParam: 0,
    queryFn: ({ pageParam }) => auditBefore({ subject: of.key }, pageParam),
    getNextPageParam: (last) => (last.length < 50 ? undefined : last.at(-1)!.seq),
  });
  if (pages.error) return <Trouble error={pages.error} retry={() => void pages.refetch()} />;
  if (!pages.data) return <Waiting />;
  const entries = pages.data.pages.flat();
  if (entries.length === 0) return <Empty title="Nothing yet">Each change of this flag stands here.</Empty>;
  function revert(e: AuditEntry, edit: Edit) {
    const environment = edit.environment!, now = of.environments![environment], was = kept(edit.after as Config);
    begin({
      title: `Put ${of.key} in ${environment} back to v${e.version}`, verb: "Put back", difference: configDifference(kept(now), was),
      change: { method: "PUT", path: inEnvironment(environment, of.key, ""), body: { ...was, ifVersion: now.version } },
      warning: now.killed ? "It is killed, and stays so: this changes what it serves once it is resumed." : undefined,
    });
  }
  return (
    <Card>
      <ul className="rows">{entries.map((e) => {
        const edit = ofConfig(e, of.key);
        const current = edit && of.environments?.[edit.environment ?? ""]?.version === e.version;
        return <EntryLine key={e.seq} of={e} hideSubject actions={edit && (
          <>
            <Button variant="subtle" size="compact-xs" onClick={() => setThen(e)} aria-label={`As it was after entry ${e.seq}`}>as it was</Button>
            {!current && of.state !== "archived" && of.environments?.[edit.environment ?? ""] && <Button variant="subtle" size="compact-xs" onClick={() => revert(e, edit)} aria-label={`Put back to entry ${e.seq}`}>put back</Button>}
          </>
        )} />;
      })}</ul>
      {pages.hasNextPage && <Button variant="default" mt="sm" loading={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()}>Older</Button>}
      <Modal opened={Boolean(then)} onClose={() => setThen(undefined)} size="lg" title={then && `${of.key} in ${ofConfig(then, of.key)?.environment} at v${then.version}`} closeButtonProps={{ "aria-label": "Close" }}>
        {then && <Then of={of} entry={then} />}
      </Modal>
    </Card>
  );
}

function Then({ of, entry }: { of: Flag; entry: AuditEntry }) {
  const edit = ofConfig(entry, of.key)!, was = edit.after as Config, now = of.environments?.[edit.environment!];
  const s = serving(was, of);
  return (
    <div style={{ display: "grid", gap: 10 }}>
      <div className="small soft">From <Moment at={entry.at} full />, by {entry.actor.id}: {entry.reason}</div>
      <div className={`what ${s.tone}`}><b>{s.text}</b> {s.note}</div>
      <ol style={{ margin: 0, paddingLeft: 20 }} className="small">{(was.rules ?? []).map((r) => <li key={r.id}><b className="mono">{r.id}</b> {ruleWords(r)}</li>)}<li>otherwise: {serveWords(was.default)}</li></ol>
      {now && <div><h3>Since then</h3><Differences lines={configDifference(was, now)} none="It is the same today." /></div>}
      <pre className="json" tabIndex={0}>{stringify(was, 2)}</pre>
    </div>
  );
}
