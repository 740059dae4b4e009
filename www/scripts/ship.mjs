// What goes beside a bundle that ships: its model card, its line in the page's list, its sample pictures.
//   node scripts/ship.mjs --name scenes --run RUN --f32 REPORT --q8 REPORT --q4 REPORT [--larger METRICS] --questions DIR --hardware TEXT [--limits TEXT]
// RUN is the directory of the run; REPORT the directory that `ofa evaluate scenes --out` wrote.
import { copyFileSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** The most that a visitor of the page has to wait for. */
const LIMIT = 12e6;
/** Sample pictures of the page, and how many questions go with each at least. */
const SAMPLES = 6;
const LEAST_ASKED = 3;
/** What the model should reach, by task and metric or group. */
const AIMS = {
  "vqa exist": 0.97, "vqa colour": 0.97, "vqa shape": 0.97, "vqa count": 0.9, "vqa relation": 0.8, "vqa name": 0.9,
  "caption mentions": 0.9, "grounding accuracy_at_half": 0.85, "match accuracy": 0.95, "detect f1_at_half": 0.85,
};
const LABELS = {
  "vqa vqa_score": "all questions", "vqa name": "naming a sticker, seen styles", "vqa held-out style": "naming a sticker, held-out style",
  "vqa held-out pair": "held-out pairs of colour and shape", "vqa held-out relation": "held-out pairs of noun and relation", "vqa held-out count": "held-out count (five animals)",
  "caption mentions": "captions that name every object with its attributes", "caption mention_recall": "objects that captions name",
  "grounding accuracy_at_half": "grounding, Acc@0.5", "grounding mean_iou": "grounding, mean IoU", "region_caption mentions": "descriptions of a region",
  "match accuracy": "image-text matching", "vqa_match accuracy": "judging an answer", "detect f1_at_half": "detection, F1@0.5", "detect precision": "detection, precision", "detect recall": "detection, recall",
  "infill_image right_shape": "infilled middles that show the right shape",
};
/** Left out of the table. */
const SILENT = new Set(["match f1", "vqa_match f1", "region_caption mention_recall"]);

const { values: given } = parseArgs({ options: Object.fromEntries(["name", "run", "f32", "q8", "q4", "larger", "questions", "hardware", "limits"].map((name) => [name, { type: "string" }])) });
const demo = fileURLToPath(new URL("../demo/", import.meta.url));
const bundle = `${demo}models/${given.name}/`;
const json = (path) => JSON.parse(readFileSync(path, "utf8"));
const manifest = json(`${bundle}manifest.json`);
const codes = existsSync(`${bundle}vqgan/manifest.json`) ? json(`${bundle}vqgan/manifest.json`) : undefined;
const bytes = manifest.total_bytes + (codes?.total_bytes ?? 0);
if (bytes > LIMIT) throw new Error(`${bytes} bytes, where at most ${LIMIT} may ship`);

const [f32, q8, q4] = [given.f32, given.q8, given.q4].map((report) => ({ metrics: json(`${report}/metrics.json`), report: json(`${report}/report.json`) }));
const shipped = { q8, q4 }[manifest.precision];
/** The other packing, which is measured beside it. */
const [other, spare] = shipped === q8 ? ["q4", q4] : ["q8", q8];
const larger = given.larger && json(given.larger);
const { scenes: { scenes, nouns, styles } } = f32.metrics;
const journal = readFileSync(`${given.run}/metrics.jsonl`, "utf8").trim().split("\n").map((line) => JSON.parse(line));

function rows() {
  const lines = [];
  for (const [task, metrics] of Object.entries(f32.metrics)) {
    if (task === "scenes") continue;
    for (const [metric, value] of Object.entries(metrics)) {
      const key = `${task} ${metric}`;
      if (SILENT.has(key)) continue;
      const label = LABELS[key] ?? (task === "vqa" ? `questions: ${metric}` : key);
      const count = f32.report.tasks[task]?.groups?.[metric]?.count ?? f32.report.tasks[task]?.count ?? "";
      const percent = (of) => (of === undefined ? "" : (100 * of).toFixed(1));
      const cells = [label, count, percent(value), percent(shipped.metrics[task]?.[metric])];
      if (larger) cells.push(percent(larger[task]?.[metric]));
      cells.push(AIMS[key] === undefined ? "" : percent(AIMS[key]));
      lines.push(`| ${cells.join(" | ")} |`);
    }
  }
  return lines.join("\n");
}

const trained = journal.filter(({ kind }) => kind === "update");
const recipe = readFileSync(`${bundle}recipe.toml`, "utf8");
const number = (count) => count.toLocaleString("en");
const last = Math.max(...journal.map(({ update = 0 }) => update));
const hours = trained.reduce((sum, { update, samples, samples_per_second: rate }, index) => {
  // A line tells of one update; those since the line before took as long each.
  const updates = update - (trained[index - 1]?.update ?? 0);
  return sum + (Math.max(updates, 1) * samples) / rate;
}, 0) / 3600;
/** How often smaller weights prefer the token that f32 prefers, held to its answers. */
const preferred = ({ metrics: { preferred_as_reference: shares } }) => {
  const percent = (of) => `${(100 * of).toFixed(of > 0.99 ? 2 : 1)} %`;
  const exact = Object.entries(shares).filter(([task]) => task !== "all").map(([task, share]) => `${task} ${percent(share)}`);
  return `${percent(shares.all)} of places (${exact.join(", ")})`;
};
const bits = recipe.match(/^\[update\.quantization\]\nbits = (\d)$/m)?.[1];
const rounded = bits
  ? `The model was trained with weights that are rounded to ${bits} bits (\`update.quantization\`), and f32 is what it was saved as.`
  : "Both are rounded for the answers to other scenes (`ofa export --calibrate`).";
const milliseconds = (report) => report.tasks.vqa.mean_ms.toFixed(0);

const card = `# ${given.name}: a small OFA that knows drawn scenes

${number(manifest.parameters)} parameters, trained from nothing by this repository, ${manifest.precision}, ${(bytes / 1e6).toFixed(1)} MB${codes ? " with its model of image codes" : ""}.

## What it knows

Pictures of the corpus "scenes" and nothing else: shapes in eight colours and stickers of ${nouns} nouns on pale, patterned backgrounds. It
answers in words of that world whatever it is shown; a photo, or a drawing of something else, is beyond it. For pictures of the real world convert an
original checkpoint (\`ofa convert\`), which the page loads from a folder.

Its stickers are by ${styles} groups of artists; see [the attributions](../../../../assets/stickers/README.md). It was trained on
pictures made of them from a seed; no data of persons are among them.

## How it was trained

${given.hardware}: ${number(last)} updates${hours > 0 ? ` in ${hours.toFixed(1)} hours` : ""}, by

    ofa pretrain recipes/scenes-cpu.toml --out runs/scenes-cpu
    make ship RUN=runs/scenes-cpu

The resolved recipe is [recipe.toml](recipe.toml). The weights are the moving average at the best of its evaluations.

## How good it is

On ${number(scenes)} scenes that training never draws, up to five questions each; per cent, on the CPU. What is held out, training neither shows nor says.
\`make eval-shipped SEED=n COUNT=m\` repeats it on other scenes.

| | questions | f32 | ${manifest.precision} |${larger ? " drawn four times as large |" : ""} aim |
|---|---|---|---|${larger ? "---|" : ""}---|
${rows()}

Held to what f32 answers to these questions, ${manifest.precision} prefers the same token at ${preferred(shipped)}; ${other}, which does not ship, at
${preferred(spare)}. ${rounded} ${other} gets ${(100 * spare.metrics.vqa.vqa_score).toFixed(1)} % of all questions, and ${(100 * spare.metrics.caption.mentions).toFixed(1)} % of captions whole.

${given.limits ? `${given.limits}\n\n` : ""}An answer takes ${milliseconds(f32.report)} ms with f32 weights and ${milliseconds(shipped.report)} ms with ${manifest.precision} on one of the cores that measured this.
`;
writeFileSync(`${bundle}README.md`, card);

// The page opens the first of its list.
const listed = json(`${demo}models.json`).filter(({ url }) => url !== `models/${given.name}/`);
const tasks = ["caption", "vqa", "vqa_match", "grounding", "region_caption", "match", "detect", "infill_text"];
if (/infill_image\s*=\s*0*\.?0*[1-9]/.test(recipe) && codes) tasks.push("infill_image", "image_gen");
listed.unshift({
  name: "Scenes", url: `models/${given.name}/`, size: `${(bytes / 1e6).toFixed(1)} MB`, tasks,
  note: `Knows drawn scenes of shapes in eight colours and stickers of ${nouns} things, and nothing else. Of questions about unseen scenes it gets ${Math.round(100 * shipped.metrics.vqa.vqa_score)} % right.`,
  world: "This model knows only drawn scenes like the samples and those you make here. What it says of any other picture is a guess in the words of that world. For photos load an original checkpoint: see below.",
});
writeFileSync(`${demo}models.json`, `${JSON.stringify(listed, null, 2)}\n`);

const samples = `${demo}samples/`;
for (const file of readdirSync(samples).filter((name) => name.startsWith("scene-"))) rmSync(samples + file);
const askable = json(`${given.questions}/questions.json`).map(({ image, asked }) => ({
  from: image, questions: asked.filter(({ task }) => task === "vqa").map(({ inputs }) => inputs.text),
})).filter(({ questions }) => questions.length >= LEAST_ASKED);
const pictures = askable.slice(0, SAMPLES).map(({ from, questions }, index) => {
  const image = `scene-${index + 1}.png`;
  copyFileSync(`${given.questions}/${from}`, samples + image);
  return { image, questions };
});
writeFileSync(`${samples}scenes.json`, `${JSON.stringify(pictures, null, 2)}\n`);
console.log(`${bundle}README.md: ${number(manifest.parameters)} parameters, ${(bytes / 1e6).toFixed(1)} MB; ${pictures.length} sample pictures`);
