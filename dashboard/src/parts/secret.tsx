// A secret that the server tells once.
import { Alert } from "@mantine/core";

import type { Schemas } from "../api/client";
import { Copy } from "./basics";

export function Secret({ of, close }: { of: Schemas["NewToken"]; close: () => void }) {
  return (
    <Alert color="teal" title={`The token ${of.name}`} withCloseButton closeButtonLabel="Close" onClose={close} role="status">
      <p style={{ marginTop: 0 }}>Copy it now: it is shown once, and never again.</p>
      <div className="line"><code className="mono" style={{ overflowWrap: "anywhere" }}>{of.secret}</code><Copy text={of.secret} label="Copy the token" /></div>
      {of.kind === "sdk" && <p className="small" style={{ marginBottom: 0 }}>Give it to the program as FLYBALL_TOKEN. How code reads a flag is told on <a href="#/flags">its page</a>, under Definition.</p>}
    </Alert>
  );
}
