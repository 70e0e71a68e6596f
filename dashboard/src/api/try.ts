// Whether a token is good, before it is kept.
import { base } from "./auth";
import { problemOf } from "./client";

export async function authorised(token: string): Promise<void> {
  const response = await fetch(`${base}/api/v1/environments`, { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" });
  if (!response.ok) throw await problemOf(response);
}
