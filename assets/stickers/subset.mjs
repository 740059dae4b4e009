// Writes the committed subset: node assets/stickers/subset.mjs FOLDER, where FOLDER is what `make stickers` filled.
import { readFileSync, writeFileSync } from "node:fs";

const COMMITTED = 65; // nouns of the list's head
const here = new URL(".", import.meta.url);
const [folder] = process.argv.slice(2);
const slugs = readFileSync(new URL("nouns.tsv", here), "utf8").split("\n").slice(0, COMMITTED).map((line) => line.split("\t")[0]);

for (const name of ["noto", "fluent-emoji-flat", "twemoji", "emojione"]) {
  const { prefix, icons, aliases = {}, width, height } = JSON.parse(
    readFileSync(`${folder}/node_modules/@iconify-json/${name}/icons.json`, "utf8"),
  );
  const find = (slug) => icons[slug] ?? find(aliases[slug].parent);
  const kept = Object.fromEntries(slugs.map((slug) => [slug, find(slug)]));
  writeFileSync(new URL(`${name}.json`, here), `${JSON.stringify({ prefix, icons: kept, width, height }, null, 1)}\n`);
}
