// Goldens of the original in the browser, on both paths.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parity } from "../scripts/parity.mjs";
import { goldens } from "./harness.mjs";

for (const kind of ["cpu", "gpu"]) {
  test(`the ${kind} build equals the original`, { timeout: 900_000 }, async () => {
    const outcomes = new Map();
    await parity(goldens, kind, (name, outcome) => { outcomes.set(name, outcome); });
    const failed = [...outcomes].filter(([, { outcome }]) => outcome === "failed").map(([name, { reason }]) => `${name}: ${reason}`);
    assert.deepEqual(failed, []);
    const passed = [...outcomes].filter(([, { outcome }]) => outcome === "passed");
    assert.ok(passed.length >= 35, `only ${passed.length} cases passed`);
  });
}
