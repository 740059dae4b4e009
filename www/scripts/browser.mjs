// Finds and starts Chromium, with WebGPU on a software adapter where there is no GPU.
import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";

const CANDIDATES = [
  process.env.CHROME, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/usr/bin/google-chrome-stable",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

export function findChromium() {
  return CANDIDATES.find((path) => path && existsSync(path));
}

const FLAGS = [
  "--no-sandbox", "--enable-unsafe-webgpu", "--enable-features=Vulkan,WebGPU", "--use-webgpu-adapter=swiftshader",
  "--use-vulkan=swiftshader", "--ignore-gpu-blocklist", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** A fresh headless browser. */
export async function launch() {
  const executablePath = findChromium();
  if (!executablePath) throw new Error("no Chromium found: install it or set CHROME to its path");
  const { chromium } = await import("playwright-core");
  return chromium.launch({ executablePath, args: FLAGS });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href && process.argv.includes("--check")) {
  process.exit(findChromium() ? 0 : 1);
}
