// The whole way of the first user: the real OFA-Tiny shape, converted from a fairseq checkpoint by the native tests,
// in the page, against the original's own beams.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { browser, goldens, hosted, native, openBlank, server, tinyBundle } from "./harness.mjs";

const PICTURE = join(goldens, "tiny/resized_0_256x256.png");
/** What the original wrote; `gen_beam5_caption` of the goldens, first sample. */
const TOKENS = [31277, 41121, 30551, 28941, 28941, 2];
const skip = existsSync(tinyBundle) ? false : "the converted OFA-Tiny is not there: its native test was skipped (seeded weights, BPE files)";
/** A software adapter needs a minute or two for this model. */
const MINUTES = 60_000;

hosted();

for (const device of ["cpu", "webgpu"]) {
  test(`the page on ${device} captions as the original did`, { skip, timeout: 25 * MINUTES }, async () => {
    const page = await openBlank(browser, server);
    const expected = native(["caption", "--model", tinyBundle, "--image", PICTURE]);
    assert.deepEqual(expected.tokens, TOKENS);
    await page.goto(`${server.url}?device=${device}&model=tiny/`);
    await page.waitForSelector("#badge:not([hidden])", { timeout: 5 * MINUTES });
    assert.match(await page.textContent("#badge"), /f32 · 33\.5 M parameters/);
    await page.setInputFiles("#file", PICTURE);
    await page.click("#run:not([disabled])");
    await page.waitForSelector("#more:not([hidden])", { timeout: 20 * MINUTES });
    assert.equal(await page.textContent("#text"), expected.text);
    const found = await page.locator("#alternatives li").allTextContents();
    assert.deepEqual(found.map((line) => line.replace(/-?\d+\.\d{3}$/, "")), expected.alternatives.map(({ text }) => text));
    await page.context().close();
  });
}

test("the quantised model answers on the CPU as natively", { skip, timeout: 5 * MINUTES }, async () => {
  const page = await openBlank(browser, server);
  const tokens = await page.evaluate(async () => {
    const ofa = await OFA.load("/tiny-q8/", { device: "cpu" });
    const { tokens } = await ofa.caption("/golden/tiny/resized_0_256x256.png");
    await ofa.dispose();
    return tokens;
  });
  assert.deepEqual(tokens, native(["caption", "--model", `${tinyBundle}-q8`, "--image", PICTURE]).tokens);
  await page.context().close();
});
