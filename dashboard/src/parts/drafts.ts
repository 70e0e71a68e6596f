// What somebody wrote and has not applied yet. It outlives the tab of the page
// and a look elsewhere, and goes with whoever signs out.
import { useSyncExternalStore } from "react";

import type { Config } from "../api/client";
import type { Draft } from "../words/difference";

export interface Written { base: Config; draft: Draft } // base is what it was made of

const all = new Map<string, Written>();
const listeners = new Set<() => void>();

function listen(tell: () => void) {
  listeners.add(tell);
  return () => listeners.delete(tell);
}

const changed = () => listeners.forEach((tell) => tell());

export function useDraft(flag: string, environment: string): [Written | undefined, (w: Written | undefined) => void] {
  const key = `${environment} ${flag}`;
  const written = useSyncExternalStore(listen, () => all.get(key));
  return [written, (w) => {
    if (w) all.set(key, w);
    else all.delete(key);
    changed();
  }];
}

export function dropDrafts() {
  all.clear();
  changed();
}
