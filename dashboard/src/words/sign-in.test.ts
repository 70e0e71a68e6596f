import { describe, expect, it } from "vitest";

import { failureOf } from "./sign-in";

describe("a sign-in that failed", () => {
  it("is told with what to do", () => {
    expect(failureOf("#/sign-in?failed=unverified&request=0f3a9c12")).toEqual({ title: "Your address is not verified", todo: "Verify it where your organisation's sign-in keeps it, and begin again.", code: undefined, request: "0f3a9c12" });
    expect(failureOf("#/sign-in?failed=refused&provider=access_denied")?.code).toBe("access_denied");
    for (const hash of ["", "#/", "#/flags?failed=refused", "#/sign-in", "#/sign-in?failed="]) expect(failureOf(hash)).toBeUndefined();
  });
  it("says nothing that an address says", () => {
    const evil = encodeURIComponent("<b>call 555</b>");
    for (const why of [evil, "constructor", "__proto__"]) {
      const told = failureOf(`#/sign-in?failed=${why}&provider=${evil}&request=${evil}`);
      expect(told).toMatchObject({ title: "You could not be signed in", code: undefined, request: undefined });
    }
    expect(failureOf(`#/sign-in?failed=refused&provider=${"a".repeat(41)}`)?.code).toBeUndefined();
  });
});
