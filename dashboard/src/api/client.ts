// The public API, with types that are made of its OpenAPI document.
import createClient, { type Middleware } from "openapi-fetch";

import { authorise, base, signOut } from "./auth";
import { parse, stringify } from "./json";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type Flag = Schemas["FlagView"];
export type Config = Schemas["ConfigView"];
export type Serve = Schemas["Serve"];
export type Rule = Schemas["Rule"];
export type Condition = Schemas["Condition"];
export type Rollout = Schemas["RolloutView"];
export type Evidence = Schemas["Evidence"];
export type MetricEvidence = Schemas["MetricEvidence"];
export type AuditEntry = Schemas["AuditEntry"];
export type Edit = Schemas["Edit"];

// A Problem is an answer that says what went wrong, and a mend where there is one.
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code: string = "",
    readonly fields: { field: string; message: string }[] = [],
    readonly details: Record<string, unknown> = {},
    readonly request = "",
  ) {
    super(message);
  }
}

export async function problemOf(response: Response): Promise<Problem> {
  const told = (await response.json().catch(() => ({}))) as Partial<Schemas["Problem"]>;
  return new Problem(response.status, told.detail ?? `the server answered ${response.status}`, told.code, told.errors ?? [], told.details, told.request);
}

const signed: Middleware = {
  onRequest({ request }) {
    authorise(request.headers);
    return request;
  },
  async onResponse({ response }) {
    if (response.ok) {
      const text = await response.text();
      const same = new Response(text, response);
      same.json = async () => parse(text);
      return same;
    }
    const problem = await problemOf(response);
    if (problem.status === 401) void signOut("You were signed out: " + problem.message);
    throw problem;
  },
};

const api = createClient<paths>({ baseUrl: base, cache: "no-store", bodySerializer: (body) => stringify(body) });
api.use(signed);

// get reads; what is wrong is thrown as a Problem.
export const get = api.GET;
export const post = api.POST;

export async function read<T>(answer: Promise<{ data?: T }>): Promise<T> {
  return (await answer).data as T;
}

// A Change is a request that changes something, before its reason is known.
export interface Change {
  method: "POST" | "PUT";
  path: string;
  body: Record<string, unknown>;
}

export interface Answer {
  body: unknown;
  versions: Record<string, number>; // the ruleset versions that the change made, by environment
}

// send makes a change, in one of the manners that a change can be made in.
export async function send(change: Change, reason: string, manner?: "dryRun" | "propose" | "breakGlass", previewBy?: string): Promise<Answer> {
  const query = new URLSearchParams({ ...(manner && { [manner]: "true" }), ...(previewBy && { previewBy }) }).toString();
  const response = await fetch(base + change.path + (query && `?${query}`), {
    method: change.method, cache: "no-store", headers: authorise(new Headers({ "Content-Type": "application/json" })),
    body: stringify({ ...change.body, reason }),
  });
  if (!response.ok) {
    const problem = await problemOf(response);
    if (problem.status === 401) void signOut("You were signed out: " + problem.message);
    throw problem;
  }
  return { body: parse(await response.text()), versions: versionsOf(response.headers.get("Flyball-Versions")) };
}

export function versionsOf(header: string | null): Record<string, number> {
  const made: Record<string, number> = {};
  for (const part of header?.split(", ") ?? []) {
    const [environment, version] = part.split("=");
    if (environment && version) made[environment] = Number(version);
  }
  return made;
}

export const inEnvironment = (environment: string, key: string, rest: string) =>
  `/api/v1/environments/${encodeURIComponent(environment)}/flags/${encodeURIComponent(key)}${rest}`;
