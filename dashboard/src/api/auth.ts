// Who is signed in, and how. A token that was pasted is kept for as long as the
// tab is open; a session is the server's cookie, of which this page knows only
// that it is there. All else asks here, so that neither is known elsewhere.
import { useSyncExternalStore } from "react";

// The page's own folder, whatever path it stands behind; tests have no page.
export const base = typeof document === "undefined" ? "" : new URL(".", document.baseURI).href.replace(/\/$/, "");

export interface Session {
  state: "asking" | "out" | "in";
  by?: "token" | "cookie";
  user?: string; // as far as the server tells
  accounts: boolean; // people sign in by name and password
  oidc?: string; // what the organisation's sign-in is called
  why?: string; // why the page is closed again
}

const place = "flyball.token";
const listeners = new Set<() => void>();
let session: Session = { state: "asking", accounts: false };

function become(next: Session) {
  session = next;
  for (const tell of listeners) tell();
}

export function useSession(): Session {
  return useSyncExternalStore((tell) => {
    listeners.add(tell);
    return () => listeners.delete(tell);
  }, () => session);
}

export const current = () => session;

// authorise adds what proves who is asking. A cookie goes by itself.
export function authorise(headers: Headers): Headers {
  const token = session.by === "cookie" ? null : sessionStorage.getItem(place);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  return headers;
}

interface Told {
  accounts?: boolean;
  authenticated?: boolean;
  user?: string | { id?: string; name?: string; email?: string };
  oidc?: boolean | string | { name?: string };
}

// ask finds out whether somebody is signed in already. A server without
// accounts answers with nothing.
export async function ask(): Promise<void> {
  if (sessionStorage.getItem(place)) return become({ state: "in", by: "token", accounts: session.accounts });
  try {
    const response = await fetch(`${base}/auth/session`, { cache: "no-store" });
    const told: Told = response.ok && response.status !== 204 ? await response.json() : {};
    const user = typeof told.user === "string" ? told.user : told.user?.name ?? told.user?.id;
    const oidc = typeof told.oidc === "object" ? told.oidc?.name ?? "single sign-on" : told.oidc === true ? "single sign-on" : told.oidc || undefined;
    const signedIn = told.authenticated ?? Boolean(user);
    become({ state: signedIn ? "in" : "out", by: signedIn ? "cookie" : undefined, user, accounts: told.accounts ?? Boolean(user || oidc), oidc });
  } catch {
    become({ ...session, state: "out", why: "The server does not answer. Check that it runs, and reload." });
  }
}

export function signInByToken(token: string) {
  sessionStorage.setItem(place, token);
  become({ ...session, state: "in", by: "token", why: undefined });
}

async function post(path: string, body: unknown): Promise<void> {
  const response = await fetch(base + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (response.ok) return;
  const told = await response.json().catch(() => ({}));
  throw new Error(told.detail ?? `the server answered ${response.status}`);
}

export async function signIn(user: string, password: string) {
  await post("/auth/login", { user, password });
  await ask();
}

export async function setUp(token: string, name: string, password: string) {
  await post("/auth/setup", { token, name, password });
  await ask();
}

export async function signOut(why?: string) {
  const was = session;
  sessionStorage.removeItem(place);
  become({ state: "out", accounts: was.accounts, oidc: was.oidc, why });
  if (was.by === "cookie" && !why) await post("/auth/logout", {}).catch(() => undefined);
}
