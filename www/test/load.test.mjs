// Loading: verified, resumed, cached, cancelled; and what is said when it cannot be.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inBlank, startBrowser, testBundle, www } from "./harness.mjs";

let browser;
before(async () => { browser = await startBrowser(); });
after(() => browser.close());

const shards = readdirSync(testBundle).filter((name) => name.endsWith(".safetensors")).sort();
const MEGABYTE = 1 << 20;
/** What Chromium loads on the CPU path. */
const WASM = "ofa_relaxed_bg.wasm";

/** Runs `body` in a page against a server with `faults`, and `extra` roots. */
const withPage = (faults, body, extra) => inBlank(browser, { faults, extra }, body);

const load = (page, url = "/bundle/", options = {}) =>
  page.evaluate(([url, options]) => window.caught(window.OFA.load(url, { device: "cpu", cache: "none", ...options }).then((ofa) => ofa.dispose())), [url, options]);

test("the test bundle has several shards", () => assert.ok(shards.length > 1, `found ${shards}`));

test("progress counts every byte and ends ready", () =>
  withPage({ [shards[0]]: { cut: 300_000, times: 1 } }, async (page) => {
    const phases = await page.evaluate(async () => {
      const seen = [];
      const ofa = await OFA.load("/bundle/", { device: "cpu", cache: "none", onProgress: (progress) => seen.push(progress) });
      await ofa.dispose();
      return seen;
    });
    for (const phase of ["compile", "download", "verify", "upload", "ready"]) assert.ok(phases.some((seen) => seen.phase === phase), phase);
    assert.equal(phases.at(-1).phase, "ready");
    const uploads = phases.filter((seen) => seen.phase === "upload");
    assert.equal(uploads.at(-1).loaded, uploads.at(-1).total);
    assert.deepEqual(uploads.map((seen) => seen.file), shards, "shards are handed over in order");
    const { total_bytes } = JSON.parse(readFileSync(join(testBundle, "manifest.json"), "utf8"));
    assert.deepEqual([...new Set(phases.map((seen) => seen.total))], [total_bytes]);
    const bar = phases.map((seen) => seen.loaded);
    assert.deepEqual(bar, bar.toSorted((a, b) => a - b), "a bar never goes back");
    assert.deepEqual([bar[0], bar.at(-1)], [0, total_bytes]);
  }));

test("a cut download goes on behind the last verified megabyte", () =>
  withPage({ [shards[0]]: { cut: MEGABYTE + 1000, times: 1 } }, async (page, server) => {
    assert.deepEqual(await load(page), { code: "none" });
    const ranges = server.requests.filter(({ path }) => path.endsWith(shards[0])).map(({ range }) => range);
    const size = readFileSync(join(testBundle, shards[0])).length;
    assert.deepEqual(ranges, size > MEGABYTE + 1000 ? [undefined, `bytes=${MEGABYTE}-`] : [undefined]);
  }));

/** The test bundle with a first shard of several megabytes: blanks after its header mean nothing. */
function longBundle() {
  const directory = mkdtempSync(join(tmpdir(), "ofa-web-long-"));
  cpSync(testBundle, directory, { recursive: true });
  const [file, manifest] = [join(directory, shards[0]), join(directory, "manifest.json")];
  const shard = readFileSync(file);
  const header = Number(shard.readBigUInt64LE(0));
  shard.writeBigUInt64LE(BigInt(header + 6 * MEGABYTE), 0);
  const bytes = Buffer.concat([shard.subarray(0, 8 + header), Buffer.alloc(6 * MEGABYTE, " "), shard.subarray(8 + header)]);
  writeFileSync(file, bytes);
  const json = JSON.parse(readFileSync(manifest, "utf8"));
  const sha256 = (part) => createHash("sha256").update(part).digest("hex");
  const chunks = [];
  for (let start = 0; start < bytes.length; start += MEGABYTE) chunks.push(sha256(bytes.subarray(start, start + MEGABYTE)));
  Object.assign(json.files.find(({ name }) => name === shards[0]), { size: bytes.length, sha256: sha256(bytes), chunks });
  json.total_bytes += 6 * MEGABYTE;
  writeFileSync(manifest, JSON.stringify(json));
  return directory;
}

test("a download that is cut again and again arrives, as long as it comes further each time", { timeout: 60_000 }, async () => {
  const directory = longBundle();
  try {
    await withPage({ [shards[0]]: { most: 1.5 * MEGABYTE, delay: 5 } }, async (page, server) => {
      assert.deepEqual(await load(page, "/long/"), { code: "none" });
      assert.ok(server.requests.filter(({ path }) => path.endsWith(shards[0])).length > 5);
    }, { "/long/": directory });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a server without ranges is served as well", () =>
  withPage({ [shards.at(-1)]: { cut: 300_000, times: 1, noRange: true } }, async (page) => {
    assert.deepEqual(await load(page), { code: "none" });
  }));

for (const told of [true, false]) {
  test(`a server that answers ranges from the first byte on${told ? "" : ", and says otherwise,"} is served as well`, async () => {
    const directory = longBundle();
    const size = readFileSync(join(directory, shards[0])).length;
    try {
      await withPage({ [shards[0]]: { cut: 2.5 * MEGABYTE, times: 1 } }, async (page, server) => {
        await page.evaluate(() => {
          // Nobody waits for another try here.
          const { setTimeout } = window;
          window.setTimeout = (callback, delay) => setTimeout(callback, delay / 100);
        });
        await page.route(`**/${shards[0]}`, (route) => {
          const { range } = route.request().headers();
          if (!range) return route.continue();
          const start = told ? 0 : Number(/\d+/.exec(range)[0]);
          return route.fulfill({ status: 206, path: join(directory, shards[0]), headers: { "Content-Range": `bytes ${start}-${size - 1}/${size}` } });
        });
        assert.deepEqual(await load(page, "/long/", { worker: false }), { code: "none" });
        const asked = server.requests.filter(({ path }) => path.endsWith(shards[0]));
        assert.equal(asked.length, told ? 1 : 2, "all of it is asked for again only as a last resort");
      }, { "/long/": directory });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}

test("a changed byte is found, and the file and place are named", () =>
  withPage({ [shards[1]]: { flip: 1234 } }, async (page) => {
    const error = await load(page);
    assert.equal(error.code, "integrity");
    assert.match(error.message, new RegExp(`${shards[1]}: megabyte 1 of`));
  }));

test("a changed small file is found", () =>
  withPage({ "tokenizer.json": { flip: 100 } }, async (page) => {
    const error = await load(page);
    assert.equal(error.code, "integrity");
    assert.match(error.message, /tokenizer\.json/);
  }));

test("a missing shard is named at once", () =>
  withPage({ [shards[1]]: { status: 404 } }, async (page, server) => {
    const error = await load(page);
    assert.equal(error.code, "fetch");
    assert.match(error.message, new RegExp(`${shards[1]}.*404`));
    assert.equal(server.requests.filter(({ path }) => path.endsWith(shards[1])).length, 1, "a 404 is not tried again");
  }));

test("a server in trouble is asked again", () =>
  withPage({ [shards[0]]: { status: 503, times: 2 } }, async (page) => assert.deepEqual(await load(page), { code: "none" })));

test("wrong addresses say what was found there", () =>
  withPage({}, async (page) => {
    const nothing = await load(page, "/nowhere/");
    assert.equal(nothing.code, "fetch");
    assert.match(nothing.message, /nowhere\/manifest\.json.*404/);
    const web = await page.evaluate(async () => {
      const html = new File(["<!doctype html><title>hello</title>"], "manifest.json");
      return window.caught(OFA.load({ files: [html] }, { device: "cpu" }));
    });
    assert.equal(web.code, "manifest");
    assert.match(web.message, /web page/);
    assert.equal((await load(page, "http://[")).code, "fetch");
    const scheme = await load(page, "localhost:8080/x/?sig=secret");
    assert.equal(scheme.code, "fetch");
    assert.match(scheme.message, /^localhost:8080\/x\/: expected an address that begins with https/);
  }));

test("a web page where a file should be is told at once", () =>
  withPage({ [shards[0]]: { page: true } }, async (page, server) => {
    const error = await load(page);
    assert.equal(error.code, "fetch");
    assert.match(error.message, new RegExp(`${shards[0]}.*web page`));
    assert.equal(server.requests.filter(({ path }) => path.endsWith(shards[0])).length, 1, "it is not asked for again");
  }));

test("a bundle without image codes says so, whatever the server answers for what is not there", async () => {
  for (const fault of [{ page: true }, { status: 404 }]) {
    await withPage({ "vqgan/manifest.json": fault }, async (page) => {
      const error = await page.evaluate(async () => {
        const ofa = await OFA.load("/bundle/", { device: "cpu", cache: "none" });
        return window.caught(ofa.loadCodes().finally(() => ofa.dispose()));
      });
      assert.equal(error.code, "file");
      assert.match(error.message, /no image codes/);
    });
  }
});

test("the query of an address goes to every file, and into no message", () => {
  const query = "?sig=abc";
  return withPage({ ".json": { query }, ".safetensors": { query } }, async (page) => {
    assert.deepEqual(await load(page, `/bundle/${query}`), { code: "none" });
    assert.deepEqual(await load(page, `/bundle/manifest.json${query}`), { code: "none" });
    const error = await load(page, "/bundle/?sig=secret");
    assert.match(error.message, /bundle\/manifest\.json: the server answered 403/);
    // Another signature is the same bundle.
    await load(page, `/bundle/${query}`, { cache: "auto" });
    assert.equal(await page.evaluate((query) => OFA.isCached(`/bundle/${query}`), query), true);
    await page.evaluate(() => OFA.clearCache("/bundle/?sig=another"));
    assert.deepEqual(await page.evaluate(async () => (await (await caches.open("ofa-web-v1")).keys()).map(({ url }) => url)), []);
  });
});

test("a relative address is one from the page's base", () =>
  withPage({}, async (page) => {
    await page.evaluate(() => (document.head.innerHTML += '<base href="/">'));
    assert.deepEqual(await load(page, "bundle/"), { code: "none" });
  }));

test("a worker that is not where it should be is told, with what to do", () =>
  withPage({ "worker.js": { status: 404 } }, async (page) => {
    const error = await load(page);
    assert.equal(error.code, "fetch");
    assert.match(error.message, /ofa-web\/worker\.js.*bundler.*optimizeDeps/);
  }));

for (const [file, fault] of [["ofa.js", { status: 404 }], [WASM, { status: 404 }], [WASM, { page: true }]]) {
  test(`wasm/cpu/${file} that is not where it should be is told by its address (${Object.keys(fault)}), and a second try may find it`, () =>
    withPage({ [`wasm/cpu/${file}`]: { ...fault, times: 1 } }, async (page) => {
      const error = await load(page, "/bundle/", { worker: false });
      assert.equal(error.code, "fetch");
      assert.match(error.message, new RegExp(`^http.*/wasm/cpu/${file}: expected a file of the package ofa-web`));
      assert.deepEqual(await load(page, "/bundle/", { worker: false }), { code: "none" });
    }));
}

for (const [what, fault] of [["cut off", { cut: 1000 }], ["of another version", { flip: 0 }]]) {
  test(`a wasm file that is ${what} is fetched once more, and told by its address if that does not help`, () =>
    withPage({ [WASM]: { ...fault, times: 3 } }, async (page, server) => {
      const asked = () => server.requests.filter(({ path }) => path.endsWith(WASM)).length;
      const error = await load(page, "/bundle/", { worker: false });
      assert.equal(error.code, "fetch", error.message);
      assert.match(error.message, /^http.*\/wasm\/cpu\/ofa_relaxed_bg\.wasm: expected a file of the package ofa-web/);
      assert.equal(asked(), 2);
      assert.deepEqual(await load(page, "/bundle/", { worker: false }), { code: "none" });
      assert.equal(asked(), 4);
    }));
}

test("a browser without relaxed SIMD loads the file that does without", () =>
  withPage({}, async (page, server) => {
    await page.evaluate(() => { WebAssembly.validate = () => false; });
    assert.deepEqual(await load(page, "/bundle/", { worker: false }), { code: "none" });
    const fetched = server.requests.map(({ path }) => path).filter((path) => path.endsWith(".wasm"));
    assert.deepEqual(fetched, ["/ofa-web/ofa-web/wasm/cpu/ofa_bg.wasm"]);
  }));

test("a load in the page that is cancelled does not wait for the wasm", { timeout: 20_000 }, () =>
  withPage({}, async (page) => {
    await page.route(/_bg\.wasm/, () => undefined);
    const { code } = await page.evaluate(() =>
      window.caught(OFA.load("/bundle/", { device: "cpu", worker: false, signal: AbortSignal.timeout(300) })));
    assert.equal(code, "aborted");
  }));

test("where there are no workers, that is said, and what to do", async () => {
  const { OFA } = await import(join(www, "dist/ofa.js"));
  await assert.rejects(OFA.load("http://localhost/"), ({ code, message }) => code === "unsupported" && /`worker: false`.*Worker is not defined/.test(message));
});

test("a load is cancelled half way, and nothing goes on", () =>
  withPage(Object.fromEntries(shards.map((name) => [name, { delay: 60 }])), async (page, server) => {
    const error = await page.evaluate(() => {
      const controller = new AbortController();
      const onProgress = ({ phase, loaded, total }) => phase === "download" && loaded > total / 3 && controller.abort();
      return window.caught(OFA.load("/bundle/", { device: "cpu", cache: "none", signal: controller.signal, onProgress }));
    });
    assert.deepEqual([error.name, error.code], ["AbortError", "aborted"]);
    const before = server.requests.length;
    await page.waitForTimeout(500);
    assert.equal(server.requests.length, before);
    assert.equal(page.workers().length, 0, "no worker is left");
  }));

test("why a load was aborted is told, while bytes come and while the next try is awaited", () =>
  withPage({ [shards[0]]: { delay: 60 }, [shards[1]]: { status: 503 } }, async (page) => {
    const found = await page.evaluate(async () => {
      const reason = new Error("the tab was left");
      const told = [];
      for (const phase of ["compile", "download"]) {
        const controller = new AbortController();
        const onProgress = (progress) => progress.phase === phase && controller.abort(reason);
        const load = OFA.load("/bundle/", { device: "cpu", cache: "none", worker: false, signal: controller.signal, onProgress });
        told.push(await load.catch(({ code, cause }) => code === "aborted" && cause === reason));
      }
      const late = await window.caught(OFA.load("/bundle/", { device: "cpu", cache: "none", worker: false, signal: AbortSignal.timeout(500) }));
      return { told, late };
    });
    assert.deepEqual(found.told, [true, true]);
    assert.match(found.late.message, /longer than its signal allows/);
  }));

test("a page that cannot verify anything is told at once, before anything is fetched", () =>
  withPage({}, async (page, server) => {
    await page.evaluate(() => Object.defineProperty(crypto, "subtle", { value: undefined }));
    const error = await load(page, "/bundle/", { worker: false });
    assert.equal(error.code, "unsupported");
    assert.match(error.message, /only on https pages or localhost/);
    assert.deepEqual(server.requests.filter(({ path }) => path.startsWith("/bundle/")), []);
  }));

test("the second load comes from the cache, and the cache can be cleared", () =>
  withPage({}, async (page, server) => {
    const once = () => load(page, "/bundle/", { cache: "auto" });
    const cached = () => page.evaluate(() => OFA.isCached("/bundle/"));
    assert.equal(await cached(), false);
    await once();
    assert.equal(await cached(), true);
    const first = server.requests.length;
    await once();
    const again = server.requests.slice(first).map(({ path }) => path);
    assert.ok(again.every((path) => !path.endsWith(".safetensors")), `fetched again: ${again}`);
    await page.evaluate(() => OFA.clearCache("/bundle/"));
    assert.equal(await cached(), false);
  }));

test("without a network the model comes from the cache, if all of it is there", () =>
  withPage({}, async (page) => {
    const asked = [];
    const offline = () => page.route("**/bundle/**", (route) => {
      asked.push(route.request().url());
      return route.abort();
    });
    const here = { cache: "auto", worker: false };
    await load(page, "/bundle/", here);
    await offline();
    assert.deepEqual(await load(page, "/bundle/", here), { code: "none" });
    assert.equal(await page.evaluate(() => OFA.isCached("/bundle/")), true);
    assert.deepEqual(asked.map((url) => url.split("/").at(-1)), ["manifest.json", "manifest.json"], "nobody waits for another try");
    await page.evaluate(async () => {
      const cache = await caches.open("ofa-web-v1");
      const list = (await cache.keys()).find(({ url }) => url.includes("bundle?"));
      await cache.delete(`https://ofa-web.invalid/${(await (await cache.match(list)).json()).at(-1)}`);
    });
    assert.equal((await load(page, "/bundle/", here)).code, "fetch", "half a model is none");
  }));

test("whether a bundle is in the cache is answered at once without a network, and can be cancelled", { timeout: 20_000 }, () =>
  withPage({}, async (page) => {
    const isCached = (url, patience) => page.evaluate(([url, patience]) => {
      let cached;
      return window.caught(OFA.isCached(url, patience && { signal: AbortSignal.timeout(patience) }).then((answer) => { cached = answer; }))
        .then(({ code, message }) => (code === "none" ? cached : `${code}: ${message}`));
    }, [url, patience]);
    assert.match(await isCached("/nowhere/"), /^fetch: .*404/);
    assert.match(await isCached("/bundle/vqgan/"), /^manifest: .*tokenizer/);
    let asked = 0;
    await page.route("**/bundle/**", (route) => {
      asked++;
      return route.abort();
    });
    assert.equal(await isCached("/bundle/"), false);
    assert.equal(asked, 1, "nobody waits for another try");
    await page.unroute("**/bundle/**");
    await page.route("**/bundle/**", () => undefined);
    assert.match(await isCached("/bundle/", 100), /^aborted: .*longer than its signal allows/);
  }));

test("what a load leaves in the cache that failed before its first shard can be cleared", () =>
  withPage({ [WASM]: { status: 404 } }, async (page) => {
    const kept = () => page.evaluate(async () => (await (await caches.open("ofa-web-v1")).keys()).length);
    assert.equal((await load(page, "/bundle/", { cache: "auto", worker: false })).code, "fetch");
    // The small files come and are kept all the same.
    for (let waited = 0; waited < 5000 && (await kept()) < 3; waited += 50) await page.waitForTimeout(50);
    assert.ok((await kept()) >= 3);
    await page.evaluate(() => OFA.clearCache("/bundle/"));
    assert.equal(await kept(), 0);
  }));

test("what a bundle no longer has leaves the cache with the next load, unless another has it", () =>
  withPage({}, async (page) => {
    await load(page, "/bundle/", { cache: "auto" });
    const left = await page.evaluate(async () => {
      const cache = await caches.open("ofa-web-v1");
      const list = (await cache.keys()).find(({ url }) => url.includes("bundle?"));
      const hashes = await (await cache.match(list)).json();
      for (const old of ["old", "shared"]) await cache.put(`https://ofa-web.invalid/${old}`, new Response("bytes"));
      await cache.put(list, new Response(JSON.stringify([...hashes, "old", "shared"])));
      await cache.put(`${list.url}another`, new Response(JSON.stringify(["shared"])));
      await window.caught(OFA.load("/bundle/", { device: "cpu" }).then((ofa) => ofa.dispose()));
      const there = async (hash) => (await cache.match(`https://ofa-web.invalid/${hash}`)) !== undefined;
      return { old: await there("old"), shared: await there("shared"), own: await there(hashes[0]) };
    });
    assert.deepEqual(left, { old: false, shared: true, own: true });
  }));

/** The test bundle after somebody trained it on: its last shard is another. */
function changedBundle() {
  const directory = mkdtempSync(join(tmpdir(), "ofa-web-changed-"));
  cpSync(testBundle, directory, { recursive: true });
  const manifest = join(directory, "manifest.json");
  const json = JSON.parse(readFileSync(manifest, "utf8"));
  const entry = json.files.find(({ name }) => name === shards.at(-1));
  Object.assign(entry, { chunks: entry.chunks.map((hash) => hash.replace(/^./, (digit) => (digit === "0" ? "1" : "0"))) });
  writeFileSync(manifest, JSON.stringify(json));
  return directory;
}

test("a bundle that changed replaces the one in the cache only once all of it is there", async () => {
  const directory = changedBundle();
  try {
    await withPage({}, async (page) => {
      const here = { cache: "auto", worker: false };
      const hashes = () => page.evaluate(async () => {
        const cache = await caches.open("ofa-web-v1");
        return (await cache.match((await cache.keys()).find(({ url }) => url.includes("/bundle?")))).json();
      });
      await load(page, "/bundle/", here);
      const before = await hashes();
      await page.route("**/bundle/manifest.json", (route) => route.fulfill({ path: join(directory, "manifest.json") }));
      assert.equal(await page.evaluate(() => OFA.isCached("/bundle/")), false);
      await page.route(`**/bundle/${shards.at(-1)}`, (route) => route.fulfill({ status: 404 }));
      assert.equal((await load(page, "/bundle/", here)).code, "fetch");
      const during = await hashes();
      assert.deepEqual(before.filter((hash) => !during.includes(hash)), []);
      assert.ok(during.length > before.length, "what was begun is known, so that it can be cleared");
      await page.unroute("**/bundle/manifest.json");
      await page.route("**/bundle/**", (route) => route.abort());
      assert.deepEqual(await load(page, "/bundle/", here), { code: "none" });
      assert.deepEqual(await hashes(), before);
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("whether a bundle is in the cache is asked without leaving anything there", () =>
  withPage({}, async (page) => {
    assert.equal(await page.evaluate(() => OFA.isCached("/bundle/")), false);
    assert.deepEqual(await page.evaluate(async () => (await (await caches.open("ofa-web-v1")).keys()).map(({ url }) => url)), []);
  }));

test("a cache that may not be used, or whose entries cannot be read, is none", () =>
  withPage({}, async (page) => {
    const here = { cache: "auto", worker: false };
    await load(page, "/bundle/", here);
    await page.evaluate(() => {
      window.readable = Response.prototype.arrayBuffer;
      Response.prototype.arrayBuffer = () => Promise.reject(new TypeError("Failed to fetch"));
    });
    assert.deepEqual(await load(page, "/bundle/", here), { code: "none" });
    await page.evaluate(() => {
      Response.prototype.arrayBuffer = window.readable;
      // As in a sandboxed frame.
      Object.defineProperty(window, "caches", { get() { throw new DOMException("no access", "SecurityError"); } });
    });
    assert.deepEqual(await load(page, "/bundle/", here), { code: "none" });
    assert.equal(await page.evaluate(() => OFA.isCached("/bundle/")), false);
    assert.equal(await page.evaluate(() => OFA.clearCache("/bundle/").then(() => "cleared")), "cleared");
  }));

test("what a cut load had verified is not fetched again by the next page", () =>
  withPage({ [shards.at(-1)]: { status: 404, times: 1 } }, async (page, server) => {
    assert.equal((await load(page, "/bundle/", { cache: "auto" })).code, "fetch");
    await page.waitForTimeout(300);
    const first = server.requests.length;
    assert.deepEqual(await load(page, "/bundle/", { cache: "auto" }), { code: "none" });
    const again = server.requests.slice(first).filter(({ path }) => path.endsWith(shards[0]) );
    assert.deepEqual(again, []);
  }));

test("a folder of files loads without a network", () =>
  withPage({}, async (page, server) => {
    const names = readdirSync(testBundle);
    const found = await page.evaluate(async (names) => {
      const files = await Promise.all(names.map(async (name) => new File([await (await fetch(`/bundle/${name}`)).blob()], name)));
      const ofa = await OFA.load({ files }, { device: "cpu" });
      const { parameters } = ofa.info;
      await ofa.dispose();
      const missing = await window.caught(OFA.load({ files: files.filter(({ name }) => !name.startsWith("model-00002")) }, { device: "cpu" }));
      return { parameters, missing };
    }, names);
    assert.ok(found.parameters > 0);
    assert.equal(found.missing.code, "fetch");
    assert.match(found.missing.message, /model-00002.*not among/);
    assert.ok(server.requests.length > 0);
  }));

test("files are told apart by their paths, which the page knows or is told", () =>
  withPage({}, async (page) => {
    const names = readdirSync(testBundle, { recursive: true }).map(String).filter((name) => name.includes("."));
    const found = await page.evaluate(async (names) => {
      const pairs = await Promise.all(names.map(async (name) => [`some/folder/${name}`, await (await fetch(`/bundle/${name}`)).blob()]));
      const bare = pairs.map(([path, blob]) => new File([blob], path.split("/").at(-1)));
      // A property of the page's object does not reach the worker, as in Safari.
      const picked = bare.map((file, index) => Object.defineProperty(new File([file], file.name), "webkitRelativePath", { value: pairs[index][0] }));
      const load = async (files) => {
        const ofa = await OFA.load({ files }, { device: "cpu" });
        await ofa.loadCodes().finally(() => ofa.dispose());
      };
      const outcome = (files) => window.caught(load(files));
      return { told: await outcome(pairs), picked: await outcome(picked), bare: await outcome(bare), wrong: await outcome([null]) };
    }, names);
    assert.deepEqual([found.told, found.picked], [{ code: "none" }, { code: "none" }]);
    assert.equal(found.bare.code, "option");
    assert.match(found.bare.message, /found manifest\.json and manifest\.json.*\[path, file\]/);
    assert.match(found.wrong.message, /expected each as a File or as \[path, file\], found null/);
  }));

test("hundreds of damaged manifests end in an error that says so, or in the right model", { timeout: 120_000 }, () =>
  withPage({}, async (page) => {
    const outcome = await page.evaluate(async (names) => {
      const files = new Map(await Promise.all(names.map(async (name) => [name, await (await fetch(`/bundle/${name}`)).text()])));
      const text = files.get("manifest.json");
      let state = 12345;
      const random = (below) => (state = (state * 1103515245 + 12345) & 0x7fffffff) % below;
      const mutate = () => {
        const at = random(text.length);
        const cut = [text.slice(0, at), text.slice(at + 1 + random(20))];
        return [cut[0], cut.join(""), cut.join(String.fromCharCode(32 + random(95))), cut.join("-1"), cut.join("9e99"), cut.join('"../../x"')][random(6)];
      };
      const codes = {};
      for (let round = 0; round < 300; round++) {
        const manifest = new File([mutate()], "manifest.json");
        // Without the other files a manifest that passes fails to be fetched: nothing heavy runs.
        const { code } = await window.caught(OFA.load({ files: [manifest] }, { device: "cpu", worker: false }));
        codes[code] = (codes[code] ?? 0) + 1;
      }
      return codes;
    }, ["manifest.json"]);
    assert.deepEqual(Object.keys(outcome).filter((code) => !["manifest", "fetch"].includes(code)), [], JSON.stringify(outcome));
    assert.ok(outcome.manifest > 150, JSON.stringify(outcome));
  }));
