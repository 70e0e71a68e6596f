// How a program reads a flag: in the languages that most do, with the safe
// variant's value as its own default.
import { Button, SegmentedControl } from "@mantine/core";
import { useState } from "react";

import { base, useRunsIt } from "../api/auth";
import type { Flag } from "../api/client";
import { stringify } from "../api/json";
import { Copy } from "./basics";
import { Lead } from "./form";

const reads: Record<Flag["type"], { go: string; js: string; python: string }> = {
  boolean: { go: "BooleanValue", js: "getBooleanValue", python: "get_boolean_value" }, string: { go: "StringValue", js: "getStringValue", python: "get_string_value" },
  integer: { go: "IntValue", js: "getNumberValue", python: "get_integer_value" }, number: { go: "FloatValue", js: "getNumberValue", python: "get_float_value" }, object: { go: "ObjectValue", js: "getObjectValue", python: "get_object_value" },
};

const languages: Record<string, (f: Flag, safe: string) => string> = {
  Go: (f, safe) => `user := openfeature.NewEvaluationContext("user-1", nil)\nv, _ := client.${reads[f.type].go}(ctx, "${f.key}", ${f.type === "object" ? "nil" : safe}, user)`,
  JavaScript: (f, safe) => `const v = await client.${reads[f.type].js}("${f.key}", ${safe}, { targetingKey: "user-1" });`,
  Python: (f, safe) => `v = client.${reads[f.type].python}("${f.key}", ${f.type === "boolean" ? (safe === "true" ? "True" : "False") : safe}, EvaluationContext("user-1"))`,
  curl: (f) => `curl ${base}/ofrep/v1/evaluate/flags/${f.key} \\\n  -H "Authorization: Bearer $FLYBALL_TOKEN" \\\n  -d '{"context": {"targetingKey": "user-1"}}'`,
};

// ready is how a program comes to its client, once.
const server = base || "http://127.0.0.1:8080";
const ready: Record<string, string> = {
  Go: `p, err := provider.New(provider.Options{\n\tServer:  "${server}",\n\tToken:   os.Getenv("FLYBALL_TOKEN"),\n\tService: "shop",\n})\n// …\nerr = openfeature.SetProviderAndWait(p)\nclient := openfeature.NewClient("shop")`,
  JavaScript: `await OpenFeature.setProviderAndWait(new OFREPProvider({\n  baseUrl: "${server}",\n  headers: [["Authorization", \`Bearer \${process.env.FLYBALL_TOKEN}\`]],\n}));\nconst client = OpenFeature.getClient();`,
  Python: `api.set_provider(OFREPProvider(\n    "${server}",\n    headers_factory=lambda: {"Authorization": "Bearer " + os.environ["FLYBALL_TOKEN"]},\n))\nclient = api.get_client()`,
};

export function InCode({ of }: { of: Flag }) {
  const [language, setLanguage] = useState("Go");
  const text = languages[language](of, stringify(of.variants[of.safeVariant])), once = ready[language];
  return (
    <aside aria-label="In code">
      <div className="line"><h3>In code</h3><span className="push"><Copy text={once ? `${once}\n\n${text}` : text} label="Copy the code" /></span></div>
      <SegmentedControl my={8} aria-label="Language" value={language} onChange={setLanguage} data={Object.keys(languages)} />
      {once && <><div className="small soft">Once, when it starts</div><pre className="json" tabIndex={0}>{once}</pre><div className="small soft">Each time</div></>}
      <pre className="json" tabIndex={0}>{text}</pre>
      <p className="small soft">FLYBALL_TOKEN is <a href="#/tokens?edit=%2B">an sdk token</a> of the program's environment. The value in the code is what it gets if the server was never reached.</p>
    </aside>
  );
}

// FirstRead tells what comes next of a flag that no program has asked for.
export function FirstRead({ of }: { of: Flag }) {
  const [open, setOpen] = useState(false);
  const refused = useRunsIt();
  return (
    <section className="card" aria-label="No program reads it yet" style={{ marginBottom: 14 }}>
      <div className="line"><div className="grow wide"><b>No program reads it yet</b><div className="small soft">Ship the code first: until it asks, nothing that is changed here reaches anybody.</div></div><span className="line"><Lead variant="default" href="#/tokens?edit=%2B" because={refused}>Make an sdk token</Lead><Button variant="default" aria-expanded={open} onClick={() => setOpen(!open)}>{open ? "Hide the code" : "How code reads it"}</Button></span></div>
      {open && <InCode of={of} />}
    </section>
  );
}
