// The model that ships: in Chromium, on both paths, it says of scenes that it never saw what it says natively.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serve } from "../scripts/serve.mjs";
import { binary, native, openBlank, startBrowser, www } from "./harness.mjs";

/** `make parity-shipped` asks about a hundred. */
const SCENES = Number(process.env.OFA_SHIPPED_SCENES ?? 6);
/** Two questions of each: the answers of a seed's scenes differ from run to run only if the model's do. */
const EACH = 2;
const SEED = 77;
/** Rounding on another device may turn an answer that two weigh alike; quantised weights make such more frequent. */
const AGREEING = { q8: 0.99, f32: 1 };
const MINUTES = 60_000;

const bundles = { q8: join(www, "demo/models/scenes"), f32: process.env.OFA_SHIPPED_F32 ?? "" };
const skip = (precision) => (existsSync(join(bundles[precision], "manifest.json")) ? false : `no ${precision} bundle at hand: \`make ship\` makes both`);

let directory, browser, server, asked;
before(async () => {
  if (skip("q8")) return;
  directory = mkdtempSync(join(tmpdir(), "ofa-shipped-"));
  const options = ["--model", bundles.q8, "--seed", SEED, "--count", SCENES, "--each", EACH, "--out", directory];
  execFileSync(binary, ["corpus", "questions", ...options.map(String)], { stdio: ["ignore", "ignore", "inherit"] });
  asked = JSON.parse(readFileSync(join(directory, "questions.json"), "utf8"));
  browser = await startBrowser();
  const roots = { "/": join(www, "dist-demo"), "/pages/": join(www, "test/pages"), "/scenes/": directory, "/q8/": bundles.q8 };
  server = await serve(skip("f32") ? roots : { ...roots, "/f32/": bundles.f32 });
});
after(async () => {
  await browser?.close();
  await server?.close();
  if (directory) rmSync(directory, { recursive: true });
});

const expected = {};
/** What the native binary answers, token by token. */
function answers(precision) {
  expected[precision] ??= asked.flatMap(({ image, asked }) => asked.map(({ task, inputs: { text, text2, region } }) => {
    const given = [["--text", text], ["--text2", text2], ["--region", region?.join(",")]].filter(([, value]) => value !== undefined);
    return native([task, "--model", bundles[precision], "--image", join(directory, image), ...given.flat()]).tokens;
  }));
  return expected[precision];
}

for (const [precision, least] of Object.entries(AGREEING)) {
  for (const device of ["cpu", "webgpu"]) {
    test(`${precision} on ${device} answers as natively`, { skip: skip(precision), timeout: 30 * MINUTES }, async () => {
      const page = await openBlank(browser, server);
      const found = await page.evaluate(async ([precision, device, asked]) => {
        const ofa = await OFA.load(`/${precision}/`, { device });
        const all = [];
        for (const { image, asked: questions } of asked) {
          for (const { task, inputs } of questions) all.push((await ofa.run(task, `/scenes/${image}`, inputs)).tokens);
        }
        await ofa.dispose();
        return all;
      }, [precision, device, asked]);
      await page.context().close();
      const wanted = answers(precision);
      assert.equal(found.length, wanted.length);
      const same = found.filter((tokens, index) => JSON.stringify(tokens) === JSON.stringify(wanted[index])).length;
      assert.ok(same >= least * found.length, `${same} of ${found.length} answers are the same`);
    });
  }
}
