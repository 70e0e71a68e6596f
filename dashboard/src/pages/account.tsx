// What somebody may do themselves: who they are here, and their password.
import { Button, PasswordInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";

import { signOut, useSession } from "../api/auth";
import { send } from "../api/client";
import { audit } from "../api/queries";
import { Card, Empty, Moment, Page, Ready, Trouble } from "../parts/basics";
import { EntryLine } from "../parts/entries";
import { GrantTags } from "../parts/grants";
import { to } from "../address";
import { nameOf } from "../words/access";

export function Account() {
  const { user, by, rights, passwords, provedAt } = useSession();
  const mine = useQuery({ ...audit({ actor: user ?? "" }, 8), enabled: Boolean(user) });
  return (
    <Page title={user ? nameOf(user) : "You"} about={user && <span className="mono">{user}</span>} actions={<Button variant="default" onClick={() => void signOut()}>Sign out</Button>}>
      <div className="stack">
        <div className="grid thirds">
          <Card title="What you may do">
            {!rights?.length ? <p className="small soft">The server tells nothing of it, and decides.</p> : <>{rights.map((set, i) => <div key={i}>{rights.length > 1 && <div className="small soft">{i === 0 ? "This token allows" : "and your account allows"}</div>}<GrantTags of={set} none="You look at everything. To change something, ask an administrator for a role." /></div>)}{rights.length > 1 && <p className="small soft">You may do what both allow.</p>}</>}
          </Card>
          <Card title="How you are signed in"><p className="small" style={{ marginTop: 0 }}>{by === "token" ? "By a token, kept in this tab alone: it is gone when the tab is closed." : "By a session of this browser. It ends 8 hours after its last use and 24 hours after it began, and you come back to the page where you were."}</p>{by === "cookie" && <p className="small soft">You last proved who you are <Moment at={provedAt} />. What approves or administers asks again after five minutes.</p>}</Card>
          {by === "cookie" && passwords && user && <Password user={user} />}
        </div>
        <Card title="What you did lately" actions={user && <a className="small" href={to.audit({ actor: user })}>all of it</a>}><Ready of={mine}>{(list) => list.length === 0 ? <p className="small soft">Nothing yet.</p> : <ul className="rows">{list.map((e) => <EntryLine key={e.seq} of={e} />)}</ul>}</Ready></Card>
      </div>
    </Page>
  );
}

// SetUpElsewhere is what somebody sees who opens a one-time link and is signed in
// already: it would be used up for the wrong person.
export function SetUpElsewhere() {
  const { user } = useSession();
  return (
    <Page title="A one-time link">
      <Card><Empty title={`You are signed in${user ? ` as ${nameOf(user)}` : ""}`} action={<div className="line" style={{ justifyContent: "center" }}><Button onClick={() => void signOut("The link is for whoever it was made for.", true)}>Sign out and use it</Button><Button component="a" variant="default" href="#/">Leave it</Button></div>}>This link lets somebody choose a password, once. If it is for another, send it to them, or open it in a private window.</Empty></Card>
    </Page>
  );
}

function Password({ user }: { user: string }) {
  const [current, setCurrent] = useState(""), [next, setNext] = useState(""), [error, setError] = useState<unknown>(), [busy, setBusy] = useState(false);
  async function change(e: FormEvent) {
    e.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      await send({ method: "POST", path: `/api/v1/users/${encodeURIComponent(nameOf(user))}/password`, body: { current, password: next } }, "my own, from the dashboard");
      notifications.show({ color: "teal", title: "Your password is another now", message: "Your other sessions are over." });
      void signOut("Your password is another now: sign in by it.", true);
    } catch (e) {
      setError(e);
    }
    setBusy(false);
  }
  return (
    <Card title="Your password">
      <p className="small soft" style={{ marginTop: 0 }}>Who signs in with an organisation has none, unless an administrator made them a link for one.</p>
      <form className="fields" onSubmit={(e) => void change(e)}>
        <PasswordInput label="As it is" autoComplete="current-password" value={current} onChange={(e) => setCurrent(e.currentTarget.value)} />
        <PasswordInput label="As it is to be" description="12 to 256 bytes; a sentence is good. You sign in by it again." autoComplete="new-password" value={next} onChange={(e) => setNext(e.currentTarget.value)} />
        {error !== undefined && <Trouble error={error} />}
        <div><Button type="submit" variant="default" loading={busy} disabled={!current || next.length < 12}>Change it</Button></div>
      </form>
    </Card>
  );
}
