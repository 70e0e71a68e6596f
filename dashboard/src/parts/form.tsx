// A form that is a page of its own: what is written stays until it is made, and
// the address leads back to it.
import { Button, type ButtonProps } from "@mantine/core";
import { type ReactNode, useEffect, useState } from "react";

import { same } from "../words/difference";
import { Page, Why } from "./basics";

interface Props { title: string; about?: ReactNode; back: string; backTo: string; verb: string; why?: string; refused?: string; submit: () => void; children: ReactNode; aside?: ReactNode }

// FormPage shows a form, what is missing of it, and beside it what it means.
export function FormPage({ title, about, back, backTo, verb, why, refused, submit, children, aside }: Props) {
  const stop = refused ?? why;
  return (
    <Page title={title} about={about}>
      <form className={aside ? "form beside" : "form"} onSubmit={(e) => { e.preventDefault(); if (!stop) submit(); }}>
        <div className="card fields">
          {children}
          <div className="line form-foot">
            <Why because={refused}><Button type="submit" disabled={Boolean(stop)}>{verb}</Button></Why>
            <Button component="a" variant="default" href={back}>{`Back to ${backTo}`}</Button>
            {stop && <span className="small soft" role="status">{stop}</span>}
          </div>
        </div>
        {aside && <aside className="aside" aria-label="What it means">{aside}</aside>}
      </form>
    </Page>
  );
}

export function Field({ label, about, children }: { label: string; about?: ReactNode; children: ReactNode }) {
  return <fieldset className="field"><legend>{label}</legend>{about && <div className="small soft">{about}</div>}{children}</fieldset>;
}

// Lead is a button that leads somewhere; to whom it may not, it says why.
export function Lead({ href, because, children, ...look }: ButtonProps & { href: string; because?: string; children: ReactNode }) {
  if (because) return <Why because={because}><Button {...look} disabled>{children}</Button></Why>;
  return <Button component="a" href={href} {...look}>{children}</Button>;
}

// useRead is what somebody began to write on. It stays, whoever changes it
// meanwhile, until the writer asks for what is there now: moved then gets both,
// to take over what the writer did not touch.
export function useRead<T>(now: T, moved: (was: T, is: T) => void): [T, () => void] {
  const [read, setRead] = useState(now), [asked, setAsked] = useState(false);
  useEffect(() => {
    if (!asked || now === read) return;
    moved(read, now);
    setRead(now);
    setAsked(false);
  }, [asked, now, read, moved]);
  return [read, () => setAsked(true)];
}

// onTop is mine where I wrote something, and theirs where I did not.
export function onTop<T extends object>(mine: T, was: Partial<T> | undefined, theirs: Partial<T> | undefined): T {
  return Object.fromEntries(Object.entries(mine).map(([k, v]) => [k, same(v ?? null, was?.[k as keyof T] ?? null) ? theirs?.[k as keyof T] ?? (typeof v === "string" ? "" : Array.isArray(v) ? [] : undefined) : v])) as T;
}
