// The package as others use it: from its tarball, in a Vite app and in a plain page.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serve } from "../scripts/serve.mjs";
import { goldens, native, startBrowser, testBundle, www } from "./harness.mjs";

const PICTURE = "tiny/raw_0.png";
const APP = `
import { OFA } from "ofa-web";
const ofa = await OFA.load("/bundle/", { device: "cpu" });
const { text } = await ofa.caption("/golden/${PICTURE}");
document.querySelector("#out").textContent = JSON.stringify({ text, device: ofa.info.device.kind });
`;
const PAGE = (script) => `<!doctype html><html lang="en"><title>app</title><link rel="icon" href="data:,"><p id="out"></p>${script}</html>`;
let browser, directory, expected;

before(async () => {
  browser = await startBrowser();
  directory = mkdtempSync(join(tmpdir(), "ofa-web-package-"));
  const npm = (args, cwd) => execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const [{ filename }] = JSON.parse(npm(["pack", "--json", "--pack-destination", directory], www));
  writeFileSync(join(directory, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  npm(["install", "--no-audit", "--no-fund", "--offline", `./${filename}`], directory);
  expected = native(["caption", "--model", testBundle, "--image", join(goldens, PICTURE)]).text;
});
after(async () => {
  await browser.close();
  rmSync(directory, { recursive: true, force: true });
});

async function answerOf(root, extra = {}) {
  const server = await serve({ "/": root, "/bundle/": testBundle, "/golden/": goldens, ...extra });
  const page = await browser.newPage();
  const failures = [];
  page.on("pageerror", (error) => failures.push(error.message));
  page.on("requestfailed", (request) => failures.push(request.url()));
  try {
    await page.goto(server.url);
    await page.waitForFunction(() => document.querySelector("#out").textContent, undefined, { timeout: 60_000 })
      .catch((error) => { throw new Error(`${error.message}; ${failures.join("; ")}`); });
    const fetched = server.requests.map(({ path }) => path).filter((path) => path.endsWith(".wasm"));
    return { ...JSON.parse(await page.textContent("#out")), fetched };
  } finally {
    await page.close();
    await server.close();
  }
}

test("the tarball holds what the package needs and nothing else", () => {
  const files = readdirSync(join(directory, "node_modules/ofa-web"), { recursive: true }).map(String);
  for (const needed of ["dist/ofa.js", "dist/worker.js", "dist/wasm/cpu/ofa_bg.wasm", "dist/wasm/gpu/ofa_bg.wasm", "dist/types/ofa.d.ts", "README.md", "LICENSE"]) {
    assert.ok(files.includes(needed), `${needed} is missing`);
  }
  assert.deepEqual(files.filter((file) => /^(src|test|demo|bindgen|scripts)/.test(file)), []);
});

const TYPED = `
import { OFA, OfaError, type TextAnswer } from "ofa-web";
const ofa = await OFA.load("/bundle/", { onProgress: ({ phase, loaded, total }) => console.log(phase, loaded / total) });
const answer: TextAnswer = await ofa.vqa(new Blob(), "what is it?", { answers: ["a"] });
for await (const event of ofa.stream("caption", { image: "a.png" })) if (event.event === "answer") console.log(event.answer.text);
const code = (error: unknown) => (error instanceof OfaError && error.code === "fetch" ? answer.text : "");
export { code };
`;
for (const [module, resolution] of [["es2022", "bundler"], ["nodenext", "nodenext"]]) {
  test(`its types hold for TypeScript that resolves as ${resolution}`, () => {
    writeFileSync(join(directory, "app.ts"), TYPED);
    const options = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2023,dom,dom.asynciterable", "--types", ""];
    const tsc = join(www, "node_modules/.bin/tsc");
    execFileSync(tsc, [...options, "--module", module, "--moduleResolution", resolution, "app.ts"], { cwd: directory, encoding: "utf8" });
  });
}

test("a Vite app builds with it and captions", { timeout: 180_000 }, async () => {
  const app = join(directory, "vite-app");
  mkdirSync(app);
  writeFileSync(join(app, "index.html"), PAGE('<script type="module" src="./main.js"></script>'));
  writeFileSync(join(app, "main.js"), APP);
  symlinkSync(join(directory, "node_modules"), join(app, "node_modules"));
  const { build } = await import("vite");
  await build({ root: app, logLevel: "error", build: { target: "es2022", outDir: "built" } });
  const { text, device, fetched } = await answerOf(join(app, "built"));
  assert.equal(text, expected);
  assert.equal(device, "cpu");
  assert.equal(fetched.length, 1, `only the wasm that is needed is fetched, found ${fetched}`);
});

test("a plain page captions with it", { timeout: 120_000 }, async () => {
  const app = join(directory, "plain");
  mkdirSync(app);
  cpSync(join(directory, "node_modules/ofa-web/dist"), join(app, "ofa-web"), { recursive: true });
  const importmap = '<script type="importmap">{ "imports": { "ofa-web": "./ofa-web/ofa.js" } }</script>';
  writeFileSync(join(app, "index.html"), PAGE(`${importmap}<script type="module">${APP}</script>`));
  const { text, fetched } = await answerOf(app);
  assert.equal(text, expected);
  assert.deepEqual(fetched, ["/ofa-web/wasm/cpu/ofa_bg.wasm"]);
});
