// Image codes: fetched when something is drawn, decoded as natively, seen as they grow, the best of several first.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { binary, goldens, native, openBlank, startBrowser, startServer, testBundle } from "./harness.mjs";

const PICTURE = "tiny/raw_0.png";
const CAPTION = "a red car";
const OPTIONS = { numBeams: 2, topK: 16, seed: 5 };
const ROW = [3, 1, 4, 15, 9, 2, 6, 53];
/** Fractions are cut off when values become bytes, so that the last digit of a float may move a byte by one. */
const ONE = 1;

let browser, server, page, directory;
before(async () => {
  directory = mkdtempSync(join(tmpdir(), "ofa-drawing-"));
  browser = await startBrowser();
  const common = ["--model", testBundle];
  native(["image_gen", ...common, "--text", CAPTION, "--num-beams", "2", "--top-k", "16", "--seed", "5", "--out", join(directory, "drawn.png")]);
  native(["infill_image", ...common, "--image", join(goldens, PICTURE), "--out", join(directory, "middle.png")]);
  writeFileSync(join(directory, "row.txt"), ROW.join(" "));
  execFileSync(binary, ["codes", "decode", ...common, "--codes", join(directory, "row.txt"), "--out", join(directory, "row.png"), "--device", "cpu"]);
  server = await startServer({}, { "/native/": directory });
  page = await openBlank(browser, server);
  await page.evaluate(() => {
    window.pixels = async (url) => {
      const bitmap = await createImageBitmap(await (await fetch(url)).blob());
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      return context.getImageData(0, 0, bitmap.width, bitmap.height);
    };
    /** The largest difference of a byte. */
    window.apart = (a, b) => (a.width === b.width && a.height === b.height ? Math.max(...a.data.map((byte, index) => Math.abs(byte - b.data[index]))) : Infinity);
  });
});
after(async () => {
  await browser.close();
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

for (const device of ["cpu", "webgpu"]) {
  // One row of codes: a GPU in software has enough to do with it.
  test(`codes become the native binary's pixels on ${device}`, { timeout: 300_000 }, async () => {
    const [apart, none, more] = await page.evaluate(async ([device, row]) => {
      const ofa = await OFA.load("/bundle/", { device });
      const drawn = await ofa.drawCodes(row);
      const none = await ofa.drawCodes(row.slice(1));
      const more = await ofa.drawCodes(Array(ofa.info.codeGrid ** 2 + 1).fill(1)).catch(({ code, message }) => `${code}: ${message}`);
      await ofa.dispose();
      return [window.apart(drawn, await window.pixels("/native/row.png")), none, more];
    }, [device, ROW]);
    assert.ok(apart <= ONE, `bytes differ by ${apart}`);
    assert.equal(none, undefined, "nothing is seen before a row is complete");
    assert.match(more, /^option: codes: expected \d+ at most/);
  });
}

test("pictures are those of the native binary, the best first, and seen as they grow", { timeout: 120_000 }, async () => {
  const found = await page.evaluate(async ([caption, options, picture]) => {
    const ofa = await OFA.load("/bundle/", { device: "cpu" });
    const [sizes, phases] = [[], new Set()];
    const drawn = await ofa.generateImage(caption, {
      ...options,
      onPicture: ({ width, height }) => sizes.push([width, height]),
      onProgress: ({ phase }) => phases.add(phase),
    });
    const middle = await ofa.infillImage(picture);
    await ofa.dispose();
    return {
      sizes, phases: [...phases], fits: drawn.drawings.map(({ fit }) => fit), count: middle.drawings.length, judged: middle.drawings[0].fit,
      apart: [
        window.apart(drawn.drawings[0].image, await window.pixels("/native/drawn.png")),
        window.apart(middle.drawings[0].image, await window.pixels("/native/middle.png")),
      ],
    };
  }, [CAPTION, OPTIONS, `/golden/${PICTURE}`]);
  for (const apart of found.apart) assert.ok(apart <= ONE, `bytes differ by ${found.apart}`);
  assert.ok(found.phases.includes("download") && found.phases.includes("ready"), found.phases.join());
  assert.ok(found.fits.every((fit) => fit >= 0 && fit <= 1) && found.fits[0] >= found.fits[1], `${found.fits}`);
  assert.equal(found.count, 1);
  assert.equal(found.judged, undefined, "a single drawing is the best of one");
  assert.ok(found.sizes.length > 0, "it is seen before it is complete");
  for (const [index, [width, height]] of found.sizes.entries()) {
    assert.equal(width, 64);
    assert.equal(height % 8, 0);
    assert.ok(index === 0 || height > found.sizes[index - 1][1], `heights ${found.sizes}`);
  }
});

test("codes stream, and pictures with them once the image codes are loaded", async () => {
  const found = await page.evaluate(async ([caption, options]) => {
    const ofa = await OFA.load("/bundle/", { device: "cpu" });
    const events = async () => {
      const seen = [];
      for await (const { event, codes } of ofa.stream("image_gen", { text: caption }, options)) seen.push([event, codes?.length]);
      return seen;
    };
    const before = await events();
    await ofa.loadCodes();
    const after = await events();
    await ofa.dispose();
    return { before, after };
  }, [CAPTION, OPTIONS]);
  const lengths = found.before.filter(([event]) => event === "codes").map(([, length]) => length);
  assert.deepEqual(lengths, Array.from({ length: 64 }, (_, index) => index + 1));
  assert.ok(found.before.every(([event]) => event !== "picture"));
  assert.ok(found.after.some(([event]) => event === "picture"));
});

test("drawing is cancelled while it grows, and goes on working", async () => {
  const found = await page.evaluate(async ([caption, options]) => {
    const ofa = await OFA.load("/bundle/", { device: "cpu" });
    const controller = new AbortController();
    const stopped = await window.caught(ofa.generateImage(caption, { ...options, signal: controller.signal, onPicture: () => controller.abort() }));
    const again = await ofa.generateImage(caption, options);
    await ofa.dispose();
    return { stopped, again: again.drawings.length };
  }, [CAPTION, OPTIONS]);
  assert.equal(found.stopped.code, "aborted");
  assert.equal(found.again, 2);
});

test("drawings begun at once share one download of the image codes, as long as one of them waits", async () => {
  const slow = await startServer({ ".safetensors": { delay: 20 } });
  const own = await openBlank(browser, slow);
  await own.evaluate(async () => { window.ofa = await OFA.load("/bundle/", { device: "cpu", cache: "none" }); });
  const fetched = () => slow.requests.filter(({ path }) => /vqgan\/.*safetensors/.test(path)).length;
  const found = await own.evaluate(async ([caption, options]) => {
    const controller = new AbortController();
    const heard = [[], []];
    const draw = (index, signal) => window.ofa.generateImage(caption, { ...options, numBeams: 1, onProgress: ({ phase }) => heard[index].push(phase), ...(signal && { signal }) });
    const given = window.caught(draw(0, controller.signal));
    const kept = [draw(1), window.ofa.loadCodes()];
    setTimeout(() => controller.abort(), 50);
    const { code } = await given;
    const [{ drawings }] = await Promise.all(kept);
    return { code, drawn: drawings.length, heard: heard.map((phases) => phases.at(-1)) };
  }, [CAPTION, OPTIONS]);
  const shards = fetched();
  const again = await own.evaluate(async () => {
    const controller = new AbortController();
    const other = await OFA.load("/bundle/", { device: "cpu", cache: "none" });
    const given = window.caught(other.loadCodes({ signal: controller.signal, onProgress: ({ phase }) => phase === "download" && controller.abort() }));
    const { code } = await given;
    const after = await window.caught(other.loadCodes());
    return [code, after.code];
  });
  await own.context().close();
  await slow.close();
  assert.equal(found.code, "aborted");
  assert.equal(found.drawn, 1);
  assert.equal(found.heard[1], "ready");
  assert.equal(shards, 1, "shards of the image codes that were fetched");
  assert.deepEqual(again, ["aborted", "none"], "what was given up is begun anew");
});

const FAULTS = [
  ["a bundle without image codes", "/models/seeded/", {}, "file", /vqgan\/manifest\.json.*no image codes/],
  ["a changed byte of the image codes", "/bundle/", { "vqgan/model-00001-of-00001.safetensors": { flip: 5000 } }, "integrity", /vqgan\/model.*megabyte 1/],
  ["image codes that do not arrive", "/bundle/", { "vqgan/config.json": { status: 403 } }, "fetch", /vqgan\/config\.json.*403/],
];
for (const [name, url, faults, code, message] of FAULTS) {
  test(`${name}: a clear error, and the model answers on`, async () => {
    const server = await startServer(faults);
    const own = await openBlank(browser, server);
    const found = await own.evaluate(async ([url, caption]) => {
      const ofa = await OFA.load(url, { device: "cpu", cache: "none" });
      const failed = await window.caught(ofa.generateImage(caption));
      return { failed, still: (await ofa.infillText(caption)).kind };
    }, [url, CAPTION]);
    await own.context().close();
    await server.close();
    assert.equal(found.failed.code, code, found.failed.message);
    assert.match(found.failed.message, message);
    assert.equal(found.still, "text");
  });
}
