// The page as a visitor meets it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { goldens, native, startBrowser, startServer, www } from "./harness.mjs";

const PICTURE = join(goldens, "tiny/raw_0.png");
let browser;
before(async () => { browser = await startBrowser(); });
after(() => browser.close());

/** The model whose answers nobody trained: it stays as it is. */
const SEEDED = "?device=cpu&model=models/seeded/";

/** Opens the page; `body` gets it once it stands. */
async function visit(body, { query = SEEDED, faults = {}, ...context } = {}) {
  const server = await startServer(faults);
  const page = await (await browser.newContext(context)).newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  try {
    await page.goto(server.url + query);
    await body(page, server);
    assert.deepEqual(problems, []);
  } finally {
    await page.context().close();
    await server.close();
  }
}

const ready = (page) => page.waitForSelector("#badge:not([hidden])");
const answered = async (page) => {
  await page.waitForSelector("#more:not([hidden])");
  return page.textContent("#text");
};
const run = (page) => page.click("#run:not([disabled])");
/** Clicks as soon as the next answer has begun to grow. */
const clickAmidAnswer = (page, button) =>
  page.evaluate((button) => {
    const text = document.querySelector("#text");
    new MutationObserver((_, observer) => {
      if (!text.textContent || !document.querySelector("#cancel-run").checkVisibility()) return;
      observer.disconnect();
      document.querySelector(button).click();
    }).observe(text, { childList: true, characterData: true, subtree: true });
  }, button);

test("it captions a picture as the native binary does, and shows how", () =>
  visit(async (page) => {
    await ready(page);
    assert.match(await page.textContent("#badge"), /CPU · q8 · 0\.5 M parameters/);
    await page.setInputFiles("#file", PICTURE);
    await run(page);
    const expected = native(["caption", "--model", join(www, "demo/models/seeded"), "--image", PICTURE]);
    assert.equal(await answered(page), expected.text);
    assert.equal(await page.locator("#alternatives li").count(), expected.alternatives.length);
    assert.match(await page.textContent("#timings"), /Stem.*ms.*Encoder.*ms.*Decoder.*steps/);
    assert.match(await page.textContent("#model-note"), /[Uu]ntrained/);
  }));

test("a question is asked with the keyboard alone", () =>
  visit(async (page) => {
    await ready(page);
    const focusOn = async (selector) => {
      for (let presses = 0; presses < 40; presses++) {
        if (await page.evaluate((selector) => document.activeElement?.matches(selector), selector)) return;
        await page.keyboard.press("Tab");
      }
      assert.fail(`${selector} cannot be reached with Tab`);
    };
    await focusOn("#samples button[title=boat]");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#samples button[title=boat][aria-pressed=true]");
    await focusOn("#tabs [aria-selected=true]");
    await page.keyboard.press("ArrowRight");
    await focusOn("#field-text");
    await page.keyboard.type("what is it?");
    await page.keyboard.press("Enter");
    await answered(page);
    assert.match(await page.textContent("#history"), /what is it\?/);
  }));

test("loading is cancelled half way, by button and by Escape", () =>
  visit(async (page) => {
    for (const cancel of [() => page.click("#cancel-load"), () => page.keyboard.press("Escape")]) {
      await page.waitForSelector("#cancel-load:not([hidden])");
      await page.waitForFunction(() => /of/.test(document.querySelector("#progress-text").textContent));
      await cancel();
      await page.waitForSelector("#progress", { state: "hidden" });
      assert.equal(await page.isVisible("#badge"), false);
      assert.equal(await page.isVisible("#error"), false, "a cancelled load is no error");
      await page.click("#load");
    }
  }, { query: "?device=cpu&model=bundle/", faults: { ".safetensors": { delay: 150 } } }));

test("an answer is cancelled", () =>
  visit(async (page) => {
    await ready(page);
    await clickAmidAnswer(page, "#cancel-run");
    await run(page);
    await page.waitForFunction(() => document.querySelector("#status").textContent === "Cancelled.");
    await run(page);
    await answered(page);
  }));

const FAILURES = [
  ["a wrong address", "?device=cpu&model=nowhere/", {}, /nowhere\/manifest\.json.*404.*\(fetch\)/],
  ["a corrupt byte", SEEDED, { ".safetensors": { flip: 5000 } }, /model-00001-of-00001\.safetensors: megabyte 1 of 1 is not what the manifest promises.*\(integrity\)/],
  ["a missing shard", SEEDED, { ".safetensors": { status: 404 } }, /model-00001-of-00001\.safetensors.*404.*\(fetch\)/],
  ["a server that sends a web page", "?device=cpu&model=index.html", {}, /\(fetch\)|\(manifest\)/],
];
for (const [name, query, faults, message] of FAILURES) {
  test(`${name} gives a clear error`, () =>
    visit(async (page) => {
      await page.waitForSelector("#error:not([hidden])");
      assert.match(await page.textContent("#error"), message);
      assert.equal(await page.getAttribute("#error", "role"), "alert");
      assert.equal(await page.isDisabled("#run"), true);
    }, { query, faults }));
}

test("pictures come by drop and by paste", () =>
  visit(async (page) => {
    await ready(page);
    const bytes = [...readFileSync(PICTURE)];
    for (const kind of ["drop", "paste"]) {
      await page.evaluate(([kind, bytes]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], `${kind}.png`, { type: "image/png" }));
        const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true }) : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true });
        document.body.dispatchEvent(event);
      }, [kind, bytes]);
      await page.waitForFunction((kind) => document.querySelector("#preview").alt === `${kind}.png`, kind);
    }
    await run(page);
    await answered(page);
  }));

test("a sample that is slow to come does not take the place of one chosen after it", () =>
  visit(async (page) => {
    await ready(page);
    let arrived;
    const arrival = new Promise((resolve) => (arrived = resolve));
    await page.route("**/samples/house.png", async (route) => {
      await new Promise((resolve) => setTimeout(resolve, 500));
      await route.continue();
      arrived();
    });
    await page.click("#samples button[title=house]");
    await page.click("#samples button[title=boat]");
    await arrival;
    await page.waitForTimeout(300);
    assert.equal(await page.getAttribute("#preview", "alt"), "boat");
    assert.equal(await page.getAttribute("#samples [aria-pressed=true]", "title"), "boat");
  }));

test("something that is no picture is refused kindly", () =>
  visit(async (page) => {
    await ready(page);
    const before = await page.getAttribute("#preview", "alt");
    for (const text of ["not a picture", ""]) {
      await page.setInputFiles("#file", { name: "notes.png", mimeType: "image/png", buffer: Buffer.from(text) });
      await page.waitForSelector("#picture-error:not([hidden])");
      assert.match(await page.textContent("#picture-error"), /notes\.png.*not a picture this browser can read/);
      assert.equal(await page.getAttribute("#preview", "alt"), before, "the picture before stays");
    }
    await page.click("#samples button[title=boat]");
    await page.waitForSelector("#picture-error", { state: "hidden" });
  }));

test("an option that makes no sense is named, though it is folded away", () =>
  visit(async (page) => {
    await ready(page);
    const hinted = (pattern) => page.waitForFunction((pattern) => new RegExp(pattern).test(document.querySelector("#hint").textContent), pattern);
    await hinted('^"Draw from probability": .');
    assert.equal(await page.isDisabled("#run"), true);
    assert.equal(await page.isVisible("#example"), false, "an example would not help");
    await page.click("#ask-form summary");
    await page.focus("#option-topP");
    await page.keyboard.press("ControlOrMeta+a");
    await page.keyboard.type("0.5");
    await hinted("^$");
    await page.fill("#option-maxLen", "0");
    await hinted('^"Longest answer": .');
    await page.fill("#option-maxLen", "4");
    await run(page);
    await answered(page);
  }, { query: `${SEEDED}#task=caption&topP=3` }));

test("a camera that cannot be used is told in plain words", () =>
  visit(async (page) => {
    await ready(page);
    await page.click("#sources-camera");
    const [none, busy] = ["No camera was found", "The camera does not start; another program may be using it"];
    const refusals = [
      ["NotFoundError", none], ["NotReadableError", busy], ["OverconstrainedError", none], ["AbortError", busy],
      ["NotAllowedError", "The camera was not allowed"],
    ];
    for (const [name, words] of refusals) {
      await page.evaluate((name) => {
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("The object can not be found here.", name));
      }, name);
      await page.click(".source:not([hidden]) button:not([aria-disabled=true])");
      await page.waitForFunction((text) => document.querySelector("#picture-error").textContent === text, `${words} (unsupported)`, { timeout: 5000 });
      assert.equal(await page.evaluate(() => document.activeElement.textContent), "Switch the camera on", "the focus stays");
    }
  }));

test("a camera whose tab is left while it starts stays off, without an error", () =>
  visit(async (page) => {
    await ready(page);
    await page.click("#sources-camera");
    await page.evaluate(() => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 4, height: 4 });
      canvas.getContext("2d");
      window.streams = [];
      navigator.mediaDevices.getUserMedia = async () => {
        const stream = canvas.captureStream();
        window.streams.push(stream);
        return stream;
      };
      // It plays, or not, once the test says so.
      HTMLMediaElement.prototype.play = () => new Promise((...ends) => (window.ends = ends));
    });
    const button = page.locator(".source:not([hidden]) button");
    for (const end of [0, 1]) {
      await button.click();
      await page.waitForFunction(() => window.ends);
      await page.click("#sources-sample");
      await page.evaluate((end) => {
        window.ends[end](new DOMException("interrupted", "AbortError"));
        window.ends = undefined;
      }, end);
      await page.click("#sources-camera");
      await page.waitForSelector(".source:not([hidden]) button:not([aria-disabled=true])");
      assert.equal(await button.textContent(), "Switch the camera on");
      assert.equal(await page.isVisible("#picture-error"), false);
    }
    const [live, shown] = await page.evaluate(() => [
      window.streams.flatMap((stream) => stream.getTracks()).filter(({ readyState }) => readyState === "live").length,
      document.querySelector(".source video").srcObject,
    ]);
    assert.deepEqual([live, shown], [0, null]);
  }));

test("a crash while the page looks where the model looked leaves the picture askable", () =>
  visit(async (page) => {
    await page.addInitScript(() => {
      window.Worker = class extends Worker {
        postMessage(message, ...rest) {
          if (message.method === "attention") return this.dispatchEvent(new ErrorEvent("error", { message: "boom", cancelable: true }));
          return super.postMessage(message, ...rest);
        }
      };
    });
    await page.reload();
    await ready(page);
    await run(page);
    const text = await answered(page);
    await page.click("#look");
    await page.waitForSelector("#ask-error:not([hidden])");
    assert.match(await page.textContent("#ask-error"), /boom.*\(internal\)/);
    await page.waitForSelector("#cancel-run", { state: "hidden" });
    await run(page);
    assert.equal(await answered(page), text);
    assert.equal(await page.isVisible("#ask-error"), false);
  }));

test("what a model could not be loaded for stays until another is, and one that is not chosen takes none away", () =>
  visit(async (page) => {
    await ready(page);
    await run(page);
    await answered(page);
    await page.selectOption("#model", "url");
    for (const [address, message] of [["", /Enter the address/], ["nowhere/", /nowhere\/manifest\.json.*404/]]) {
      await page.fill("#url", address);
      await page.click("#load");
      await page.waitForFunction((source) => new RegExp(source).test(document.querySelector("#error").textContent), message.source);
      await page.waitForSelector("#progress", { state: "hidden" });
      assert.ok(await page.isVisible("#badge"), "the model is still there");
    }
    await page.click("#samples button[title=boat]");
    await page.waitForFunction(() => document.querySelector("#preview").alt === "boat");
    assert.ok(await page.isVisible("#error"), "a picture is no answer to that");
    await run(page);
    await answered(page);
    await page.fill("#url", new URL("bundle/", page.url()).href);
    await page.click("#load");
    await page.waitForSelector("#error", { state: "hidden" });
    await page.waitForSelector("#answer", { state: "hidden" });
    assert.equal(await page.isVisible("#look"), false, "there is nothing to look for");
    await ready(page);
    await run(page);
    await answered(page);
    assert.match(page.url(), /\?model=http.*bundle%2F&device=cpu#task=caption/);
  }));

test("a list of models that cannot be read is told, and others can be loaded", () =>
  visit(async (page) => {
    await page.waitForSelector("#error:not([hidden])");
    assert.match(await page.textContent("#error"), /models\.json: the server answered 404 \(fetch\)/);
    await page.fill("#url", new URL("bundle/", page.url()).href);
    await page.click("#load");
    await ready(page);
  }, { query: "?device=cpu", faults: { "models.json": { status: 404 } } }));

test("on a phone the picture stays in view under what is asked and answered", () =>
  visit(async (page) => {
    await page.setViewportSize({ width: 360, height: 640 });
    await ready(page);
    await page.click("#tabs-objects");
    await run(page);
    await answered(page);
    await page.locator("#history-section").scrollIntoViewIfNeeded();
    const { top, bottom } = await page.locator("#preview").evaluate((image) => image.getBoundingClientRect().toJSON());
    assert.ok(top >= 0 && bottom <= 640 / 2, `the picture is at ${top} to ${bottom} of 640`);
    await page.click("#tabs-text");
    assert.equal(await page.locator("#stage").evaluate((stage) => getComputedStyle(stage).position), "static");
  }));

test("what is copied is said for a moment, and what cannot be is selected", () =>
  visit(async (page) => {
    await ready(page);
    await run(page);
    await answered(page);
    await page.click("#share summary");
    const button = page.locator("#code button").first();
    const says = (text) => page.waitForFunction((text) => document.querySelector("#code button").textContent === text, text, { timeout: 5000 });
    await page.evaluate(() => { navigator.clipboard.writeText = () => Promise.reject(new DOMException("no", "NotAllowedError")); });
    await button.click();
    await says("Selected");
    assert.equal(await page.evaluate(() => String(getSelection())), await page.locator("#code code").first().textContent());
    await page.evaluate(() => { navigator.clipboard.writeText = () => Promise.resolve(); });
    await button.click();
    await says("Copied");
    await button.click();
    await page.waitForTimeout(2500);
    assert.equal(await button.textContent(), "Copy");
  }));

test("a text that brings a picture along goes into the field, and the picture stays", () =>
  visit(async (page) => {
    await ready(page);
    await page.click("#tabs-ask");
    await page.waitForSelector("#samples [aria-pressed=true]");
    const before = await page.getAttribute("#preview", "alt");
    const taken = await page.evaluate(() => ["dragover", "drop", "paste"].filter((kind) => {
      const transfer = new DataTransfer();
      transfer.setData("text/plain", "what is it?");
      transfer.items.add(new File(["picture"], "cells.png", { type: "image/png" }));
      const about = { bubbles: true, cancelable: true };
      const event = kind === "paste" ? new ClipboardEvent(kind, { clipboardData: transfer, ...about }) : new DragEvent(kind, { dataTransfer: transfer, ...about });
      return !document.querySelector("#field-text").dispatchEvent(event);
    }));
    assert.deepEqual(taken, [], "events that the browser does not see");
    await page.waitForTimeout(100);
    assert.equal(await page.getAttribute("#preview", "alt"), before);
  }));

test("arrow keys pass the sources of pictures, and Enter opens one", () =>
  visit(async (page) => {
    await ready(page);
    await page.waitForSelector("#samples [aria-pressed=true]");
    const before = await page.getAttribute("#preview", "alt");
    await page.focus("#sources-sample");
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.evaluate(() => document.activeElement.id), "sources-scene");
    await page.waitForTimeout(300);
    assert.equal(await page.getAttribute("#preview", "alt"), before);
    await page.keyboard.press("Enter");
    await page.waitForSelector("canvas.board");
    assert.equal(await page.getAttribute("#sources-scene", "aria-selected"), "true");
  }));

test("the button that was pressed keeps the focus, and the answer is announced once", () =>
  visit(async (page) => {
    await ready(page);
    const focused = () => page.evaluate(() => document.activeElement.id);
    assert.equal(await page.textContent("#said"), "Ready");
    await page.evaluate(() => {
      window.said = [];
      const line = document.querySelector("#said");
      new MutationObserver(() => window.said.push(line.textContent)).observe(line, { childList: true });
    });
    await page.focus("#run:not([disabled])");
    await page.keyboard.press("Enter");
    const text = await answered(page);
    assert.equal(await focused(), "run");
    assert.deepEqual(await page.evaluate(() => window.said.filter(Boolean)), [text]);
    await page.focus("#load");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#badge", { state: "hidden" });
    await ready(page);
    assert.equal(await focused(), "load");
  }));

test("a model that is loaded while another answers ends the answer without an error", () =>
  visit(async (page) => {
    await ready(page);
    await clickAmidAnswer(page, "#load");
    await run(page);
    await page.waitForSelector("#badge", { state: "hidden" });
    await ready(page);
    assert.equal(await page.isVisible("#error"), false);
    await run(page);
    await answered(page);
  }));

test("every control has a name", () =>
  visit(async (page) => {
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("button, input, select, textarea, a")]
        .filter((control) => control.checkVisibility())
        .filter((control) => !(control.ariaLabel || control.textContent.trim() || control.labels?.[0]?.textContent.trim() || control.querySelector("img")?.alt || control.title))
        .map((control) => control.outerHTML));
    assert.deepEqual(nameless, []);
    assert.equal(await page.getAttribute("html", "lang"), "en");
  }));

for (const colorScheme of ["light", "dark"]) {
  test(`it fits a phone and is readable in ${colorScheme}`, () =>
    visit(async (page) => {
      await ready(page);
      await run(page);
      await answered(page);
      const [width, contrast, smallest] = await page.evaluate(() => {
        const luminance = (color) => {
          const [r, g, b] = color.match(/[\d.]+/g).map((value) => Number(value) / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const style = getComputedStyle(document.body);
        const sizes = [...document.querySelectorAll("input, select")].map((field) => parseFloat(getComputedStyle(field).fontSize));
        const [a, b] = [style.color, style.backgroundColor].map(luminance);
        return [document.documentElement.scrollWidth, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), Math.min(...sizes)];
      });
      assert.ok(width <= 360, `the page is ${width} px wide`);
      // WCAG AAA for body text.
      assert.ok(contrast >= 7, `contrast ${contrast}`);
      assert.ok(smallest >= 16, `iPhones zoom to fields of ${smallest} px`);
    }, { viewport: { width: 360, height: 740 }, hasTouch: true, colorScheme }));
}

test("the names on boxes are readable on every colour", () =>
  visit(async (page) => {
    const contrasts = await page.evaluate(() => {
      const context = document.createElement("canvas").getContext("2d");
      const luminance = (color) => {
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((value) => (value <= 10 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      return [0, 1, 2, 3, 4, 5].map((colour) => {
        const mark = document.body.appendChild(Object.assign(document.createElement("div"), { className: `mark colour-${colour}`, innerHTML: "<span>name</span>" }));
        const { color, backgroundColor } = getComputedStyle(mark.firstChild);
        return (luminance(color) + 0.05) / (luminance(backgroundColor) + 0.05);
      });
    });
    // WCAG AA for small text.
    for (const contrast of contrasts) assert.ok(contrast >= 4.5, `contrasts ${contrasts}`);
  }));

test("the bench page prints stages and counters as JSON", { timeout: 300_000 }, () =>
  visit(async (page, server) => {
    await page.goto(`${server.url}bench.html?device=webgpu&runs=2`);
    await page.waitForFunction(() => document.querySelector("#result").textContent || !document.querySelector("#error").hidden, undefined, { timeout: 240_000 });
    const result = JSON.parse(await page.textContent("#result"));
    for (const stage of ["download", "upload", "compile", "firstAnswer", "stem", "encoder", "greedyToken", "beam5Token"]) {
      assert.ok(result.milliseconds[stage] > 0, `${stage} took ${result.milliseconds[stage]} ms`);
    }
    for (const stage of ["stem", "encoder", "step"]) {
      assert.ok(result.counters.greedy[stage].dispatches > 0, `${stage} dispatches nothing`);
      assert.equal(result.counters.greedy[stage].readbacks, 1, `${stage} is read back once`);
      assert.equal(result.counters.beam5[stage].pipelines, 0, "a warm answer compiles nothing");
    }
    const timelines = await page.$$eval(".timeline", (all) => all.map((timeline) => ({
      title: timeline.querySelector("figcaption").textContent,
      parts: [...timeline.querySelectorAll("li")].map((part) => part.firstChild.nextSibling.textContent.trim()),
      shares: [...timeline.querySelectorAll(".track i")].map((part) => Number(part.style.flexGrow)),
    })));
    assert.deepEqual(timelines.map(({ parts }) => parts), [
      ["compile wasm", "download", "upload", "build", "answer"],
      ["stem", "encoder", "tokens"],
      ["stem", "encoder", "tokens"],
    ]);
    for (const { title, shares } of timelines) {
      assert.match(title, /: [\d.]+ m?s$/);
      assert.ok(Math.abs(shares.reduce((sum, share) => sum + share) - 100) < 1, `${title}: ${shares} are no shares of a whole`);
    }
    assert.match(await page.textContent(".timelines"), /12 × [\d.]+ ms, each \d+ dispatches/);
  }));

test("the bench page takes no time by a clock that stands", { timeout: 120_000 }, () =>
  visit(async (page, server) => {
    const stopped = "performance.now = () => 1;";
    await page.addInitScript(stopped);
    await page.route("**/worker.js", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: stopped + (await response.text()) });
    });
    await page.goto(`${server.url}bench.html?device=cpu&runs=1`);
    await page.waitForFunction(() => document.querySelector("#result").textContent || !document.querySelector("#error").hidden, undefined, { timeout: 100_000 });
    assert.equal(await page.locator(".timeline").count(), 3);
    assert.doesNotMatch(await page.textContent("#timelines"), /NaN/);
  }));

test("the bench page measures the ways to answer", { timeout: 120_000 }, () =>
  visit(async (page, server) => {
    await page.goto(`${server.url}bench.html?device=cpu&runs=1&ways&model=bundle/`);
    await page.waitForFunction(() => document.querySelector("#result").textContent || !document.querySelector("#error").hidden, undefined, { timeout: 100_000 });
    const { milliseconds } = JSON.parse(await page.textContent("#result"));
    assert.equal(await page.locator("#ways-bars [role=row]").count(), 5);
    for (const way of ["allCandidates", "freeBeamStep", "trieBeamStep", "codes64", "picture"]) assert.ok(milliseconds[way] > 0, `${way} took ${milliseconds[way]} ms`);
  }));
