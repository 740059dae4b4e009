// The scene maker: by mouse, by touch and by keys; the answer follows; a link brings the scene back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, hosted, server } from "./harness.mjs";

/** The page waits this long for another change, and the model answers. */
const SETTLED = 20_000;
hosted();

async function visit(body, { hash = "", ...context } = {}) {
  const page = await (await browser.newContext(context)).newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  await page.goto(`${server.url}?device=cpu&model=models/seeded/${hash}`);
  await page.waitForSelector("#badge:not([hidden])");
  if (!hash) {
    await page.click("#sources-scene");
    await page.waitForSelector("canvas.board");
  }
  await body(page);
  assert.deepEqual(problems, []);
  assert.equal(await page.locator("#error").isVisible(), false);
  await page.context().close();
}

const things = (page) => page.locator(".things button").allTextContents();
/** The picture that the model is asked about, as the page shows it. */
const shown = (page) => page.evaluate(async () => {
  const image = document.querySelector("#preview");
  const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
});
const pixel = (data, x, y) => data.slice((y * 256 + x) * 4, (y * 256 + x) * 4 + 3);
const isRed = ([red, green, blue]) => red > 180 && green < 90 && blue < 90;
async function drag(page, from, to) {
  await page.locator("canvas.board").scrollIntoViewIfNeeded();
  const { x, y, width, height } = await page.locator("canvas.board").boundingBox();
  const at = ([left, top]) => [x + left * width, y + top * height];
  await page.mouse.move(...at(from));
  await page.mouse.down();
  await page.mouse.move(...at(to), { steps: 3 });
  await page.mouse.up();
}

test("what is dragged moves, the picture with it, and the answer follows without asking again", () =>
  visit(async (page) => {
    assert.equal((await things(page)).length, 2);
    assert.ok(isRed(pixel(await shown(page), 72, 87)));
    await page.click("#run:not([disabled])");
    await page.waitForSelector("#more:not([hidden])");
    const link = page.url();
    await drag(page, [0.28, 0.34], [0.3, 0.8]);
    await page.waitForFunction((before) => location.href !== before, link, { timeout: SETTLED });
    const after = await shown(page);
    assert.ok(isRed(pixel(after, 77, 205)) && !isRed(pixel(after, 72, 87)));
    assert.match((await things(page))[0], /red circle \(medium, bottom left\)/);
    assert.equal(await page.locator("#history li").count(), 1);
  }));

test("everything is done with keys, and never more than the model knows", () =>
  visit(async (page) => {
    const board = page.locator("canvas.board");
    await page.focus('.stickers button[title="car"]');
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.title), "car", "it keeps the focus");
    const full = await page.locator('.stickers button[aria-disabled="true"]').count();
    const most = (await things(page)).length;
    assert.ok(full > 0 || most < 3, "no more than the world holds");
    await board.focus();
    for (const key of ["ArrowLeft", "ArrowUp", "+", "+", "]"]) await page.keyboard.press(key);
    const sliders = page.locator(".things-controls input");
    const values = await sliders.evaluateAll((inputs) => inputs.map((input) => input.valueAsNumber));
    assert.ok(values[2] > 0.15 && values[3] === 5, `${values}`);
    await sliders.nth(3).focus();
    for (let presses = 0; presses < 60; presses++) await page.keyboard.press("ArrowRight");
    assert.equal(await sliders.nth(3).evaluate((input) => input.valueAsNumber), 30);
    await board.focus();
    await page.keyboard.press("Delete");
    assert.equal((await things(page)).length, most - 1);
    await page.locator(".things button").first().focus();
    await page.keyboard.press("Enter");
    assert.equal(await page.locator('.things button[aria-pressed="true"]').count(), 1);
  }));

test("two fingers turn and resize", () =>
  visit(async (page) => {
    const values = () => page.locator(".things-controls input").evaluateAll((inputs) => inputs.map((input) => input.valueAsNumber));
    await page.locator(".things button").nth(1).click();
    const before = await values();
    await page.evaluate(() => {
      const board = document.querySelector("canvas.board");
      const { left, top, width, height } = board.getBoundingClientRect();
      const at = (type, pointerId, x, y) => board.dispatchEvent(new PointerEvent(type, { pointerId, clientX: left + x * width, clientY: top + y * height, pointerType: "touch", bubbles: true }));
      at("pointerdown", 11, 0.66, 0.66);
      at("pointerdown", 12, 0.76, 0.66);
      at("pointermove", 12, 0.78, 0.69);
      at("pointerup", 12, 0.78, 0.69);
      at("pointerup", 11, 0.66, 0.66);
    });
    const now = await values();
    assert.ok(now[2] > before[2] && now[3] > before[3], `${before} → ${now}`);
  }, { hasTouch: true }));

test("a link brings the scene back, and nonsense in it does no harm", async () => {
  const scene = "scene:mint,striped;plain blue star,0.3,0.3,0.2,10;fox,0.7,0.7,0.2,-5";
  await visit(async (page) => {
    await page.waitForFunction(() => document.querySelector("#preview")?.alt.includes("blue star"));
    await page.click("#sources-scene");
    await page.waitForSelector("canvas.board");
    assert.deepEqual((await things(page)).map((text) => text.replace(/ \(.*/, "")), ["blue star", "fox"]);
  }, { hash: `#task=caption&picture=${encodeURIComponent(scene)}` });
  await visit(async (page) => {
    await page.waitForSelector("#preview");
    assert.ok(!(await page.getAttribute("#preview", "alt")).includes("unicorn"));
  }, { hash: `#task=caption&picture=${encodeURIComponent("scene:mint,plain;unicorn,0.3,0.3,0.2,0")}` });
});

test("of a picture that is no drawn scene the page says that the model cannot know it", () =>
  visit(async (page) => {
    const note = page.locator("#world-note");
    assert.equal(await note.isVisible(), false, "the seeded model knows no world");
    await page.route("**/models.json", (route) => route.fulfill({ json: [{ name: "Scenes", url: "models/seeded/", size: "", world: "drawn scenes only" }] }));
    await page.reload();
    await page.waitForSelector("#badge:not([hidden])");
    await page.click("#sources-scene");
    await page.waitForFunction(() => document.querySelector("#preview")?.alt.startsWith("a scene"));
    assert.equal(await note.isVisible(), false);
    await page.click("#sources-file");
    await page.setInputFiles("#file", { name: "photo.png", mimeType: "image/png", buffer: Buffer.from(await shownPng(page)) });
    await note.waitFor({ state: "visible" });
    assert.equal(await note.textContent(), "drawn scenes only");
  }));

/** Any picture, as a file. */
const shownPng = (page) => page.evaluate(async () => [...new Uint8Array(await (await fetch(document.querySelector("#preview").src)).arrayBuffer())]);
