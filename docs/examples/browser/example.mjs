// A page that has the answers for its user at hand, and hears of changes. Its
// token is a client token: public, for client-visible flags only. Bundle it with
// what you bundle with, such as
//
//	npx esbuild browser/example.mjs --bundle --format=esm --outfile=browser/page.js
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";

const { server, token, unit } = Object.fromEntries(new URLSearchParams(location.search));

await OpenFeature.setContext({ targetingKey: unit, plan: "pro" });
await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl: server, headers: [["Authorization", `Bearer ${token}`]] }));
const client = OpenFeature.getClient();

function show() {
  const fast = client.getBooleanDetails("shop.checkout.fast", false);
  document.querySelector("#fast").textContent = `fast: ${fast.value} (${fast.variant}, ${fast.reason})`;
}
client.addHandler(ProviderEvents.ConfigurationChanged, show);
show();
