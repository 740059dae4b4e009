// What a visitor downloads, raw and as brotli 11. The last line is for machines.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";
import { WASM, bindings } from "./wasm.mjs";

const dist = fileURLToPath(new URL("../dist/", import.meta.url));

function weigh(name) {
  const bytes = readFileSync(dist + name);
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  const compressed = brotliCompressSync(bytes, { params }).length;
  console.log(`${name.padEnd(28)} ${String(bytes.length).padStart(10)} ${String(compressed).padStart(10)}`);
  return compressed;
}

console.log(`${"file".padEnd(28)} ${"raw".padStart(10)} ${"brotli 11".padStart(10)}`);
const scripts = [...readdirSync(dist), "ofa-web/worker.js", "ofa-web/member.js"].filter((name) => name.endsWith(".js"));
const shared = scripts.map(weigh).reduce((a, b) => a + b, 0);
const { gpu: forGpu, ...forCpu } = WASM;
const glue = [...new Set(Object.values(WASM).map(bindings))].map((file) => weigh(`ofa-web/wasm/${file}`));
const gpu = weigh(`ofa-web/wasm/${forGpu}`);
const cpu = Object.values(forCpu).map((file) => weigh(`ofa-web/wasm/${file}`));
// A visitor fetches one of each, and the bindings of one build; the larger counts.
console.log(`gpu_wasm_br=${gpu} cpu_wasm_br=${Math.max(...cpu)} js_br=${shared + Math.max(...glue)}`);
