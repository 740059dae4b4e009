// Goldens of the original in headless Chromium: node scripts/parity.mjs DIR [cpu|relaxed|threads|relaxedThreads|gpu|real]
//
// The cases, their comparison and their tolerances are those of the native run: they are compiled into the wasm.
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { launch } from "./browser.mjs";
import { ISOLATED, serve } from "./serve.mjs";
import { WASM, bindings } from "./wasm.mjs";

const www = fileURLToPath(new URL("..", import.meta.url));

/** What is run: the wasm files, and that for WebGPU once more with the kernels that a real adapter gets. */
export const LABELS = {
  cpu: "CPU", relaxed: "CPU with relaxed SIMD", threads: "CPU with threads", relaxedThreads: "CPU with relaxed SIMD and threads",
  gpu: "WebGPU (software adapter)", real: "WebGPU (kernels for real adapters)",
};

/** Threads beside the first, where there are some. */
const MEMBERS = 2;

/** Runs every micro case of `directory` with one of them; calls `report(name, outcome)` for each. */
export async function parity(directory, build, report) {
  const micro = [join(directory, "micro"), directory].find((path) => existsSync(join(path, "shared_inputs.safetensors")));
  if (!micro) throw new Error(`${directory} holds no goldens: micro/shared_inputs.safetensors was not found`);
  const roots = { "/golden/": micro, "/wasm/": join(www, "wasm"), "/dist/": join(www, "dist"), "/": join(www, "test/pages") };
  const server = await serve(roots, { headers: ISOLATED });
  const browser = await launch();
  const file = WASM[build] ?? WASM.gpu;
  try {
    const page = await browser.newPage();
    await page.exposeFunction("report", report);
    await page.goto(`${server.url}blank.html`);
    await page.evaluate(async ({ file, glue, members, real }) => {
      const ofa = await import(`/wasm/${glue}`);
      const module = await WebAssembly.compileStreaming(fetch(`/wasm/${file}`));
      const crew = await ofa.default({ module_or_path: module });
      for (let member = 0; member < members; member++) {
        new Worker("/dist/ofa-web/member.js", { type: "module" }).postMessage({ module, memory: crew.memory, stack: crew.crew_stack() });
      }
      if (members > 0) {
        while (crew.crew_threads() <= members) await new Promise((resolve) => setTimeout(resolve, 10));
        crew.crew_share_all();
      }
      const get = async (name) => {
        const response = await fetch(`/golden/${name}`);
        if (!response.ok) throw new Error(`${name}: ${response.status}`);
        return response;
      };
      const text = async (name) => (await get(name)).text();
      const bytes = async (name) => new Uint8Array(await (await get(name)).arrayBuffer());
      const runner = await ofa.ParityRunner.create(
        await text("config.json"), await text("manifest.json"), await bytes("model.safetensors"), await bytes("shared_inputs.safetensors"),
      );
      if (real) ofa.asOnRealAdapters();
      for (const name of JSON.parse(runner.cases())) {
        const outcome = await bytes(`cases/${name}.safetensors`)
          .then((file) => runner.run(name, file))
          .then(JSON.parse, (error) => ({ outcome: "failed", reason: String(error?.message ?? error) }));
        await window.report(name, outcome);
      }
    }, { file, glue: bindings(file), members: file.includes("threads") ? MEMBERS : 0, real: build === "real" });
  } finally {
    await browser.close();
    await server.close();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [directory, ...builds] = process.argv.slice(2);
  const tally = { passed: 0, failed: 0, skipped: 0 };
  for (const build of builds.length ? builds : Object.keys(LABELS)) {
    const label = LABELS[build];
    await parity(resolve(directory ?? "../tests/golden"), build, (name, { outcome, difference, reason }) => {
      tally[outcome]++;
      const detail = outcome === "passed" ? difference.toExponential(1) : reason;
      console.log(`${outcome.padEnd(8)} ${label}: ${name}  ${detail}`);
    }).catch((error) => {
      tally.failed++;
      console.log(`failed   ${label}: ${error.message}`);
    });
  }
  console.log(`${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`);
  process.exit(tally.failed ? 1 : 0);
}
