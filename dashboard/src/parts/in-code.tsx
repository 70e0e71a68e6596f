// How a program reads a flag: in the languages that most do, with the safe
// variant's value as its own default.
import { SegmentedControl } from "@mantine/core";
import { useState } from "react";

import { base } from "../api/auth";
import type { Flag } from "../api/client";
import { stringify } from "../api/json";
import { Copy } from "./basics";

const reads: Record<Flag["type"], { go: string; js: string; python: string }> = {
  boolean: { go: "BooleanValue", js: "getBooleanValue", python: "get_boolean_value" }, string: { go: "StringValue", js: "getStringValue", python: "get_string_value" },
  integer: { go: "IntValue", js: "getNumberValue", python: "get_integer_value" }, number: { go: "FloatValue", js: "getNumberValue", python: "get_float_value" }, object: { go: "ObjectValue", js: "getObjectValue", python: "get_object_value" },
};

const languages: Record<string, (f: Flag, safe: string) => string> = {
  Go: (f, safe) => `user := openfeature.NewEvaluationContext("user-1", nil)\nv, _ := client.${reads[f.type].go}(ctx, "${f.key}", ${f.type === "object" ? "nil" : safe}, user)`,
  JavaScript: (f, safe) => `const v = await client.${reads[f.type].js}("${f.key}", ${safe}, { targetingKey: "user-1" });`,
  Python: (f, safe) => `v = client.${reads[f.type].python}("${f.key}", ${f.type === "boolean" ? (safe === "true" ? "True" : "False") : safe}, EvaluationContext("user-1"))`,
  curl: (f) => `curl ${base}/ofrep/v1/evaluate/flags/${f.key} \\\n  -H "Authorization: Bearer $FLYBALL_SDK_TOKEN" \\\n  -d '{"context": {"targetingKey": "user-1"}}'`,
};

export function InCode({ of }: { of: Flag }) {
  const [language, setLanguage] = useState("Go");
  const text = languages[language](of, stringify(of.variants[of.safeVariant]));
  return (
    <aside aria-label="In code">
      <div className="line"><h3>In code</h3><span className="push"><Copy text={text} label="Copy the code" /></span></div>
      <SegmentedControl my={8} aria-label="Language" value={language} onChange={setLanguage} data={Object.keys(languages)} />
      <pre className="json" tabIndex={0}>{text}</pre>
      <p className="small soft">By OpenFeature, or any HTTP client. The value in the code is what it gets if the server was never reached.</p>
    </aside>
  );
}
