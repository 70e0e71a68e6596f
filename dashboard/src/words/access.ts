// Who may do what, in words: roles, grants, and what of them holds somewhere.
import type { Grant } from "../api/auth";

export const roles: Record<string, string> = {
  viewer: "looks at everything. Everybody may, so this adds nothing",
  editor: "changes flags, rules, rollouts and segments",
  approver: "approves what others propose, and changes nothing",
  admin: "changes and approves. An admin of everything also runs the installation: people, teams, tokens, environments, webhooks and policy",
};

export const place = (g: { team?: string; environment?: string }) =>
  [g.team ? `of ${g.team}` : "", g.environment ? `in ${g.environment}` : ""].filter(Boolean).join(" ") || "of everything";

export const grantWords = (g: Grant) => (runs([g]) ? "admin: runs the installation" : `${g.role} ${place(g)}`);

// runs says whether grants are those of somebody who runs the installation.
export const runs = (grants: Grant[] | null | undefined) => (grants ?? []).some((g) => g.role === "admin" && !g.environment && !g.team);

export const sameGrant = (a: Grant, b: Grant) => a.role === b.role && (a.environment ?? "") === (b.environment ?? "") && (a.team ?? "") === (b.team ?? "");

// clean leaves out what is empty, as the server keeps it.
export const clean = (g: Grant): Grant => ({ role: g.role, ...(g.environment && { environment: g.environment }), ...(g.team && { team: g.team }) });

export function grantDifference(before: Grant[], after: Grant[]): string[] {
  return [
    ...after.filter((g) => !before.some((b) => sameGrant(b, g))).map((g) => `may be ${grantWords(g)}`),
    ...before.filter((g) => !after.some((a) => sameGrant(a, g))).map((g) => `is no longer ${grantWords(g)}`),
  ];
}

// nameOf is what people call an actor: user:ann is ann.
export const nameOf = (actor: string) => actor.replace(/^user:/, "");
