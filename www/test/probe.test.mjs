// Which device is taken, and why.
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, hosted, openBlank, server, www } from "./harness.mjs";

hosted();

/** Runs `body` in a page whose GPU says that it is a real one. */
async function withGpu(body) {
  const page = await openBlank(browser, server);
  await page.evaluate(() => {
    const info = { vendor: "acme", architecture: "gen1", device: "", description: "Acme GPU", isFallbackAdapter: false };
    Object.defineProperty(GPUAdapter.prototype, "info", { configurable: true, get: () => info });
  });
  await body(page);
  await page.context().close();
}

test("a GPU that cannot be opened leaves the CPU, unless it was asked for", { timeout: 60_000 }, () =>
  withGpu(async (page) => {
    const [device, error] = await page.evaluate(async () => {
      GPUAdapter.prototype.requestDevice = () => Promise.reject(new DOMException("device creation failed", "OperationError"));
      const ofa = await OFA.load("/bundle/", { worker: false });
      await ofa.caption("/golden/tiny/raw_0.png");
      await ofa.dispose();
      return [ofa.info.device, await window.caught(OFA.load("/bundle/", { worker: false, device: "webgpu" }))];
    });
    assert.equal(device.kind, "cpu");
    assert.match(device.reason, /Acme GPU.*cannot be opened.*device creation failed/);
    assert.equal(error.code, "device");
  }));

test("a browser that does not describe its GPU is taken at its word", () =>
  withGpu(async (page) => {
    const found = await page.evaluate(() => {
      delete GPUAdapter.prototype.info;
      return OFA.probe();
    });
    assert.deepEqual(found, { kind: "webgpu", name: "unnamed adapter" });
  }));

test("a device that there is none of is an error that lists those there are", () =>
  withGpu(async (page) => {
    for (const call of ['OFA.probe("gpu")', 'OFA.load("/bundle/", { device: "gpu" })']) {
      const error = await page.evaluate((call) => window.caught(eval(call)), call);
      assert.equal(error.code, "option", call);
      assert.match(error.message, /expected one of auto, webgpu, cpu, found gpu/);
    }
  }));

test("Node has no GPU", async () => {
  const { OFA } = await import(`${www}dist/ofa.js`);
  const { kind, reason } = await OFA.probe();
  assert.equal(kind, "cpu");
  assert.match(reason, /no WebGPU/);
});
