// What runs in the page of `make bench-peer`: OFA here and onnxruntime-web with the same weights, behind one interface.

/** ` what does the image describe?`, as the vocabulary of the bench has it. */
const SOURCE = [0, 99, 473, 5, 2274, 6190, 116, 2];
const [PAD, EOS] = [1, 2];
const [VOCABULARY, HEADS, DEPTH, LAYERS] = [59457, 4, 64, 4];
const EACH = [...Array(LAYERS).keys()].flatMap((layer) => ["k", "v"].map((kind) => `${kind}${layer}`));

/** Where onnxruntime-web lies; in Node, where there is no server, a folder. */
const PEER = globalThis.PEER ?? "/ort/";

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const now = () => performance.now();

/** Bytes of WebAssembly memories and of GPU buffers that exist, whoever made them. */
export function watchMemory() {
  const memories = new Set();
  let gpu = 0;
  const seen = (result) => {
    for (const value of Object.values((result.instance ?? result).exports)) if (value instanceof WebAssembly.Memory) memories.add(value);
    return result;
  };
  for (const name of ["instantiate", "instantiateStreaming"]) {
    const original = WebAssembly[name];
    WebAssembly[name] = (...args) => original(...args).then(seen);
  }
  WebAssembly.Memory = new Proxy(WebAssembly.Memory, {
    construct(target, args) {
      const memory = new target(...args);
      memories.add(memory);
      return memory;
    },
  });
  if (globalThis.GPUDevice) {
    const { createBuffer } = GPUDevice.prototype;
    GPUDevice.prototype.createBuffer = function (descriptor) {
      gpu += descriptor.size;
      return createBuffer.call(this, descriptor);
    };
    const { destroy } = GPUBuffer.prototype;
    GPUBuffer.prototype.destroy = function () {
      gpu -= this.size;
      return destroy.call(this);
    };
  }
  return () => ({ wasm: [...memories].reduce((sum, memory) => sum + memory.buffer.byteLength, 0), gpu });
}

/** Bytes of answers to requests below these paths. */
export function downloaded(paths) {
  const here = (name) => paths.some((path) => new URL(name).pathname.startsWith(path));
  return performance.getEntriesByType("resource").filter(({ name }) => here(name)).reduce((sum, entry) => sum + entry.encodedBodySize, 0);
}

/** OFA here. The counters see every call of this realm into WebGPU, the peer's too. */
export async function ours(bundle, device, picture, threads) {
  const { OFA } = await import("/ofa-web/ofa.js");
  const ofa = await OFA.load(bundle, { device, threads, worker: false, cache: "none", counters: true });
  const counters = async () => (await ofa.refreshInfo()).counters;
  let image;
  return {
    counters,
    /** Stem and encoder; what an answer prepares before its first step is added by `decode`. */
    async encode() {
      await image?.free();
      const started = now();
      image = await ofa.encodeImage(picture);
      return now() - started;
    },
    async decode(numBeams, length) {
      const times = [];
      const onToken = () => times.push(now());
      const answer = await ofa.caption(image, { numBeams, minLen: length, maxLen: length, noRepeatNgramSize: 0, onToken });
      const { encoderMs, decodeMs, steps } = answer.timings;
      const token = median(times.slice(1).map((time, index) => time - times[index]));
      return { tokens: answer.tokens.slice(0, length), token, before: encoderMs + Math.max(0, decodeMs - steps * token) };
    },
    caption: () => ofa.caption(picture, { numBeams: 5, minLen: 8, maxLen: 8, noRepeatNgramSize: 0 }),
    dispose: () => ofa.dispose(),
  };
}

/** onnxruntime-web with the graphs of `directory`. */
export async function theirs(directory, device, picture, threads) {
  const gpu = device === "webgpu";
  const ort = await import(`${PEER}${gpu ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs"}`);
  ort.env.wasm.wasmPaths = PEER;
  ort.env.wasm.numThreads = threads;
  const load = async (name, location) => {
    const file = new Uint8Array(await (await fetch(`${directory}${name}.onnx`)).arrayBuffer());
    const executionProviders = [gpu ? "webgpu" : "wasm"];
    return ort.InferenceSession.create(file, { executionProviders, ...(gpu ? { preferredOutputLocation: location } : {}) });
  };
  const encoder = await load("encoder", "gpu-buffer");
  const step = await load("step", Object.fromEntries(EACH.map((name) => [`new_${name}`, "gpu-buffer"])));
  const ints = (values, shape) => new ort.Tensor("int64", BigInt64Array.from(values.map(BigInt)), shape);
  const pixels = await normalised(picture);
  let encoded = {};

  async function encode() {
    const started = now();
    const outputs = await encoder.run({ image: new ort.Tensor("float32", pixels, [1, 3, 256, 256]), source: ints(SOURCE, [1, SOURCE.length]) });
    if (gpu) await ort.env.webgpu.device.queue.onSubmittedWorkDone();
    const took = now() - started;
    for (const tensor of Object.values(encoded)) tensor.dispose();
    encoded = outputs;
    return took;
  }

  async function decode(beams, length) {
    let own = Object.fromEntries(EACH.map((name) => [`own_${name}`, new ort.Tensor("float32", new Float32Array(0), [beams, HEADS, 0, DEPTH])]));
    let rows = Array.from({ length: beams }, (_, beam) => ({ token: 0, parent: beam, score: beam ? -1e9 : 0, tokens: [] }));
    const times = [];
    for (let position = 0; position < length; position++) {
      const started = now();
      const outputs = await step.run({
        tokens: ints(rows.map((row) => row.token), [beams, 1]), position: ints([position], [1]),
        parents: ints(rows.map((row) => row.parent), [beams]), ...encoded, ...own,
      });
      const logits = await outputs.logits.getData();
      const found = beams === 1 ? [greedy(logits)] : rows.flatMap((row, parent) =>
        best(logits.subarray(parent * VOCABULARY, (parent + 1) * VOCABULARY), 2 * beams).map(({ token, score }) => ({ token, parent, score: row.score + score })));
      rows = found.sort((a, b) => b.score - a.score).slice(0, beams).map((next) => ({ ...next, tokens: [...rows[next.parent].tokens, next.token] }));
      for (const tensor of [outputs.logits, ...Object.values(own)]) tensor.dispose();
      own = Object.fromEntries(EACH.map((name) => [`own_${name}`, outputs[`new_${name}`]]));
      times.push(now() - started);
    }
    for (const tensor of Object.values(own)) tensor.dispose();
    return { tokens: rows[0].tokens, token: median(times.slice(1)), before: 0 };
  }

  return {
    encode,
    decode,
    caption: async () => {
      await encode();
      return decode(5, 9);
    },
    dispose: () => Promise.all([encoder.release(), step.release()]),
  };
}

/** `[3, 256, 256]` from -1 to 1. */
async function normalised(picture) {
  const bitmap = await createImageBitmap(await (await fetch(picture)).blob());
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const plane = data.length / 4;
  return Float32Array.from({ length: 3 * plane }, (_, index) => data[(index % plane) * 4 + Math.floor(index / plane)] / 127.5 - 1);
}

/** Neither padding, BOS nor EOS: all answers of the bench are of one length. */
function greedy(logits) {
  let token = EOS + 1;
  for (let id = token; id < VOCABULARY; id++) if (logits[id] > logits[token]) token = id;
  return { token, parent: 0, score: 0 };
}

/** The `count` best tokens and their log-probabilities. */
function best(logits, count) {
  let greatest = -Infinity;
  for (const logit of logits) if (logit > greatest) greatest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - greatest);
  const shift = greatest + Math.log(sum);
  const kept = [];
  for (let token = PAD + 2; token < VOCABULARY; token++) {
    if (kept.length === count && logits[token] <= kept[count - 1].logit) continue;
    const place = kept.findIndex(({ logit }) => logit < logits[token]);
    kept.splice(place < 0 ? kept.length : place, 0, { token, logit: logits[token], score: logits[token] - shift });
    kept.length = Math.min(kept.length, count);
  }
  return kept;
}
