// Signing in: by name and password or the organisation's sign-in where the
// server has accounts, else by a token. A one-time link makes the first account.
import { Alert, Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { type FormEvent, type ReactNode, useEffect, useState } from "react";

import { base, leave, setUp, signIn, signInByToken, signOut, useSession } from "../api/auth";
import { authorised } from "../api/try";
import { Page } from "../parts/basics";
import { nameOf } from "../words/access";
import { type Failure, failureOf } from "../words/sign-in";

export function SignIn() {
  const session = useSession();
  const [byToken, setByToken] = useState(false);
  const [failure] = useState(() => failureOf(location.hash)); // of the organisation's sign-in, which leads back here
  const link = /^#\/setup\?token=([^&]+)/.exec(location.hash)?.[1];
  const people = session.accounts || session.oidc;
  const kept = session.was !== undefined;
  useEffect(() => {
    document.title = "Sign in · Flyball";
    if (failure) history.replaceState(null, "", "#/"); // told once; whoever is in then is at the front door
  }, [failure]);
  return (
    <main className="sign-in">
      <div className="line" style={{ marginBottom: 18 }}><img src="./icon.svg" width={36} height={36} alt="" /><div><h1 style={{ margin: 0, fontSize: 22, lineHeight: 1.2 }}>Flyball</h1><div className="soft small">Release in seconds, and take it back by itself.</div></div></div>
      <div className="card">
        {failure && <Failed of={failure} />}
        {session.why && <Alert color="orange" variant="light" mb="sm" role="alert">{session.why}{kept && <div>What you wrote is kept: sign in{session.was && ` as ${nameOf(session.was)}`} to go on with it.</div>}</Alert>}
        {link ? <SetUp token={decodeURIComponent(link)} first={!session.accounts} /> : people && !byToken ? <Password oidc={session.oidc} passwords={session.passwords} kept={kept} /> : <Token />}
        {people && !link && <Button variant="subtle" size="compact-xs" mt="sm" onClick={() => setByToken(!byToken)}>{byToken ? "Sign in by name and password" : "Use a token instead"}</Button>}
        {link && <Button variant="subtle" size="compact-xs" mt="sm" onClick={() => { location.hash = "#/"; void signOut(); }}>I have an account already</Button>}
      </div>
    </main>
  );
}

function Failed({ of }: { of: Failure }) {
  return (
    <Alert color="red" variant="light" mb="sm" role="alert" title={of.title}>
      {of.todo}
      {(of.code || of.request) && <div className="small soft" style={{ marginTop: 6 }}>{of.code && <>The provider's word for it: <span className="mono">{of.code}</span>. </>}{of.request && <>In the server's log: <span className="mono">{of.request}</span>.</>}</div>}
    </Alert>
  );
}

// StillIn is for who is signed in, and could not prove anew who they are.
export function StillIn() {
  const failure = failureOf(location.hash);
  return <Page title="You are signed in" about="as you were before">{failure && <Failed of={failure} />}<Button component="a" href="#/" variant="default">To the front page</Button></Page>;
}

function Form({ children, submit, label }: { children: ReactNode; submit: () => Promise<void>; label: string }) {
  const [error, setError] = useState(""), [busy, setBusy] = useState(false);
  async function go(e: FormEvent) {
    e.preventDefault();
    setBusy(true);
    setError("");
    await submit().catch((e: Error) => setError(e.message));
    setBusy(false);
  }
  return (
    <form onSubmit={(e) => void go(e)}>
      <Stack gap="sm">
        {children}
        {error && <Alert color="red" variant="light" role="alert">{error}</Alert>}
        <Button type="submit" size="sm" loading={busy}>{label}</Button>
      </Stack>
    </form>
  );
}

function Token() {
  const [token, setToken] = useState("");
  return (
    <Form label="Open the dashboard" submit={async () => {
      await authorised(token.trim());
      signInByToken(token.trim());
    }}>
      <PasswordInput label="Token" description="An api token, which begins with fb_api_. It is kept in this tab only." placeholder="fb_api_…" size="sm" required autoFocus autoComplete="off" value={token} onChange={(e) => setToken(e.currentTarget.value)} />
      <Text size="xs" c="dimmed">The first start of the server prints one on its standard error, and beside it a link that makes the first account. Later ones are made with <span className="mono">flyball token create</span>.</Text>
    </Form>
  );
}

function Password({ oidc, passwords, kept }: { oidc: boolean; passwords: boolean; kept: boolean }) {
  const [user, setUser] = useState(""), [password, setPassword] = useState("");
  return (
    <>
      {oidc && passwords && <Button component="a" href={`${base}/auth/oidc/login`} {...(kept ? { target: "_blank", rel: "noopener" } : { onClick: leave })} size="sm" fullWidth mb="sm">Sign in with your organisation{kept && ", in another tab"}</Button>}
      {!passwords && <Text size="xs" c="dimmed">People sign in by https or on the server's own machine only, and this is neither: what they type could be read on the way. Put the server behind TLS, start it with --public-url https://…, and come back by that address.</Text>}
      {passwords && <Form label="Sign in" submit={() => signIn(user.trim(), password)}>
        <TextInput label="Name" size="sm" required autoFocus={!oidc} autoComplete="username" value={user} onChange={(e) => setUser(e.currentTarget.value)} />
        <PasswordInput label="Password" size="sm" required autoComplete="current-password" value={password} onChange={(e) => setPassword(e.currentTarget.value)} />
        <Text size="xs" c="dimmed">Lost it? An administrator makes you a link by which you choose another.</Text>
      </Form>}
    </>
  );
}

function SetUp({ token, first }: { token: string; first: boolean }) {
  const [name, setName] = useState(""), [password, setPassword] = useState("");
  return (
    <Form label={first ? "Make the first account" : "Set the password"} submit={async () => {
      await setUp(token, first ? name.trim() : undefined, password);
      location.hash = "#/";
    }}>
      <Text size="sm">{first ? "You are the first here. This link works once, and makes an administrator." : "This link works once. Choose a password, and you are in."}</Text>
      {first && <TextInput label="Your name" description="Lower-case letters, digits, dots and dashes; it stands in the audit log as user:NAME." size="sm" required autoFocus autoComplete="username" value={name} onChange={(e) => setName(e.currentTarget.value)} />}
      <PasswordInput label="Password" description="At least 12 characters; a sentence is good." size="sm" required minLength={12} autoComplete="new-password" value={password} onChange={(e) => setPassword(e.currentTarget.value)} />
    </Form>
  );
}
