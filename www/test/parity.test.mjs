// Goldens of the original in the browser, with every build.
import assert from "node:assert/strict";
import { test } from "node:test";
import { LABELS, parity } from "../scripts/parity.mjs";
import { goldens } from "./harness.mjs";

for (const [build, label] of Object.entries(LABELS)) {
  test(`the build for ${label} equals the original`, { timeout: 900_000 }, async () => {
    const outcomes = new Map();
    await parity(goldens, build, (name, outcome) => { outcomes.set(name, outcome); });
    const failed = [...outcomes].filter(([, { outcome }]) => outcome === "failed").map(([name, { reason }]) => `${name}: ${reason}`);
    assert.deepEqual(failed, []);
    const passed = [...outcomes].filter(([, { outcome }]) => outcome === "passed");
    assert.ok(passed.length >= 35, `only ${passed.length} cases passed`);
  });
}
