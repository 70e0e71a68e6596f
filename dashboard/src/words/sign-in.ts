// What is said to somebody whom the organisation's sign-in did not let in, and
// what they can do. The address brings codes alone, since anybody can write one:
// all text is ours.
export interface Failure { title: string; todo: string; code?: string; request?: string }

const known: Record<string, [title: string, todo: string]> = {
  noProvider: ["This server has no organisation's sign-in", "Sign in by name and password, or with a token. Who runs the server sets a provider by --oidc-issuer."],
  insecure: ["Nobody can sign in over this connection", "It could be read on the way. Come by https, or on the server's own machine."],
  begun: ["This sign-in was not begun here", "It was begun in another browser or more than ten minutes ago, or was used already. Begin again."],
  refused: ["Your organisation's sign-in did not let you in", "Begin again; if it says no once more, ask who runs it whether you may use Flyball."],
  unbelieved: ["What your organisation's sign-in says of you cannot be trusted", "Begin again. If that changes nothing, the settings of this server and of the provider do not fit: tell who runs them."],
  unverified: ["Your address is not verified", "Verify it where your organisation's sign-in keeps it, and begin again."],
  disabled: ["Your account is disabled", "An administrator of Flyball can let you in again."],
  unavailable: ["Your organisation's sign-in does not answer", "Try again in a moment. Tokens, and passwords where there are any, work meanwhile."],
  busy: ["Too many people sign in at once", "Try again in a moment."],
};

export function failureOf(hash: string): Failure | undefined {
  const told = new URLSearchParams(/^#\/sign-in\?(.*)$/.exec(hash)?.[1] ?? "");
  const why = told.get("failed");
  if (!why) return undefined;
  const [title, todo] = Object.hasOwn(known, why) ? known[why] : ["You could not be signed in", "Begin again. If that changes nothing, tell who runs the server."];
  const pick = (name: string, like: RegExp) => { const v = told.get(name); return v && like.test(v) ? v : undefined; };
  return { title, todo, code: pick("provider", /^[a-z_]{1,40}$/), request: pick("request", /^[\w-]{1,64}$/) };
}
