// The package as others use it: from its tarball, in a Vite app and in a plain page.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ISOLATED, serve } from "../scripts/serve.mjs";
import { WASM } from "../scripts/wasm.mjs";
import { goldens, native, startBrowser, testBundle, www } from "./harness.mjs";

const PICTURE = "tiny/raw_0.png";
const APP = `
import { OFA } from "ofa-web";
const ofa = await OFA.load("/bundle/", { device: "cpu", threads: 2 });
const { text } = await ofa.caption("/golden/${PICTURE}");
let { device } = ofa.info;
for (let waited = 0; crossOriginIsolated && device.threads < 2 && waited < 100; waited++) {
  ({ device } = await ofa.refreshInfo());
  await new Promise((resolve) => setTimeout(resolve, 20));
}
document.querySelector("#out").textContent = JSON.stringify({ text, device: device.kind, threads: device.threads });
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

async function answerOf(root, headers = {}) {
  const server = await serve({ "/": root, "/bundle/": testBundle, "/golden/": goldens }, { headers });
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
  for (const needed of ["dist/ofa.js", "dist/ofa-web/worker.js", "dist/ofa-web/member.js", ...Object.values(WASM).map((file) => `dist/ofa-web/wasm/${file}`), "dist/types/ofa.d.ts", "README.md", "LICENSE"]) {
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
const kinds = ["car", "boat"] as const;
await ofa.classify(new Blob(), kinds, { signal: undefined, onToken: undefined });
await ofa.vqa(new Blob(), "what is it?", { answers: kinds, numBeams: undefined });
export { code };
`;
const IN_WORKER = `
import { OFA } from "ofa-web";
const ofa = await OFA.load("/bundle/", { worker: false });
await ofa.caption(new OffscreenCanvas(1, 1));
`;
/** The first program of a README, with what it takes for granted. */
const shownIn = (readme) => `
declare const file: File;
declare const paint: (image: ImageData) => void;
${readFileSync(join(www, readme), "utf8").split("```ts\n")[1].split("```")[0]}`;

/** Throws what the compiler says, if anything. */
function compile(program, lib, ...options) {
  writeFileSync(join(directory, "app.ts"), program);
  const tsc = join(www, "node_modules/.bin/tsc");
  const strict = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--types", ""];
  execFileSync(tsc, [...strict, "--lib", lib, ...options, "app.ts"], { cwd: directory, encoding: "utf8" });
}
const BUNDLER = ["--module", "es2022", "--moduleResolution", "bundler"];
const PAGE_LIB = "es2023,dom,dom.asynciterable";

test("its types hold for TypeScript that resolves as bundler", () => compile(TYPED, PAGE_LIB, ...BUNDLER));
test("its types hold for TypeScript that resolves as nodenext", () => compile(TYPED, PAGE_LIB, "--module", "nodenext"));
test("its types hold in a worker", () => compile(IN_WORKER, "es2023,webworker", ...BUNDLER));
for (const readme of ["README.md", "../README.md"]) {
  test(`the types hold for what ${readme} shows`, () => compile(shownIn(readme), PAGE_LIB, ...BUNDLER));
}

// Vite's development server before 8 moves the scripts away from what they name, and finds it only so.
test("what the scripts name by address is found beside them and by the package's name", () => {
  const dist = join(directory, "node_modules/ofa-web/dist");
  const { resolve } = createRequire(join(directory, "app.js"));
  const names = readdirSync(dist).filter((name) => name.endsWith(".js")).flatMap((name) => {
    const code = readFileSync(join(dist, name), "utf8");
    return [...code.matchAll(/new URL\("([^"]+)",import\.meta\.url\)/g)].map(([, name]) => name);
  });
  assert.equal(names.length, 10, `found ${names}`);
  for (const name of names) assert.equal(resolve(name), fileURLToPath(new URL(name, pathToFileURL(`${dist}/`))));
});

test("where there is no relaxed SIMD, one file of the CPU path does without", () => {
  const valid = (file) => WebAssembly.validate(readFileSync(join(directory, "node_modules/ofa-web/dist/ofa-web/wasm/cpu", file)));
  // Node 20 has none.
  const relaxed = !process.versions.node.startsWith("20.");
  assert.deepEqual([valid("ofa_bg.wasm"), valid("ofa_relaxed_bg.wasm")], [true, relaxed]);
});

test("a Vite app builds with it and captions", { timeout: 180_000 }, async () => {
  const app = join(directory, "vite-app");
  mkdirSync(app);
  writeFileSync(join(app, "index.html"), PAGE('<script type="module" src="./main.js"></script>'));
  writeFileSync(join(app, "main.js"), APP);
  symlinkSync(join(directory, "node_modules"), join(app, "node_modules"));
  const { build } = await import("vite");
  await build({ root: app, logLevel: "error", build: { target: "es2022", outDir: "built" } });
  for (const [headers, expectedThreads] of [[{}, 1], [ISOLATED, 2]]) {
    const { text, device, threads, fetched } = await answerOf(join(app, "built"), headers);
    assert.equal(text, expected);
    assert.deepEqual([device, threads], ["cpu", expectedThreads]);
    assert.equal(fetched.length, 1, `only the wasm that is needed is fetched, found ${fetched}`);
  }
});

test("a plain page captions with it", { timeout: 120_000 }, async () => {
  const app = join(directory, "plain");
  mkdirSync(app);
  cpSync(join(directory, "node_modules/ofa-web/dist"), join(app, "ofa-web"), { recursive: true });
  const importmap = '<script type="importmap">{ "imports": { "ofa-web": "./ofa-web/ofa.js" } }</script>';
  writeFileSync(join(app, "index.html"), PAGE(`${importmap}<script type="module">${APP}</script>`));
  for (const [headers, file] of [[{}, WASM.relaxed], [ISOLATED, WASM.relaxedThreads]]) {
    const { text, fetched } = await answerOf(app, headers);
    assert.equal(text, expected);
    assert.deepEqual(fetched, [`/ofa-web/ofa-web/wasm/${file}`]);
  }
});
