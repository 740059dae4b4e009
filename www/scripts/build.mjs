// Builds the package into dist/ and the demo site into dist-demo/.
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { WASM, bindings } from "./wasm.mjs";

const www = fileURLToPath(new URL("..", import.meta.url));
process.chdir(www);

function checkWasm() {
  const missing = Object.values(WASM).filter((file) => !existsSync(`wasm/${file}`));
  if (missing.length === 0) return;
  console.error(`No ${missing.join(" and ")} in www/wasm: run \`make wasm\` in the repository first.`);
  process.exit(1);
}

const common = { bundle: true, minify: true, format: "esm", target: "es2022", legalComments: "none", logLevel: "warning" };

async function buildPackage() {
  rmSync("dist", { recursive: true, force: true });
  // What is found by its address is in a folder of the package's name: it is also what package.json exports (see wasm.ts).
  const entryPoints = { ofa: "src/ofa.ts", "ofa-web/worker": "src/worker.ts", "ofa-web/member": "src/member.ts" };
  await build({ ...common, entryPoints, outdir: "dist", splitting: true, chunkNames: "[name]-[hash]" });
  // The wasm bindings stay files of their own: only the one that is needed is fetched.
  keepImportsOfTheBrowser();
  for (const file of new Set(Object.values(WASM).map(bindings))) {
    const glue = readFileSync(`wasm/${file}`, "utf8");
    await build({ ...common, bundle: false, stdin: { contents: glue, loader: "js" }, outfile: `dist/ofa-web/wasm/${file}` });
  }
  for (const file of Object.values(WASM)) cpSync(`wasm/${file}`, `dist/ofa-web/wasm/${file}`);
  execFileSync("node_modules/.bin/tsc", ["-p", "tsconfig.types.json"], { stdio: "inherit" });
  cpSync("../LICENSE", "LICENSE");
}

/** The bindings are imported by an address that the browser knows; other bundlers than esbuild, which drops the comments, must leave that to it. */
function keepImportsOfTheBrowser() {
  const found = readdirSync("dist").filter((name) => name.endsWith(".js")).map((name) => {
    const code = readFileSync(`dist/${name}`, "utf8");
    const kept = code.replace(/\bimport\((\w+\.href)\)/g, "import(/* webpackIgnore: true */ /* @vite-ignore */ $1)");
    if (kept !== code) writeFileSync(`dist/${name}`, kept);
    return kept !== code;
  });
  if (!found.includes(true)) throw new Error("dist: no import of the wasm bindings found");
}

async function buildDemo() {
  rmSync("dist-demo", { recursive: true, force: true });
  mkdirSync("dist-demo", { recursive: true });
  await build({
    ...common,
    entryPoints: ["demo/main.ts", "demo/bench.ts"].filter((file) => existsSync(file)),
    outdir: "dist-demo",
    // The page uses the package as any other would.
    plugins: [{
      name: "package-beside-the-page",
      setup: (plugin) => plugin.onResolve({ filter: /^ofa-web$/ }, () => ({ path: "./ofa-web/ofa.js", external: true })),
    }],
  });
  for (const file of ["index.html", "bench.html", "style.css", "models.json", "models", "samples", "scene/world.json"]) {
    if (existsSync(`demo/${file}`)) cpSync(`demo/${file}`, `dist-demo/${file}`, { recursive: true });
  }
  cpSync("dist", "dist-demo/ofa-web", { recursive: true });
}

checkWasm();
await buildPackage();
await buildDemo();
