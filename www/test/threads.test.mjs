// Several threads on the CPU, in pages that are cross-origin isolated.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ISOLATED } from "../scripts/serve.mjs";
import { inBlank, startBrowser } from "./harness.mjs";

let browser;
before(async () => { browser = await startBrowser(); });
after(() => browser.close());

const WASM = "ofa_threads_relaxed_bg.wasm";
/** More than one answer, so that members sleep and wake between them. */
const ANSWERS = 3;

const withPage = (body, { headers = ISOLATED, faults } = {}) => inBlank(browser, { faults, headers }, body);

/** Loads with `options`, asks, and says what was answered by how many threads. */
const ask = (page, options) => page.evaluate(async ([options, count]) => {
  const ofa = await OFA.load("/bundle/", { device: "cpu", cache: "none", ...options });
  // Members come when they come.
  const wanted = crossOriginIsolated ? options.threads : 1;
  let threads = 1;
  for (let waited = 0; threads < wanted && waited < 100; waited++) {
    ({ device: { threads } } = await ofa.refreshInfo());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const answers = [];
  for (let asked = 0; asked < count; asked++) {
    const { text, score } = await ofa.caption("/golden/tiny/raw_0.png", { numBeams: 3 });
    answers.push({ text, score });
  }
  await ofa.dispose();
  return { threads, answers };
}, [options, ANSWERS]);

const wasmOf = (server) => server.requests.map(({ path }) => path.split("/").at(-1)).filter((name) => name.endsWith(".wasm"));

for (const worker of [true, false]) {
  test(`answers are the same to the last digit, with one thread and with three, ${worker ? "in a worker" : "in the page"}`, () =>
    withPage(async (page, server) => {
      const alone = await ask(page, { worker, threads: 1 });
      assert.equal(alone.threads, 1);
      const together = await ask(page, { worker, threads: 3 });
      assert.equal(together.threads, 3);
      assert.deepEqual(together.answers, alone.answers);
      assert.deepEqual(wasmOf(server), ["ofa_relaxed_bg.wasm", WASM]);
    }));
}

test("a page that is not isolated has one thread, whatever it asks for", () =>
  withPage(async (page, server) => {
    assert.equal((await ask(page, { threads: 3 })).threads, 1);
    assert.deepEqual(wasmOf(server), ["ofa_relaxed_bg.wasm"]);
  }, { headers: {} }));

test("an isolated page has as many as the processor, four at most", () =>
  withPage(async (page) => {
    const threads = await page.evaluate(async () => {
      const ofa = await OFA.load("/bundle/", { device: "cpu", cache: "none" });
      let info = ofa.info;
      for (let waited = 0; info.device.threads < Math.min(4, navigator.hardwareConcurrency) && waited < 100; waited++) {
        info = await ofa.refreshInfo();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await ofa.dispose();
      return [info.device.threads, Math.min(4, navigator.hardwareConcurrency)];
    });
    assert.equal(threads[0], threads[1]);
  }));

test("wrong numbers of threads are refused", () =>
  withPage(async (page) => {
    for (const threads of [0, 1.5, "2", -1, 65]) {
      const error = await page.evaluate((threads) => window.caught(OFA.load("/bundle/", { device: "cpu", threads })), threads);
      assert.equal(error.code, "option");
      assert.match(error.message, /^threads: expected a whole number from 1 to 64, found/);
    }
  }));

test("the model works without threads whose script is missing", () =>
  withPage(async (page) => {
    const { threads, answers } = await ask(page, { threads: 2 });
    assert.equal(threads, 1);
    assert.equal(answers.length, ANSWERS);
  }, { faults: { "member.js": { status: 404 } } }));

test("the model works without threads where no memory can be shared", () =>
  withPage(async (page, server) => {
    await page.evaluate(() => {
      const { Memory } = WebAssembly;
      WebAssembly.Memory = function (options) {
        if (options.shared) throw new RangeError("could not allocate memory");
        return new Memory(options);
      };
    });
    assert.equal((await ask(page, { worker: false, threads: 2 })).threads, 1);
    assert.deepEqual(wasmOf(server), ["ofa_relaxed_bg.wasm"]);
  }));

test("the model works without threads where no worker can be started", () =>
  withPage(async (page) => {
    await page.evaluate(() => {
      window.Worker = class {
        constructor() {
          throw new DOMException("not from here", "SecurityError");
        }
      };
    });
    assert.equal((await ask(page, { worker: false, threads: 2 })).threads, 1);
  }));

test("each model of a page tells its own threads, and more come when they are asked for", () =>
  withPage(async (page) => {
    for (const threads of [2, 3, 1]) assert.equal((await ask(page, { worker: false, threads })).threads, threads);
  }));

test("a thread that traps ends the model with an error, and the next load has a new one", () =>
  withPage(async (page) => {
    const error = await page.evaluate(async () => {
      // A stack of nothing.
      const { postMessage } = Worker.prototype;
      Worker.prototype.postMessage = function (message) {
        postMessage.call(this, { ...message, stack: 0 });
      };
      // It may trap while the model is still loading, or come late.
      const asked = async () => {
        const ofa = await OFA.load("/bundle/", { device: "cpu", cache: "none", worker: false, threads: 2 });
        for (const began = performance.now(); performance.now() - began < 10_000;) await ofa.caption("/golden/tiny/raw_0.png");
      };
      const error = await window.caught(asked());
      Worker.prototype.postMessage = postMessage;
      return error;
    });
    assert.equal(error.code, "internal");
    assert.match(error.message, /^the model stopped/);
    assert.equal((await ask(page, { worker: false, threads: 2 })).threads, 2);
  }));

test("threads leave with their model, though they sleep", () =>
  withPage(async (page) => {
    await page.evaluate(async () => {
      window.ofa = await OFA.load("/bundle/", { device: "cpu", cache: "none", threads: 3 });
    });
    const workers = async (count, patience) => {
      for (let waited = 0; page.workers().length !== count && waited < patience; waited += 10) await page.waitForTimeout(10);
      assert.equal(page.workers().length, count, page.workers().map((worker) => worker.url()).join());
    };
    await workers(3, 5000);
    // Long enough that they sleep.
    await page.waitForTimeout(200);
    await page.evaluate(() => ofa.dispose());
    // By force Chromium ends what sleeps, but after two seconds.
    await workers(0, 1000);
  }));

test("answers of several threads leave memory flat", () =>
  withPage(async (page) => {
    const [before, after] = await page.evaluate(async () => {
      const ofa = await OFA.load("/bundle/", { device: "cpu", cache: "none", worker: false, threads: 3 });
      const { memory } = await (await import("/ofa-web/ofa-web/wasm/cpu/ofa_threads.js")).default();
      const ask = async (count) => {
        for (let asked = 0; asked < count; asked++) await ofa.caption("/golden/tiny/raw_0.png");
        return memory.buffer.byteLength;
      };
      const grown = [await ask(5), await ask(50)];
      await ofa.dispose();
      return grown;
    });
    assert.equal(after, before, "the wasm's memory grew");
  }));
