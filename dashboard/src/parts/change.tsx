// Every change goes one way: what differs, whom it affects, why, and then it is
// made, or asked for. Whoever wants something changed begins here.
import { Alert, Button, Group, Modal, NativeSelect, PasswordInput, Stack, Textarea } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useRef, useState } from "react";

import { base, stepUp, useSession } from "../api/auth";
import { type Answer, type Change, Problem, send } from "../api/client";
import { asPlan, doors, type Plan } from "../api/governance";
import { environments } from "../api/queries";
import { Differences, Tag, Trouble } from "./basics";
import { Convergence } from "./convergence";
import { planLines, PlanView } from "./plan";

export interface Wish {
  title: string;
  verb: string; // what the button says
  change: Change;
  difference?: string[]; // in words, as far as the page knows it
  warning?: ReactNode;
  danger?: boolean;
  urgent?: boolean; // a retreat: it waits for no plan, and a reason stands ready
  plain?: boolean; // there is no plan of it
  done?: (answer: Answer) => void;
  stale?: () => void; // somebody was quicker: read again, keep what was written
  staleSays?: string; // what the button for that says
}

const Begin = createContext<(wish: Wish) => void>(() => undefined);
export const useChange = () => useContext(Begin);

export function Changes({ children }: { children: ReactNode }) {
  const [wish, setWish] = useState<Wish>();
  const begin = useCallback((w: Wish) => setWish(w), []);
  useEffect(() => { // whoever goes elsewhere wants it no more
    const drop = () => setWish(undefined);
    window.addEventListener("hashchange", drop);
    return () => window.removeEventListener("hashchange", drop);
  }, []);
  return (
    <Begin.Provider value={begin}>
      {children}
      <Modal opened={Boolean(wish)} onClose={() => setWish(undefined)} title={wish?.title} size="lg" closeButtonProps={{ "aria-label": "Close" }}>
        {wish && <Asked wish={wish} close={() => setWish(undefined)} />}
      </Modal>
    </Begin.Provider>
  );
}

type Manner = "propose" | "breakGlass" | undefined;

function Asked({ wish, close }: { wish: Wish; close: () => void }) {
  const client = useQueryClient();
  const [reason, setReason] = useState(wish.urgent ? "an emergency, from the dashboard" : "");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const [by, setBy] = useState("");
  const { plan, planning, problem } = usePlan(wish, by);
  const attributes = useAttributes(plan);
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    field.current?.focus();
    if (wish.urgent) field.current?.select();
  }, [wish]);

  async function make(manner: Manner) {
    setBusy(true);
    setError(undefined);
    try {
      const answer = await send(wish.change, reason.trim(), manner);
      close();
      if (manner === "propose") {
        const id = (answer.body as { id?: string } | null)?.id;
        notifications.show({ title: "Asked for approval", message: <>It waits for others. {id && <a href={`#/approvals/${id}`}>See the request</a>}</> });
      } else told(wish, answer);
      wish.done?.(answer);
      void client.invalidateQueries({ predicate: (q) => q.queryKey[0] !== "plan" && q.queryKey[0] !== "forecast" }); // what was made can be planned no more
    } catch (e) {
      setError(e);
    } finally {
      setBusy(false);
    }
  }

  const needs = plan?.needs?.number ?? 0;
  const lines = plan ? planLines(plan) : wish.difference ?? [];
  const nothing = (plan || wish.difference) && lines.length === 0;
  const blank = reason.trim() === "";
  return (
    <form onSubmit={(e) => { e.preventDefault(); if (!blank && !busy && !planning) void make(needs > 0 ? "propose" : undefined); }}>
      <Stack gap="sm">
        {wish.warning && <Alert color="orange" variant="light">{wish.warning}</Alert>}
        {(plan || wish.difference) && <section aria-label="What differs"><h4 style={{ marginBottom: 4 }}>What differs</h4><Differences lines={lines} /></section>}
        {planning && <p className="soft small" aria-live="polite">Finding out whom it affects…</p>}
        {plan && <section aria-label="Whom it affects"><div className="line" style={{ marginBottom: 4 }}><h4>Whom it affects</h4>{attributes.length > 0 && <NativeSelect className="push" aria-label="Divide by an attribute" value={by} onChange={(e) => setBy(e.currentTarget.value)} data={[{ value: "", label: "all together" }, ...attributes.map((a) => ({ value: a, label: `by ${a}` }))]} />}</div><PlanView plan={plan} /></section>}
        {problem !== undefined && <Trouble error={problem} />}
        <Textarea ref={field} label="Reason" description="It stands in the audit log for good." placeholder="Why, for whoever reads it in a year" required autosize minRows={2} maxLength={2000} value={reason} onChange={(e) => setReason(e.currentTarget.value)} onKeyDown={(e) => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) e.currentTarget.form?.requestSubmit(); }} data-autofocus />
        {error !== undefined && <Failed error={error} wish={wish} close={close} proved={() => setError(undefined)} />}
        <Group justify="flex-end" gap="xs">
          {blank && <span className="soft small">Say why first.</span>}
          {plan?.refused && <Tag tone="bad">{plan.refused}</Tag>}
          <Button variant="default" onClick={close}>Cancel</Button>
          {(needs > 0 || plan?.refused) && <Button variant="default" color="red" disabled={blank || busy} onClick={() => void make("breakGlass")} title="For emergencies, by an administrator; somebody else reviews it afterwards">Break the glass</Button>}
          {needs > 0
            ? <Button type="submit" loading={busy} disabled={blank}>Ask for approval</Button>
            : <Button type="submit" color={wish.danger ? "red" : undefined} loading={busy || planning} disabled={blank || Boolean(plan?.refused) || (nothing && !wish.urgent)}>{wish.verb}</Button>}
        </Group>
      </Stack>
    </form>
  );
}

// Failed says what to do. A conflict of versions is not the reader's fault: what
// they wrote is kept, on top of what is there now.
function Failed({ error, wish, close, proved }: { error: unknown; wish: Wish; close: () => void; proved: () => void }) {
  if (error instanceof Problem && error.details.stepUp) return <StepUp why={error.message} proved={proved} />;
  const stale = error instanceof Problem && error.status === 409 && error.details.version !== undefined && wish.stale;
  if (!stale) return <Trouble error={error} />;
  return (
    <Alert color="orange" variant="light" title="Somebody changed this meanwhile" role="alert">
      <p>{error.message}</p>
      <Button size="compact-sm" variant="default" onClick={() => { wish.stale?.(); close(); }}>{wish.staleSays ?? "Look at it again, and keep what I wrote"}</Button>
    </Alert>
  );
}

// StepUp lets somebody prove who they are, for what takes a fresh proof.
function StepUp({ why, proved }: { why: string; proved: () => void }) {
  const { oidc } = useSession();
  const [password, setPassword] = useState(""), [wrong, setWrong] = useState("");
  const prove = () => void stepUp(password).then(proved, (e: Error) => setWrong(e.message));
  return (
    <Alert color="orange" variant="light" title="Is it you?" role="alert">
      <p>{why}</p>
      <Group align="flex-end"><PasswordInput label="Password" w={240} autoComplete="current-password" value={password} error={wrong} onChange={(e) => setPassword(e.currentTarget.value)} onKeyDown={(e) => { if (e.key === "Enter") { e.preventDefault(); prove(); } }} /><Button disabled={!password} onClick={prove}>Prove it</Button>{oidc && <Button component="a" variant="default" href={`${base}/auth/oidc/login?stepUp=true`} target="_blank" rel="noopener">With your organisation, in another tab</Button>}</Group>
    </Alert>
  );
}

// usePlan finds out what a change would do, on a server that can tell.
function usePlan(wish: Wish, by: string): { plan?: Plan; planning: boolean; problem?: unknown } {
  const wanted = !wish.urgent && !wish.plain;
  const known = useQuery({ ...doors, enabled: wanted });
  const can = Boolean(known.data?.plans) && wanted;
  const key = useMemo(() => `${wish.change.method} ${wish.change.path} ${Math.random()}`, [wish]);
  const asked = useQuery({
    queryKey: ["plan", key, by], enabled: can, placeholderData: (old: Plan | null | undefined) => old, retry: false, staleTime: Infinity, gcTime: 0,
    queryFn: async () => asPlan((await send(wish.change, "a preview", "dryRun", by)).body) ?? null,
  });
  return { plan: asked.data ?? undefined, planning: wanted && (known.isLoading || (can && asked.isLoading)), problem: known.error ?? asked.error ?? undefined };
}

// useAttributes are those by which the server can divide whom a change affects.
function useAttributes(plan: Plan | undefined): string[] {
  const known = useQuery(environments).data ?? [];
  const sampled = new Set((plan?.previews ?? []).filter((p) => p.basis === "sample" && p.affected.high > 0).map((p) => p.environment));
  return [...new Set(known.filter((e) => sampled.has(e.key)).flatMap((e) => e.sampleAttributes ?? []))];
}

function told(wish: Wish, answer: Answer) {
  const made = Object.entries(answer.versions);
  const id = `change-${Date.now()}`;
  if (made.length === 0) return notifications.show({ id, title: wish.title, message: "Done.", color: "teal" });
  notifications.show({
    id, title: wish.title, color: "teal", autoClose: false,
    message: <Stack gap={2}>{made.map(([environment, version]) => <Convergence key={environment} environment={environment} version={version} over={() => setTimeout(() => notifications.hide(id), 6000)} />)}</Stack>,
  });
}
