// How far the instances of an environment have come to a version, live.
import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef } from "react";

import { fleet } from "../api/queries";
import { Meter, useNow } from "./basics";

export function Convergence({ environment, version, over }: { environment: string; version: number; over?: () => void }) {
  const all = useQuery(fleet(700));
  const now = useNow();
  const began = useRef(now);
  const of = all.data?.find((f) => f.environment === environment);
  const here = of && of.head.version >= version;
  const done = Boolean(here && (of.instances === 0 || of.converged === of.instances));
  const ended = useRef(false);
  const late = now - began.current > 60_000;
  useEffect(() => {
    if ((done || late) && !ended.current) {
      ended.current = true;
      over?.();
    }
  }, [done, late, over]);
  return (
    <div className="small" aria-live="polite">
      <span>{environment} v{version}: </span>
      {!of ? "saved" : of.instances === 0 ? "saved; no program reports from there yet" : done ? `all ${of.instances} instances run it` : `${of.converged} of ${of.instances} instances run the newest`}
      {of && of.instances > 0 && <Meter part={of.converged / of.instances} tone={done ? "good" : "accent"} label={`Instances of ${environment} that run it`} />}
    </div>
  );
}
