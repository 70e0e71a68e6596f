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
  oidc: boolean; // people sign in at the organisation's provider
  passwords: boolean; // and by password, over this connection
  rights?: Grant[][]; // sets of grants, each of which must allow what is done; the server alone decides if it tells none
  provedAt?: string; // when they last proved who they are
  why?: string; // why the page is closed again
  was?: string; // whom the server sent out, and who may want to go on
}

export interface Grant { role: string; environment?: string; team?: string }

const place = "flyball.token";
const listeners = new Set<() => void>();
let session: Session = { state: "asking", accounts: false, oidc: false, passwords: false };

function become(next: Session) {
  session = next;
  for (const tell of listeners) tell();
}

// Whoever signs in in one tab is in in the others.
const tabs = typeof document === "undefined" ? undefined : new BroadcastChannel("flyball.session");
tabs?.addEventListener("message", () => { if (session.state === "out") void ask(); });

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

interface Told { signedIn?: boolean; user?: string; rights?: (Grant[] | null)[] | null; steppedUp?: string; accounts?: boolean; oidc?: boolean; passwords?: boolean }

// ask finds out whether somebody is signed in already, and how people may come
// in. A server without accounts answers with nothing.
export async function ask(): Promise<void> {
  const token = sessionStorage.getItem(place) !== null;
  try {
    const response = await fetch(`${base}/auth/session`, { cache: "no-store", headers: authorise(new Headers()) });
    const told: Told = response.ok && response.status !== 204 ? await response.json() : {};
    const known = { accounts: told.accounts ?? false, oidc: told.oidc ?? false, passwords: told.passwords ?? false, user: told.user, rights: told.rights?.map((set) => set ?? []), provedAt: told.steppedUp, why: session.why };
    const signedIn = token || told.signedIn === true;
    if (told.signedIn && !token && session.state !== "in") tabs?.postMessage("in");
    become({ ...known, state: signedIn ? "in" : "out", by: signedIn ? (token ? "token" : "cookie") : undefined, was: signedIn ? undefined : session.was });
  } catch {
    become({ ...session, state: token ? "in" : "out", by: token ? "token" : undefined, why: "The server does not answer. Check that it runs, and reload." });
  }
}

export function signInByToken(token: string) {
  sessionStorage.setItem(place, token);
  session = { ...session, by: "token", why: undefined };
  void ask();
}

async function post(path: string, body: unknown): Promise<void> {
  const response = await fetch(base + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (response.ok) return;
  const told = await response.json().catch(() => ({}));
  throw new Error(told.detail ?? `the server answered ${response.status}`);
}

export async function signIn(name: string, password: string) {
  await post("/auth/login", { name, password });
  session = { ...session, why: undefined };
  await ask();
}

// setUp uses a one-time link; the first person names themselves.
export async function setUp(token: string, name: string | undefined, password: string) {
  await post("/auth/setup", { token, ...(name && { name }), password });
  session = { ...session, why: undefined };
  await ask();
}

// stepUp proves once more who is there, for what takes that.
export const stepUp = (password: string) => post("/auth/stepup", { password }).then(ask);

// leave goes to the organisation's sign-in, which comes back to the front door;
// comeBack then goes on where somebody was.
const left = "flyball.place";
export const leave = () => { if (!["", "#/"].includes(location.hash)) sessionStorage.setItem(left, location.hash); }; // a second try leaves from the front door
export function comeBack() {
  const at = sessionStorage.getItem(left);
  sessionStorage.removeItem(left);
  if (at && /^#\/./.test(at) && ["", "#/"].includes(location.hash)) location.hash = at;
}

// refusal says why somebody may not do a thing, as far as the page knows their
// rights. The server decides all the same.
export function refusal(of: Session, need: Grant): string | undefined {
  const allows = (g: Grant) => (g.role === "admin" || g.role === need.role) && (!g.environment || g.environment === need.environment) && (!g.team || g.team === need.team);
  if (!of.rights || of.rights.every((set) => set.some(allows))) return undefined;
  const where = [need.team && `of ${need.team}`, need.environment && `in ${need.environment}`].filter(Boolean).join(" ");
  return `This takes the role ${need.role}${where && ` ${where}`}, which you do not have. An administrator can give it to you.`;
}

// useRefusal is refusal of whoever is here. With anywhere, a role in some place
// or for some team is enough: which ones it takes, the server finds out.
export function useRefusal(need: Grant, anywhere = false): string | undefined {
  const session = useSession();
  const why = refusal(session, need);
  const some = (g: Grant) => (g.role === "admin" || g.role === need.role) && (!need.team || !g.team || g.team === need.team);
  return anywhere && session.rights?.every((set) => set.some(some)) ? undefined : why;
}

// useRunsIt says why somebody may not run the installation, if they may not.
export function useRunsIt(): string | undefined {
  return refusal(useSession(), { role: "admin" }) && "Those who run the installation do this, and you are none of them. An administrator of everything can.";
}

// signOut leaves; with a reason it is for the most part the server that ended it,
// in the midst of what somebody wrote.
export async function signOut(why?: string, end = !why) {
  const was = session;
  if (was.state === "out" && !end) return; // of many answers that say so, the first is enough
  sessionStorage.removeItem(place);
  become({ state: "out", accounts: was.accounts, oidc: was.oidc, passwords: was.passwords, why, was: end ? undefined : was.user ?? "" });
  if (was.by === "cookie" && end) await post("/auth/logout", {}).catch(() => undefined);
}
