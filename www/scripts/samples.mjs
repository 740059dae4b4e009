// Renders demo/samples/*.svg to PNG.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { launch } from "./browser.mjs";

const directory = fileURLToPath(new URL("../demo/samples/", import.meta.url));
const SIDE = 320;
const browser = await launch();
const page = await browser.newPage({ viewport: { width: SIDE, height: SIDE } });
for (const name of readdirSync(directory).filter((file) => file.endsWith(".svg"))) {
  await page.setContent(`<style>*{margin:0}</style>${readFileSync(directory + name, "utf8")}`);
  writeFileSync(directory + name.replace(".svg", ".png"), await page.screenshot());
}
await browser.close();
