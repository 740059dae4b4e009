// Ours beside onnxruntime-web: one Chromium, one run, the same weights and picture, round by round in turns.
//
// node scripts/bench-peer.mjs GRAPHS ORT BUNDLES [--devices cpu,webgpu] [--precisions f32,q8] [--rounds N] [--clock thread] [--threads N]
//
// GRAPHS and BUNDLES hold a folder a precision, ORT is the `dist` of onnxruntime-web. The last line is one JSON object:
// medians of ours ÷ theirs in f32 and what WebGPU was asked for. On a busy machine `--clock thread` compares the processor
// time of the page's thread on the CPU path, not the time that passes. With `--threads` both have as many on the CPU, in a page
// that is cross-origin isolated.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "./browser.mjs";
import { ISOLATED, serve } from "./serve.mjs";

const www = fileURLToPath(new URL("..", import.meta.url));
const PICTURE = "/golden/tiny/resized_0_256x256.png";
/** A software adapter needs a minute for the peer's encoder and seconds for a step. */
const EFFORT = { cpu: { rounds: 7, length: 12 }, webgpu: { rounds: 2, length: 4 } };

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const rounded = (value, digits = 3) => Number(value.toPrecision(digits));

function option(name, fallback) {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : process.argv[at + 1];
}

const [graphs, ort, bundles] = process.argv.slice(2);
const devices = option("devices", "cpu,webgpu").split(",");
const precisions = option("precisions", "f32,q8").split(",");
const threads = Number(option("threads", 1));
const byThread = option("clock", "wall") === "thread";

/** Runs in the page. */
async function measure({ device, precision, picture, rounds, length, threads, graphs: hasGraphs }) {
  const page = await import("/bench/peer-page.mjs");
  const memory = page.watchMemory();
  const grown = async (work) => {
    const [before, started] = [memory(), performance.now()];
    const value = await work();
    const after = memory();
    return [value, performance.now() - started, { wasm: after.wasm - before.wasm, gpu: after.gpu - before.gpu }];
  };
  const sides = {};
  const result = {};
  for (const [name, load, paths] of [
    ["ours", () => page.ours(`/bundle/${precision}/`, device, picture, threads), ["/ofa-web/", `/bundle/${precision}/`]],
    ["theirs", () => page.theirs(`/graphs/${precision}/`, device, picture, threads), ["/ort/", `/graphs/${precision}/`]],
  ]) {
    if (name === "theirs" && !hasGraphs) continue;
    const [side, loadMs, loaded] = await grown(load);
    const [, coldMs, worked] = await grown(side.caption);
    const started = performance.now();
    await side.caption();
    sides[name] = side;
    result[name] = {
      encoder: [], token: [], beam5: [], loadMs, coldMs, warmMs: performance.now() - started, downloaded: page.downloaded(paths),
      memory: { wasm: loaded.wasm + worked.wasm, gpu: loaded.gpu + worked.gpu },
    };
  }
  const { counters } = sides.ours;
  for (let round = 0; round < rounds; round++) {
    for (const [name, side] of Object.entries(sides)) {
      const into = result[name];
      const timed = async (work) => {
        const started = await window.threadTime?.();
        const value = await work();
        return [value, (await window.threadTime?.()) - started];
      };
      await counters();
      const [encoderMs, encoderTime] = await timed(() => side.encode());
      const encoder = await counters();
      const [one, oneTime] = await timed(() => side.decode(1, length));
      const whole = await counters();
      const [, shorterTime] = await timed(() => side.decode(1, length - 2));
      const shorter = await counters();
      const [five, fiveTime] = await timed(() => side.decode(5, length));
      await counters();
      if (window.threadTime) {
        const [, shortTime] = await timed(() => side.decode(1, 2));
        const [, shortFiveTime] = await timed(() => side.decode(5, 2));
        const token = (oneTime + shorterTime - 2 * shortTime) / (2 * length - 6);
        into.token.push(token);
        into.beam5.push((fiveTime - shortFiveTime) / (length - 2));
        // What an answer of ours does before its first step: two tokens take three steps.
        into.encoder.push(encoderTime + (name === "ours" ? Math.max(0, shortTime - 3 * token) : 0));
      } else {
        into.encoder.push(encoderMs + one.before);
        into.token.push(one.token);
        into.beam5.push(five.token);
      }
      into.tokens = one.tokens;
      // Two answers that differ in nothing but two steps.
      const step = (name) => Math.round((whole[name] - shorter[name]) / 2);
      into.calls = {
        step: { dispatches: step("dispatches"), pipelines: step("pipelines"), buffers: step("buffers"), readbacks: step("readbacks"), readbackBytes: step("readbackBytes") },
        // What an answer does before its first step belongs to the encoder. Its steps are one more than its tokens.
        encoder: { dispatches: encoder.dispatches + Math.max(0, whole.dispatches - (length + (name === "ours" ? 1 : 0)) * step("dispatches")) },
      };
    }
  }
  await Promise.all(Object.values(sides).map((side) => side.dispose()));
  return result;
}

/** Milliseconds of processor time that the page's main thread has taken. */
async function exposeThreadTime(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  await page.exposeFunction("threadTime", async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    return 1e3 * metrics.find(({ name }) => name === "ThreadTime").value;
  });
}

const server = await serve({
  "/": join(www, "dist-demo"), "/pages/": join(www, "test/pages"), "/bench/": join(www, "scripts"), "/golden/": join(www, "../tests/golden"),
  "/bundle/": bundles, "/graphs/": graphs, "/ort/": ort,
}, threads > 1 ? { headers: ISOLATED } : {});
const browser = await launch();
const results = {};
try {
  for (const device of devices) {
    for (const precision of precisions) {
      const page = await browser.newPage();
      page.on("pageerror", (error) => console.error(`page: ${error.message}`));
      await page.goto(`${server.url}pages/blank.html`);
      if (byThread && device === "cpu") await exposeThreadTime(page);
      const effort = EFFORT[device];
      // Their 8-bit operators do not run on WebGPU.
      const withPeer = existsSync(join(graphs, precision)) && (device === "cpu" || precision === "f32");
      const rounds = Number(option("rounds", effort.rounds));
      const found = await page.evaluate(measure, { device, precision, picture: PICTURE, ...effort, rounds, threads, graphs: withPeer });
      (results[device] ??= {})[precision] = found;
      print(device, precision, found);
      await page.close();
    }
  }
} finally {
  await browser.close();
  await server.close();
}

function print(device, precision, { ours, theirs }) {
  const MB = 1e6;
  const rows = [
    ["encoder with stem, ms", (side) => median(side.encoder)],
    ["greedy token, ms", (side) => median(side.token)],
    ["beam-5 token, ms", (side) => median(side.beam5)],
    ["load, ms", (side) => side.loadMs],
    ["first caption, cold, ms", (side) => side.coldMs],
    ["caption, warm, ms", (side) => side.warmMs],
    ["downloaded, MB", (side) => side.downloaded / MB],
    ["WebAssembly memory, MB", (side) => side.memory.wasm / MB],
    ...(device === "webgpu" ? [
      ["GPU buffers, MB", (side) => side.memory.gpu / MB],
      ["dispatches, encoder", (side) => side.calls.encoder.dispatches],
      ["dispatches, step", (side) => side.calls.step.dispatches],
      ["readback, bytes a step", (side) => side.calls.step.readbackBytes],
    ] : []),
  ];
  console.log(`\n${`${device}, ${precision}`.padEnd(26)}${["ours", "theirs", "ratio"].map((head) => head.padStart(10)).join("")}`);
  for (const [label, pick] of rows) {
    const [mine, other] = [pick(ours), theirs && pick(theirs)];
    const cells = [mine, other, other ? mine / other : undefined].map((value) => (value === undefined ? "–" : String(rounded(value))).padStart(10));
    console.log(label.padEnd(26) + cells.join(""));
  }
  if (theirs && precision === "f32" && ours.tokens.join() !== theirs.tokens.join()) {
    console.log(`The answers differ: ours ${ours.tokens}, theirs ${theirs.tokens}`);
  }
}

/** Medians of ours ÷ theirs, a key a stage. */
function ratios({ ours, theirs } = {}) {
  if (!theirs) return undefined;
  return Object.fromEntries(["encoder", "token", "beam5"].map((stage) => [stage, rounded(median(ours[stage]) / median(theirs[stage]))]));
}

const calls = results.webgpu?.f32?.ours.calls;
console.log(JSON.stringify({
  webgpu: ratios(results.webgpu?.f32), cpu: ratios(results.cpu?.f32), cpu_q8: ratios(results.cpu?.q8),
  dispatches: calls && { encoder: calls.encoder.dispatches, step: calls.step.dispatches },
  readback_bytes_per_step: calls?.step.readbackBytes,
}));
