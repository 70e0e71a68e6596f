// The small parts that all pages are made of.
import { ActionIcon, Alert, Button, CopyButton, Loader, Tooltip } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState, useSyncExternalStore } from "react";

import { Problem } from "../api/client";
import { ago, localTime, span } from "../words/numbers";
import type { Tone } from "../words/serving";
import { Icon } from "./icons";

// One clock for the whole page: it ticks each second while somebody reads it.
let now = Date.now(), timer: ReturnType<typeof setInterval> | undefined;
const clocks = new Set<() => void>();
function listen(tell: () => void) {
  clocks.add(tell);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const t of clocks) t();
  }, 1000);
  return () => {
    clocks.delete(tell);
    if (clocks.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}
export const useNow = () => useSyncExternalStore(listen, () => now);

const utc = (at: string | number) => new Date(at).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");

// Moment is a time in words, in the reader's zone, and in UTC when looked at.
export function Moment({ at, full = false }: { at: string | number | undefined | null; full?: boolean }) {
  const at_ = typeof at === "string" ? Date.parse(at) : at;
  if (!at_ || at_ < 0) return <span className="soft">never</span>;
  return (
    <Tooltip label={<>{localTime(at_)}<br />{utc(at_)}</>}>
      <time dateTime={new Date(at_).toISOString()}>{full ? localTime(at_) : <Ago at={at_} />}</time>
    </Tooltip>
  );
}

function Ago({ at }: { at: number }) {
  return <>{ago(at, useNow())}</>;
}

// Remaining counts down to a moment.
export function Remaining({ until }: { until: number }) {
  const left = until - useNow();
  return <>{left > 0 ? span(left) : "due now"}</>;
}

export function Tag({ tone = "soft", children, title }: { tone?: Tone | "accent"; children: ReactNode; title?: string }) {
  return <span className={`tag ${tone}`} title={title}>{children}</span>;
}

export function Trouble({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = error instanceof Problem ? error : undefined;
  const text = error instanceof TypeError ? "The server does not answer. Is it running, and can this machine reach it?" : error instanceof Error ? error.message : String(error);
  return (
    <Alert color="red" variant="light" title={titles[problem?.status ?? 0] ?? "That did not work"} role="alert">
      <div>{text}</div>
      {problem && problem.fields.length > 1 && (
        <ul>{problem.fields.map((f) => <li key={f.field}><span className="mono">{f.field}</span>: {f.message}</li>)}</ul>
      )}
      {Object.entries(problem?.details ?? {}).filter(([, v]) => typeof v !== "object").map(([k, v]) => <div key={k} className="small">{k}: <span className="mono">{String(v)}</span></div>)}
      {problem?.request && <div className="small soft">request {problem.request}</div>}
      {retry && <Button size="compact-sm" variant="default" mt={8} onClick={retry}>Try again</Button>}
    </Alert>
  );
}

const titles: Record<number, string> = {
  403: "You may not do this", 404: "There is no such thing here", 409: "Somebody was quicker, or something stands in the way", 413: "Too large",
  422: "Something is not right yet", 429: "Too much at once", 503: "The server cannot do this now",
};

// Ready shows what a query found once it has, or what went wrong.
export function Ready<T>({ of, children }: { of: UseQueryResult<T>; children: (data: T) => ReactNode }) {
  if (of.data !== undefined) return <>{children(of.data)}</>;
  if (of.error) return <Trouble error={of.error} retry={() => void of.refetch()} />;
  return <Waiting />;
}

// Waiting appears only if there is something to wait for: most answers are
// here before an eye could follow.
export function Waiting() {
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const t = setTimeout(() => setSlow(true), 250);
    return () => clearTimeout(t);
  }, []);
  return <div className="empty" aria-busy>{slow && <Loader size="sm" aria-label="Loading" />}</div>;
}

export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return <div className="empty"><h3>{title}</h3><p>{children}</p>{action}</div>;
}

export function Page({ title, about, actions, stays, children }: { title: ReactNode; about?: ReactNode; actions?: ReactNode; stays?: boolean; children: ReactNode }) {
  useEffect(() => {
    document.title = typeof title === "string" ? `${title} · Flyball` : "Flyball";
  }, [title]);
  return (
    <div className="page">
      <div className={stays ? "page-head stays" : "page-head"}><h1>{title}</h1>{about && <span className="soft small">{about}</span>}{actions && <div className="push">{actions}</div>}</div>
      {children}
    </div>
  );
}

export function Card({ title, actions, children, id }: { title?: ReactNode; actions?: ReactNode; children: ReactNode; id?: string }) {
  return (
    <section className="card" id={id}>
      {(title || actions) && <header>{title && <h2>{title}</h2>}{actions && <div className="push line">{actions}</div>}</header>}
      {children}
    </section>
  );
}

export function Differences({ lines, none = "Nothing would differ." }: { lines: string[]; none?: string }) {
  if (lines.length === 0) return <p className="soft small">{none}</p>;
  return <ul className="diff">{lines.map((line, i) => <li key={i}>{line}</li>)}</ul>;
}

export function Copy({ text, label }: { text: string; label: string }) {
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? "Copied" : label}>
          <ActionIcon variant="subtle" color="gray" size="sm" onClick={copy} aria-label={label}><Icon name={copied ? "check" : "copy"} size={14} /></ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}

// Why wraps a button that is disabled, and says why.
export function Why({ because, children }: { because: string | undefined; children: ReactNode }) {
  if (!because) return <>{children}</>;
  return <Tooltip label={because} events={{ hover: true, focus: true, touch: true }}><span tabIndex={0} aria-label={because}>{children}</span></Tooltip>;
}

export function Meter({ part, tone = "good", label }: { part: number; tone?: Tone | "accent"; label: string }) {
  const percent = Math.round(100 * Math.max(0, Math.min(1, part)));
  return <div className={`meter ${tone}`} role="meter" aria-valuenow={percent} aria-valuemin={0} aria-valuemax={100} aria-label={label} title={`${label}: ${percent} %`}><span style={{ width: `${percent}%` }} /></div>;
}
