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
const AGREEING = { shipped: 0.99, f32: 1 };
const MINUTES = 60_000;

const bundles = { shipped: join(www, "demo/models/scenes"), f32: process.env.OFA_SHIPPED_F32 ?? "" };
const skip = (precision) => (existsSync(join(bundles[precision], "manifest.json")) ? false : `no ${precision} bundle at hand: \`make ship\` makes it`);

let directory, browser, server, asked;
before(async () => {
  if (skip("shipped")) return;
  directory = mkdtempSync(join(tmpdir(), "ofa-shipped-"));
  const options = ["--model", bundles.shipped, "--seed", SEED, "--count", SCENES, "--each", EACH, "--out", directory];
  execFileSync(binary, ["corpus", "questions", ...options.map(String)], { stdio: ["ignore", "ignore", "inherit"] });
  asked = JSON.parse(readFileSync(join(directory, "questions.json"), "utf8"));
  browser = await startBrowser();
  const roots = { "/": join(www, "dist-demo"), "/pages/": join(www, "test/pages"), "/scenes/": directory, "/shipped/": bundles.shipped };
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
    test(`${precision} weights on ${device} answer as natively`, { skip: skip(precision), timeout: 30 * MINUTES }, async () => {
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

/** Fractions are cut off when values become bytes, so that the last digit of a float may move a byte by one. */
const ONE = 1;

test("the shipped model draws as natively: a picture of words, and the hidden middle of one", { skip: skip("shipped"), timeout: 5 * MINUTES }, async () => {
  const [{ image }] = asked;
  const words = "a large red circle";
  const drawn = (name, args) => native([name, "--model", bundles.shipped, ...args, "--out", join(directory, `${name}.png`)]);
  drawn("image_gen", ["--text", words, "--seed", "3"]);
  drawn("infill_image", ["--image", join(directory, image)]);
  const page = await openBlank(browser, server);
  const found = await page.evaluate(async ([words, image]) => {
    const pixels = async (url) => {
      const bitmap = await createImageBitmap(await (await fetch(url)).blob());
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      return context.getImageData(0, 0, bitmap.width, bitmap.height);
    };
    const ofa = await OFA.load("/shipped/", { device: "cpu" });
    const pictures = { image_gen: await ofa.generateImage(words, { seed: 3 }), infill_image: await ofa.infillImage(`/scenes/${image}`) };
    await ofa.dispose();
    const apart = {};
    for (const [name, { drawings: [{ image: { data } }] }] of Object.entries(pictures)) {
      const expected = (await pixels(`/scenes/${name}.png`)).data;
      apart[name] = data.length === expected.length ? Math.max(...data.map((byte, at) => Math.abs(byte - expected[at]))) : Infinity;
    }
    return apart;
  }, [words, image]);
  await page.close();
  for (const [name, apart] of Object.entries(found)) assert.ok(apart <= ONE, `${name}: bytes differ by ${apart}`);
});
