// The proof of the audit log: each entry holds the hash of the one before, and
// whoever asks has the server follow them all.
import { Alert, Button } from "@mantine/core";
import { useState } from "react";

import { authorise, base, useSession } from "../api/auth";
import { get, post, problemOf, read, type Schemas } from "../api/client";
import { stringify } from "../api/json";
import { Copy, Moment, Trouble } from "./basics";
import { count } from "../words/numbers";

interface Proved { entries: number; seq: number; hash: string; took: number; at: number; broken?: Schemas["Break"] }

// prove follows the chain, a piece at a time, and says how far it has come.
async function prove(come: (entries: number) => void): Promise<Proved> {
  const start = performance.now();
  for (let after = 0, hash = "", entries = 0; ;) {
    const piece = await read(get("/api/v1/audit/verify", { params: { query: after ? { after, hash } : {} } }));
    entries += piece.entries;
    come(entries);
    if (!piece.intact || !piece.more) return { entries, seq: piece.seq, hash: piece.hash, broken: piece.broken ?? undefined, took: performance.now() - start, at: Date.now() };
    [after, hash] = [piece.seq, piece.hash];
  }
}

function keep(text: string | Blob, name: string, type: string) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(typeof text === "string" ? new Blob([text], { type }) : text);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const today = () => new Date().toISOString().slice(0, 10);

export function Proof() {
  const { by } = useSession();
  const [proved, setProved] = useState<Proved>(), [busy, setBusy] = useState(""), [come, setCome] = useState(0), [error, setError] = useState<unknown>();
  const run = (what: string, work: () => Promise<void>) => {
    setBusy(what);
    setError(undefined);
    void work().catch(setError).finally(() => setBusy(""));
  };
  const verify = () => run("verify", async () => { setProved(undefined); setProved(await prove(setCome)); });
  const sign = () => run("sign", async () => keep(stringify(await read(post("/api/v1/audit/checkpoint", { body: {} })), 2) + "\n", `flyball-checkpoint-${today()}.json`, "application/json"));
  const download = () => run("export", async () => {
    const response = await fetch(`${base}/api/v1/audit/export`, { headers: authorise(new Headers()), cache: "no-store" });
    if (!response.ok) throw await problemOf(response);
    keep(await response.blob(), `flyball-audit-${today()}.ndjson`, "application/x-ndjson");
  });
  return (
    <section className="card" aria-label="Proof">
      <div className="line">
        <span className="grow wide small soft">Each entry holds the hash of the one before it. Whoever edits, removes or reorders one behind the server’s back leaves a trace.</span>
        <Button variant="default" loading={busy === "verify"} onClick={verify}>Verify the log</Button>
        <Button variant="default" loading={busy === "sign"} onClick={sign} title="A signed statement of what the latest entry is. Keep it on another machine.">Sign a checkpoint</Button>
        {by === "cookie" ? <Button component="a" variant="default" href={`${base}/api/v1/audit/export`} download={`flyball-audit-${today()}.ndjson`}>Export all</Button> : <Button variant="default" loading={busy === "export"} onClick={download} title="An entry a line, with its hash: it proves itself without this server.">Export all</Button>}
      </div>
      <div aria-live="polite">
        {busy === "verify" && <p className="small soft">{count(come)} entries so far…</p>}
        {proved && !proved.broken && (
          <div className="proof"><b className="good">Intact.</b> {proved.entries === 1 ? "The one entry is" : `All ${count(proved.entries)} entries are`} what was written, in {proved.took < 1000 ? `${Math.round(proved.took)} ms` : `${(proved.took / 1000).toFixed(1)} s`}, <Moment at={proved.at} />.
            <div className="line small soft">entry {count(proved.seq)} has the hash <span className="mono">{proved.hash}</span><Copy text={proved.hash} label="Copy the hash" /></div></div>
        )}
        {proved?.broken && <Alert mt="sm" color="red" variant="light" title={`Entry ${proved.broken.seq} is ${proved.broken.kind}`} role="alert"><p style={{ marginTop: 0 }}>{proved.broken.why}. {count(proved.entries)} entries before it are what was written.</p><p style={{ marginBottom: 0 }}>Somebody reached the database beside the server. Keep a copy of it, compare <span className="mono">flyball audit verify --checkpoint</span> with a checkpoint that was kept elsewhere, and find out who has access. Flags go on being served.</p></Alert>}
      </div>
      {error !== undefined && <Trouble error={error} />}
    </section>
  );
}
