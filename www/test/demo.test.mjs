// The page's panels: what each answers, what it draws over the picture, links and code that ask the same again.
import assert from "node:assert/strict";
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { binary, browser, hosted, native, openBlank, server, testBundle, www } from "./harness.mjs";

const SAMPLES = join(www, "demo/samples");
/** The least that a box moves when it is dragged, next to a pixel. */
const PIXEL = 0.02;
hosted();

/** Opens the page on the CPU with the test bundle, whose image codes are there. */
async function visit(hash, body, query = "?device=cpu&model=bundle/") {
  const page = await (await browser.newContext({ viewport: { width: 1100, height: 900 } })).newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  try {
    await page.goto(server.url + query + hash);
    await page.waitForSelector("#badge:not([hidden])");
    await body(page);
    assert.deepEqual(problems, []);
  } finally {
    await page.context().close();
  }
}

const answered = async (page) => {
  await page.waitForSelector("#more:not([hidden])");
  return page.textContent("#text");
};
const run = async (page) => {
  await page.click("#run:not([disabled])");
  return answered(page);
};
const code = (page) => page.locator("#code code").allTextContents();

/** Runs a command of the page as a visitor would in a shell. */
function shell(command) {
  const line = command.replace(/^ofa /, `${binary} `).replace("--model MODEL", `--model ${testBundle}`).replace(/'([\w-]+\.png)'/, (_, name) => `'${join(SAMPLES, name)}'`);
  const printed = execFileSync("bash", ["-c", `${line.replace("drawing.png", "/dev/null")} --device cpu --json`], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return JSON.parse(printed);
}

test("every panel answers an example, and its code asks the same again", { timeout: 300_000 }, (context) =>
  visit("", async (page) => {
    const blank = await openBlank(browser, server);
    await blank.evaluate(async () => {
      window.ofa = await OFA.load("/bundle/", { device: "cpu" });
    });
    for (const tab of await page.locator("#tabs [role=tab]").all()) {
      const name = await tab.textContent();
      await context.test(name, async () => {
        await tab.click();
        assert.equal(await page.getAttribute("#panel", "aria-labelledby"), await tab.getAttribute("id"));
        if (await page.isVisible("#example")) await page.click("#example");
        await page.locator("#option-maxLen").evaluate((field) => { field.value = "6"; });
        await page.locator("#option-topK").evaluate((field) => { if (field.value) field.value = "16"; });
        const text = await run(page);
        assert.ok(text, "an answer");
        assert.equal(await page.isVisible("#ask-error"), false);
        const [javascript, command] = await code(page);
        const [, picture] = command.match(/--image '([^']+)'/) ?? [];
        await blank.evaluate((picture) => { window.image = `/samples/${picture}`; }, picture);
        const { timings, drawings, ...again } = await blank.evaluate((line) => eval(`(async () => ${line})()`), javascript);
        const { tokens, kind } = shell(command);
        assert.deepEqual(again.tokens, tokens, `${javascript} and ${command}`);
        assert.equal(again.kind, kind);
        if (kind === "text") assert.equal(text, again.text || "(an empty answer)");
        if (kind === "labels") assert.ok(text.startsWith(again.label));
        if (kind === "codes") assert.equal(await page.locator("#gallery figure").count(), again.codes.length);
      });
    }
    await blank.context().close();
  }));

test("a link brings back task, question, options and sample", () =>
  visit("#task=vqa&text=is+it+red%3F&answer=yes&answer=no&numBeams=2&picture=sample%3Aboat", async (page) => {
    assert.equal(await page.textContent("#tabs [aria-selected=true]"), "Ask");
    assert.equal(await page.inputValue("#field-text"), "is it red?");
    assert.equal(await page.inputValue("#field-answers"), "yes, no");
    await page.waitForSelector("#samples button[title=boat][aria-pressed=true]");
    const text = await run(page);
    const link = (await code(page)).at(-1);
    assert.equal(link, page.url());
    await visit(new URL(link).hash, async (other) => {
      await other.waitForSelector("#samples button[title=boat][aria-pressed=true]");
      assert.equal(await run(other), text);
    });
  }));

test("a link with nonsense in it opens the page all the same", () =>
  visit("#task=caption&region=1,2&numBeams=many&picture=sample%3Anothing", async (page) => {
    await page.waitForSelector("#samples button[aria-pressed=true]");
    assert.ok(await run(page));
  }));

test("a found box and its words light up together, by pointer and by keyboard", () =>
  visit("#task=grounding&text=the+red+roof&picture=sample%3Ahouse", async (page) => {
    const text = await run(page);
    assert.match(text, /^the red roof from \d+ % to \d+ % across/);
    const [box] = native(["grounding", "--model", testBundle, "--image", join(SAMPLES, "house.png"), "--text", "the red roof"]).boxes;
    const left = await page.locator(".mark").evaluate((mark) => parseFloat(mark.style.left));
    assert.ok(Math.abs(left - 100 * box.normalized[0]) < 1e-3);
    const lit = () => page.locator(".mark.lit").count();
    assert.equal(await lit(), 0);
    await page.hover(".linked");
    assert.equal(await lit(), 1);
    await page.mouse.move(0, 0);
    assert.equal(await lit(), 0);
    await page.focus(".linked");
    assert.equal(await lit(), 1);
    await page.focus("#run");
    assert.equal(await lit(), 0);
    // Safari gives a pressed button no focus, nor does this.
    await page.locator(".linked").evaluate((word) => word.click());
    assert.equal(await lit(), 1);
    await page.hover(".linked");
    await page.mouse.move(0, 0);
    assert.equal(await lit(), 1, "it still has the focus");
  }));

test("a region is dragged over the picture, and moved with the keyboard", () =>
  visit("#task=region_caption", async (page) => {
    const region = async () => new URLSearchParams(new URL((await code(page)).at(-1)).hash.slice(1)).get("region").split(",").map(Number);
    await page.waitForSelector(".region");
    const { x, y, width, height } = await page.locator("#frame").boundingBox();
    await page.mouse.move(x + 0.6 * width, y + 0.7 * height);
    await page.mouse.down();
    await page.mouse.move(x + 0.2 * width, y + 0.1 * height, { steps: 3 });
    await page.mouse.up();
    await run(page);
    (await region()).forEach((side, index) => assert.ok(Math.abs(side - [0.2, 0.1, 0.6, 0.7][index]) < PIXEL, `${side}`));
    await page.focus(".sides label:nth-child(1) input");
    await page.keyboard.press("End");
    await run(page);
    const [left, , right] = await region();
    assert.ok(left < right && left > 0.9, "a region is never empty");
  }));

test("where it looked is shown word by word", () =>
  visit("#task=caption", async (page) => {
    await run(page);
    await page.click("#look");
    await page.waitForSelector("#words:not([hidden])");
    assert.ok((await page.locator(".word").count()) > 1);
    assert.ok(await page.isVisible("#heat"), "the first word has the focus");
    const { width } = await page.locator("#heat").evaluate(({ width, height }) => ({ width, height }));
    assert.equal(width, 8, "the picture of 128 pixels has 8 patches in a row");
    await page.hover(".word >> nth=1");
    await page.mouse.move(0, 0);
    assert.ok(await page.isVisible("#heat"), "the first word has it still");
    await page.focus("#run");
    assert.equal(await page.isVisible("#heat"), false);
    await page.locator(".word").first().evaluate((word) => word.click());
    assert.ok(await page.isVisible("#heat"), "what is pressed gets the focus");
  }));

test("what was encoded for a model of before is encoded again, once", async () => {
  const options = { bundle: true, format: "esm", write: false, alias: { "ofa-web": join(www, "src/ofa.ts") } };
  const { outputFiles: [{ text }] } = await build({ ...options, entryPoints: [join(www, "demo/asking.ts")] });
  const { Asking } = await import(`data:text/javascript;base64,${Buffer.from(text).toString("base64")}`);
  let model = 0;
  let encodings = 0;
  const stale = async ({ of }) => { if (of !== model) throw Object.assign(new Error("another model"), { code: "option" }); return of; };
  const asking = new Asking({
    encodeImage: async () => ({ of: model, number: encodings++, free: async () => undefined }),
    run: (_, image) => stale(image),
    attention: (_, image) => stale(image),
  }, new Blob());
  const question = { task: "caption", inputs: {}, options: {} };
  const ask = () => asking.ask(question, "image", {});
  const answers = [await ask(), await ask()];
  model++;
  answers.push(await ask());
  model++;
  answers.push(await asking.attention(question, "image", {}));
  assert.deepEqual([answers, encodings], [[0, 0, 1, 2], 3]);
  model = NaN;
  await assert.rejects(ask(), /another model/);
  assert.equal(encodings, 4);
});

test("a picture grows row by row, and a drawing can be asked about", () =>
  visit("#task=image_gen&text=a+red+circle&numBeams=2&topK=16&seed=3", async (page) => {
    await page.evaluate(() => {
      window.heights = [];
      const place = document.querySelector("#growing");
      new MutationObserver(() => window.heights.push(place.querySelector("canvas")?.height)).observe(place, { childList: true });
    });
    await run(page);
    const heights = await page.evaluate(() => window.heights);
    assert.ok(heights.length > 0, "something is seen before the end");
    assert.deepEqual(heights, heights.toSorted((a, b) => a - b));
    const sides = await page.locator("#gallery canvas").evaluateAll((all) => all.map(({ width, height }) => [width, height]));
    assert.deepEqual(sides, [[64, 64], [64, 64]]);
    const fits = (await page.locator("#gallery figcaption span").allTextContents()).map((text) => Number(/^fits ([\d.]+) %$/.exec(text)[1]));
    assert.ok(fits[0] >= fits[1], `${fits}`);
    await page.click("#gallery figure:nth-child(1) button");
    await page.waitForFunction(() => document.querySelector("#preview").alt === "drawing");
    assert.equal(await page.textContent("#tabs [aria-selected=true]"), "Ask");
  }));

test("a drawing is cancelled", () =>
  visit("#task=image_gen&text=a+red+circle&numBeams=24", async (page) => {
    await page.click("#run:not([disabled])");
    await page.waitForSelector("#growing canvas");
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.querySelector("#status").textContent === "Cancelled.");
    assert.equal(await page.isVisible("#ask-error"), false);
  }));

test("another picture does not cancel what looks at none", () =>
  visit("#task=image_gen&text=a+red+circle&numBeams=12&picture=sample%3Ahouse", async (page) => {
    await page.click("#run:not([disabled])");
    await page.waitForSelector("#growing canvas");
    await page.click("#samples button[title=boat]");
    await page.waitForFunction(() => document.querySelector("#preview").alt === "boat");
    assert.ok(await page.isVisible("#cancel-run"), "it is still drawing");
    assert.equal(await answered(page), "12 drawings, the best first");
  }));

test("the marked square is filled in on the picture", () =>
  visit("#task=infill_image", async (page) => {
    await page.waitForSelector(".middle");
    await run(page);
    const [width, height] = await page.locator(".middle canvas").evaluate(({ width, height }) => [width, height]);
    assert.deepEqual([width, height], [64, 64]);
  }));

test("a bundle without image codes says so", () =>
  visit("#task=image_gen&text=a", async (page) => {
    await page.click("#run:not([disabled])");
    await page.waitForSelector("#ask-error:not([hidden])");
    assert.match(await page.textContent("#ask-error"), /vqgan\/manifest\.json.*no image codes/);
  }, "?device=cpu&model=models/seeded/"));

test("a picked folder brings its image codes along", () =>
  visit("#task=infill_image", async (page) => {
    await page.selectOption("#model", "folder");
    await page.setInputFiles("#folder", testBundle);
    await page.click("#load");
    await page.waitForSelector("#progress", { state: "hidden" });
    assert.equal(await run(page), "one drawing");
  }));
