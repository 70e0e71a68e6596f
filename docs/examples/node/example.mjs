// A Node program that asks the server through OpenFeature, and tells who was
// exposed and how it went.
//
//	FLYBALL_SERVER=http://127.0.0.1:8080 FLYBALL_TOKEN=fb_sdk_… node node/example.mjs user-1
import { randomUUID } from "node:crypto";

import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

const { FLYBALL_SERVER: server, FLYBALL_TOKEN: token } = process.env;
const unit = process.argv[2];
const authorization = `Bearer ${token}`;

await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: server, headers: [["Authorization", authorization]] }));
const client = OpenFeature.getClient();
const fast = await client.getBooleanDetails("shop.checkout.fast", false, { targetingKey: unit, plan: "pro" });
console.log(`fast: ${fast.value} (${fast.variant}, ${fast.reason})`);

// A program gathers these, and sends a batch as often as the answer says.
const now = new Date().toISOString();
const { rollout, step, version } = fast.flagMetadata;
const answer = await fetch(`${server}/sdk/v1/telemetry`, {
  method: "POST",
  headers: { Authorization: authorization, "Content-Type": "application/json" },
  body: JSON.stringify({
    batch: randomUUID(), seq: 1, sentAt: now,
    instance: { id: `example-node-${process.pid}`, service: "example-node", version: "1.0.0" },
    exposures: rollout ? [{ t: now, flag: fast.flagKey, variant: fast.variant, unit, rollout, step, version }] : [],
    observations: [{ t: now, metric: "shop.checkout.errors", unit, value: 0 }],
  }),
});
if (answer.status !== 202) throw new Error(`telemetry: ${answer.status} ${await answer.text()}`);
await OpenFeature.close();
