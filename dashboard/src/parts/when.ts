// What a clock of the reader's zone shows, and the moment that it means: the
// address and the server know moments alone, so that a link means the same
// everywhere.
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

export function clock(iso: string | undefined): string {
  const at = Date.parse(iso ?? "");
  return Number.isNaN(at) ? "" : new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export function moment(text: string): string | undefined {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString().replace(/\.\d+Z$/, "Z");
}
