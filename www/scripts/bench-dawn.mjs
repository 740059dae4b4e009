// Ours beside onnxruntime-web on a real GPU of a machine without a browser: in Node, on Dawn, which is Chromium's WebGPU.
//
// node scripts/bench-dawn.mjs GRAPHS ORT BUNDLES PICTURE DAWN [--rounds N] [--length N]
//
// GRAPHS and BUNDLES hold a folder a precision, ORT is the `dist` of onnxruntime-web, PICTURE 256 x 256 pixels of RGBA,
// DAWN the folder of the npm package `webgpu`. The sides take turns; the last line is one JSON object of medians.
import { readFileSync } from "node:fs";
import { register } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "15" }, length: { type: "string", default: "12" } },
});
const [graphs, ort, bundles, picture, dawn] = positionals.map((path) => resolve(path));
const [rounds, length] = [Number(values.rounds), Number(values.length)];
const scripts = dirname(fileURLToPath(import.meta.url));
const roots = { "/ofa-web/": join(scripts, "../dist-demo/ofa-web/"), "/bundle/": `${bundles}/`, "/graphs/": `${graphs}/` };
globalThis.PEER = pathToFileURL(`${ort}/`).href;
const place = (path) => {
  const root = Object.keys(roots).find((prefix) => path.startsWith(prefix));
  return root ? roots[root] + path.slice(root.length) : path;
};

// The page's modules and files, by the paths that its server would give them.
const hook = `let roots; export const initialize = (data) => { roots = data; };
export const resolve = (name, context, next) => {
  const root = Object.keys(roots).find((prefix) => name.startsWith(prefix));
  return next(root ? roots[root] + name.slice(root.length) : name, context);
};`;
const urls = Object.fromEntries(Object.entries(roots).map(([root, path]) => [root, pathToFileURL(path).href]));
register(`data:text/javascript,${encodeURIComponent(hook)}`, { parentURL: import.meta.url, data: urls });
globalThis.fetch = async (input) => {
  const path = place(decodeURIComponent(new URL(input.url ?? input, "file:///").pathname));
  const type = path.endsWith(".wasm") ? "application/wasm" : "application/octet-stream";
  try {
    const bytes = readFileSync(path);
    return new Response(bytes, { headers: { "content-type": type, "content-length": String(bytes.length) } });
  } catch {
    return new Response("", { status: 404 });
  }
};

// What a page has and Node has not.
const { create, globals } = await import(pathToFileURL(join(dawn, "index.js")).href);
Object.assign(globalThis, globals);
const gpu = create([]);
Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "node" }, configurable: true });
const origin = "file://";
Object.assign(globalThis, { self: globalThis, window: globalThis, Window: class {}, location: { origin, href: `${origin}/` }, addEventListener() {}, removeEventListener() {} });
const pixels = new Uint8ClampedArray(readFileSync(picture));
const SIDE = 256;
globalThis.ImageData = class ImageData {
  constructor(data, width, height) {
    Object.assign(this, { data, width, height });
  }
  get [Symbol.toStringTag]() {
    return "ImageData";
  }
};
globalThis.createImageBitmap = async () => ({ width: SIDE, height: SIDE, close() {} });
globalThis.OffscreenCanvas = class {
  getContext() {
    return { drawImage() {}, getImageData: () => new ImageData(pixels, SIDE, SIDE) };
  }
};
// Dawn for Node takes no views of shared memory, which onnxruntime-web's is.
const { writeBuffer } = globals.GPUQueue.prototype;
globals.GPUQueue.prototype.writeBuffer = function (buffer, offset, data, from = 0, size) {
  const memory = data.buffer ?? data;
  if (!(memory instanceof SharedArrayBuffer)) return writeBuffer.apply(this, arguments);
  const each = data.BYTES_PER_ELEMENT ?? 1;
  const view = new Uint8Array(memory, (data.byteOffset ?? 0) + from * each, size === undefined ? undefined : size * each);
  return writeBuffer.call(this, buffer, offset, view.slice());
};
// Work of the GPU alone does not keep Node alive.
const alive = setInterval(() => {}, 1);

const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
if (!adapter) throw new Error("no GPU: Vulkan finds no driver (VK_DRIVER_FILES names one)");
console.log(`adapter: ${adapter.info.description || adapter.info.device}`);

const page = await import("./peer-page.mjs");
const memory = page.watchMemory();
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const results = {};
for (const precision of ["f32", "q8"]) {
  const sides = {};
  const found = (results[precision] = {});
  const loaders = { ours: () => page.ours(`/bundle/${precision}/`, "webgpu", new ImageData(pixels, SIDE, SIDE)) };
  // Their 8-bit operators do not run on WebGPU.
  if (precision === "f32") loaders.theirs = () => page.theirs(`/graphs/${precision}/`, "webgpu", picture);
  for (const [name, load] of Object.entries(loaders)) {
    const [before, began] = [memory().gpu, performance.now()];
    const side = (sides[name] = await load());
    const times = [performance.now()];
    for (let caption = 0; caption < 2; caption++) {
      await side.caption();
      times.push(performance.now());
    }
    found[name] = {
      loadMs: times[0] - began, coldMs: times[1] - times[0], warmMs: times[2] - times[1], gpuMB: (memory().gpu - before) / 1e6,
      encoder: [], token: [], beam5: [],
    };
  }
  for (let round = 0; round < rounds; round++) {
    for (const [name, side] of Object.entries(sides)) {
      const encoderMs = await side.encode();
      const one = await side.decode(1, length);
      const five = await side.decode(5, length);
      found[name].encoder.push(encoderMs + one.before);
      found[name].token.push(one.token);
      found[name].beam5.push(five.token);
      found[name].tokens = one.tokens.join();
    }
  }
  if (found.theirs && found.theirs.tokens !== found.ours.tokens) console.log(`The answers differ: ours ${found.ours.tokens}, theirs ${found.theirs.tokens}`);
  for (const [name, { tokens: _, ...side }] of Object.entries(found)) {
    found[name] = Object.fromEntries(Object.entries(side).map(([key, value]) => [key, Number((Array.isArray(value) ? median(value) : value).toPrecision(4))]));
    console.log(precision, name, JSON.stringify(found[name]));
  }
}
clearInterval(alive);
console.log(JSON.stringify(results));
process.exit(0);
