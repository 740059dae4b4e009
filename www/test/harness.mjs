// What the browser tests share: a server over the built demo, a browser, a page with the package in it.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../scripts/browser.mjs";
import { serve } from "../scripts/serve.mjs";

export const www = fileURLToPath(new URL("..", import.meta.url));
export const goldens = process.env.OFA_GOLDENS ?? join(www, "../tests/golden");
const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "ofa");

/** A bundle of the seeded model in several small shards. */
export const testBundle = process.env.OFA_TEST_BUNDLE ?? join(cache, "test-bundle");
/** The seeded OFA-Tiny, if the native tests could make it. */
export const tinyBundle = process.env.OFA_KEEP_TINY_BUNDLE ?? join(cache, "tiny-bundle");
export const binary = join(process.env.CARGO_TARGET_DIR ?? join(cache, "target"), "debug/ofa");

/** What the native binary answers on the CPU. */
export function native(args) {
  return JSON.parse(execFileSync(binary, ["predict", ...args, "--device", "cpu", "--json"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
}

/** Scores and weights are sums of products of f32 in an order that differs by device. */
const NEAR = 1e-3;

/** Equal, but for the last digits of fractions. */
export function alike(found, expected, path = "answer") {
  if (typeof expected === "number" && !Number.isInteger(expected)) {
    assert.ok(Math.abs(found - expected) < NEAR, `${path} is ${found}, natively ${expected}`);
  } else if (typeof expected === "object" && expected !== null) {
    assert.deepEqual(Object.keys(found ?? {}), Object.keys(expected), path);
    for (const key of Object.keys(expected)) alike(found[key], expected[key], `${path}.${key}`);
  } else {
    assert.deepEqual(found, expected, path);
  }
}

export async function startBrowser() {
  const browser = await launch();
  return browser;
}

/** Serves the demo site, the test bundle at /bundle/ and the goldens at /golden/, with faults, `extra` roots and headers. */
export function startServer(faults = {}, extra = {}, headers = {}) {
  const roots = { "/": join(www, "dist-demo"), "/bundle/": testBundle, "/golden/": goldens, "/pages/": join(www, "test/pages") };
  if (existsSync(tinyBundle)) Object.assign(roots, { "/tiny/": tinyBundle, "/tiny-q8/": `${tinyBundle}-q8` });
  return serve({ ...roots, ...extra }, { faults, headers });
}

/** A blank page of `server` with `OFA` and `OfaError` in its global scope and errors as plain objects. */
export async function openBlank(browser, server) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${server.url}pages/blank.html`);
  await page.evaluate(async () => {
    Object.assign(window, await import("/ofa-web/ofa.js"));
    window.caught = (promise) => promise.then(() => ({ code: "none" }), ({ name, code, message }) => ({ name, code, message }));
  });
  return page;
}

/** Runs `body` in a blank page of `browser` against a server of its own, with what {@link startServer} takes. */
export async function inBlank(browser, { faults, extra, headers }, body) {
  const server = await startServer(faults, extra, headers);
  const page = await openBlank(browser, server);
  try {
    return await body(page, server);
  } finally {
    await page.context().close();
    await server.close();
  }
}

/** The browser and the server of the test file that called `hosted`. */
export let browser, server;

/** Gives a test file a browser, and a server without faults, for as long as its tests run. */
export function hosted() {
  before(async () => {
    browser = await startBrowser();
    server = await startServer();
  });
  after(async () => {
    await browser.close();
    await server.close();
  });
}
