// OpenFeature's own providers for servers and for pages, as npm has them,
// against a running server: values, reasons, errors, what is unchanged, and a
// change that arrives by event stream.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

import { EventSource } from "eventsource";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature as Server } from "@openfeature/server-sdk";
import { OpenFeature as Web, ProviderEvents } from "@openfeature/web-sdk";

globalThis.EventSource = EventSource; // which pages have

const program = process.env.FLYBALL_BINARY ?? new URL("../../../../bin/flyball", import.meta.url).pathname;
let folder, server, url, admin, sdk, client;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "flyball-ofrep-"));
  server = spawn(program, ["serve", "--listen", "127.0.0.1:0", "--data", folder], { stdio: ["ignore", "ignore", "pipe"] });
  for await (const line of createInterface({ input: server.stderr })) {
    admin = /^admin token: (\S+)/.exec(line)?.[1] ?? admin;
    url = / url=(\S+)/.exec(line)?.[1];
    if (url) break;
  }
  const variants = {
    boolean: { on: true, off: false }, string: { a: "één", b: "two" }, integer: { big: 9007199254740991, one: 1 },
    number: { half: 0.5, one: 1 }, object: { a: { list: [1, "two", null], nested: { deep: true } }, b: {} },
  };
  for (const [type, values] of Object.entries(variants)) {
    const [first, safe] = Object.keys(values);
    await flag(`shop.type.${type}`, { type, variants: values, safeVariant: safe, clientVisible: true }, { default: { variant: first } });
  }
  await flag("shop.rule.pro", { clientVisible: true }, {
    rules: [{ id: "pros", if: { attribute: "plan", op: "in", values: ["pro"] }, serve: { variant: "on" } }], default: { variant: "off" },
  });
  await flag("shop.split.half", { clientVisible: true }, {
    default: { split: { weights: [{ variant: "on", ppm: 500000 }, { variant: "off", ppm: 500000 }] } },
  });
  await flag("shop.off.dark", { clientVisible: true }, { enabled: false, default: { variant: "on" } });
  await flag("secret.internal.pricing", {}, { default: { variant: "on" } });
  sdk = (await api("POST", "/api/v1/tokens", { kind: "sdk", name: "node", environment: "production", reason: "a test" })).secret;
  client = (await api("POST", "/api/v1/tokens", { kind: "client", name: "page", environment: "production", reason: "a test" })).secret;
});

after(async () => {
  await Server.close();
  await Web.close();
  if (server && server.exitCode === null) {
    server.kill("SIGINT");
    await once(server, "exit");
  }
  await rm(folder, { recursive: true, force: true });
});

async function api(method, path, body) {
  const response = await fetch(url + path, {
    method, headers: { Authorization: `Bearer ${admin}`, "Content-Type": "application/json" }, body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  assert.ok(response.ok, `${method} ${path}: ${JSON.stringify(answer)}`);
  return answer;
}

async function flag(key, definition, config) {
  await api("POST", "/api/v1/flags", {
    key, kind: "ops", owner: "default", type: "boolean", variants: { on: true, off: false }, safeVariant: "off", reason: "a test", ...definition,
  });
  await api("PUT", `/api/v1/environments/production/flags/${key}`, { enabled: true, reason: "a test", ...config });
}

test("a server gets every type, with its variant and its reason", async () => {
  await Server.setProviderAndWait(new OFREPProvider({ baseUrl: url, headers: [["Authorization", `Bearer ${sdk}`]] }));
  const c = Server.getClient();
  const user = { targetingKey: "user-1", plan: "pro" };
  const got = async (details) => { const { value, variant, reason } = await details; return { value, variant, reason }; };
  assert.deepEqual(await got(c.getBooleanDetails("shop.type.boolean", false, user)), { value: true, variant: "on", reason: "STATIC" });
  assert.deepEqual(await got(c.getStringDetails("shop.type.string", "", user)), { value: "één", variant: "a", reason: "STATIC" });
  assert.deepEqual(await got(c.getNumberDetails("shop.type.integer", 0, user)), { value: 9007199254740991, variant: "big", reason: "STATIC" });
  assert.deepEqual(await got(c.getNumberDetails("shop.type.number", 0, user)), { value: 0.5, variant: "half", reason: "STATIC" });
  assert.deepEqual((await c.getObjectDetails("shop.type.object", {}, user)).value, { list: [1, "two", null], nested: { deep: true } });
  assert.deepEqual(await got(c.getBooleanDetails("shop.rule.pro", false, user)), { value: true, variant: "on", reason: "TARGETING_MATCH" });
  assert.deepEqual(await got(c.getBooleanDetails("shop.rule.pro", true, { targetingKey: "user-1" })), { value: false, variant: "off", reason: "DEFAULT" });
  assert.deepEqual(await got(c.getBooleanDetails("shop.off.dark", true, user)), { value: false, variant: "off", reason: "DISABLED" });
  assert.equal((await c.getBooleanDetails("shop.split.half", false, user)).reason, "SPLIT");
});

test("a server is told what is wrong, and keeps its own default", async () => {
  const c = Server.getClient();
  const none = await c.getBooleanDetails("no.such.flag", true, { targetingKey: "user-1" });
  assert.deepEqual([none.value, none.errorCode], [true, "FLAG_NOT_FOUND"]);
  const unit = await c.getBooleanDetails("shop.split.half", true, {});
  assert.deepEqual([unit.value, unit.errorCode], [true, "TARGETING_KEY_MISSING"]);
  const type = await c.getStringDetails("shop.type.boolean", "mine", { targetingKey: "user-1" });
  assert.deepEqual([type.value, type.errorCode], ["mine", "TYPE_MISMATCH"]);
});

// counting returns a fetch that notes the status of each answer.
function counting(statuses) {
  return async (...args) => {
    const response = await fetch(...args);
    statuses.push(response.status);
    return response;
  };
}

test("a page sees what it may, hears of a change, and does not fetch what is unchanged", async () => {
  await Web.setContext({ targetingKey: "user-1", plan: "free" });
  const statuses = [];
  const provider = new OFREPWebProvider({ baseUrl: url, fetchImplementation: counting(statuses), headers: [["X-API-Key", client]] });
  await Web.setProviderAndWait(provider);
  const c = Web.getClient();
  assert.deepEqual([c.getBooleanValue("shop.rule.pro", true), c.getBooleanDetails("shop.rule.pro", true).reason], [false, "DEFAULT"]);
  assert.deepEqual(c.getObjectValue("shop.type.object", {}), { list: [1, "two", null], nested: { deep: true } });
  assert.equal(c.getNumberValue("shop.type.integer", 0), 9007199254740991);
  assert.equal(c.getBooleanDetails("secret.internal.pricing", false).errorCode, "FLAG_NOT_FOUND");

  await Web.setContext({ targetingKey: "user-1", plan: "pro" }); // the same user, who bought something
  assert.equal(c.getBooleanValue("shop.rule.pro", false), true);

  const changed = new Promise((resolve) => c.addHandler(ProviderEvents.ConfigurationChanged, (e) => e.flagsChanged?.includes("shop.type.boolean") && resolve()));
  await api("POST", "/api/v1/environments/production/flags/shop.type.boolean/kill", { reason: "a test" });
  await changed;
  assert.deepEqual([c.getBooleanValue("shop.type.boolean", true), c.getBooleanDetails("shop.type.boolean", true).reason], [false, "DISABLED"]);

  const before = statuses.length;
  await Web.setContext({ targetingKey: "user-1", plan: "pro" });
  assert.ok(statuses.slice(before).every((s) => s === 304 || s === 200));
  assert.ok(!statuses.some((s) => s >= 400), `statuses: ${statuses}`);
});

test("not a byte of rules, segments or other names reaches a page", async () => {
  const ask = (headers = {}) => fetch(`${url}/ofrep/v1/evaluate/flags`, {
    method: "POST", headers: { Authorization: `Bearer ${client}`, "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ context: { targetingKey: "user-1", plan: "pro" } }),
  });
  const first = await ask();
  const text = await first.text();
  for (const secret of ["secret.internal", "pricing", "pros", "\"rule\"", "ppm", "weights", "segment"]) {
    assert.ok(!text.includes(secret), `${secret} in ${text}`);
  }
  const again = await ask({ "If-None-Match": first.headers.get("etag") });
  assert.equal(again.status, 304);
});
