// JSON without loss: a whole number that a double cannot hold is a bigint here,
// so that what is read and written back is what it was.

type Reviver = (key: string, value: unknown, context?: { source?: string }) => unknown;
type Raw = typeof JSON & { rawJSON?: (text: string) => unknown };

const longNumber = /\d{16}/; // few texts hold one, and a reviver is slow

export function parse(text: string): unknown {
  if (!longNumber.test(text)) return JSON.parse(text);
  const exact: Reviver = (_key, value, context) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "") ? BigInt(context!.source!) : value;
  return JSON.parse(text, exact as (key: string, value: unknown) => unknown);
}

export function stringify(value: unknown, indent?: number): string {
  const raw = (JSON as Raw).rawJSON;
  return JSON.stringify(value, (_key, v: unknown) => (typeof v === "bigint" ? (raw ? raw(String(v)) : Number(v)) : v), indent);
}
