// Every row of the table of tasks, from its inputs to its typed answer: the same as natively, on both devices.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { alike, goldens, native, openBlank, startBrowser, startServer, testBundle, www } from "./harness.mjs";

const PICTURE = "tiny/raw_0.png";
const SENTENCES = { text: "it is raining", text2: "rain falls" };
/** What each task is asked here. The table decides which tasks there are. */
const ASKED = {
  caption: {},
  vqa: { text: "what colour is it?", objects: ["car", "bridge"] },
  vqa_match: { text: "what colour is it?", text2: "red" },
  grounding: { text: "the red car" },
  region_caption: { region: [0.1, 0.2, 0.6, 0.9] },
  detect: {},
  entailment: { text: "a car is red", caption: "a red car on a bridge" },
  match: { text: "a red car on a bridge" },
  classify: { answers: ["car", "boat", "red boat"] },
  image_gen: { text: "a red car" },
  infill_image: {},
  infill_text: { text: "a red <mask> on a bridge" },
  ocr: {},
  summary: { text: "the car is red. it stands on a bridge." },
  cola: { text: "it is raining" },
  mnli: SENTENCES,
  mrpc: SENTENCES,
  qnli: SENTENCES,
  qqp: SENTENCES,
  rte: SENTENCES,
  sst2: { text: "a fine day" },
};
/** Two drawings are enough to tell one from the other. */
const OPTIONS = { image_gen: { numBeams: 2, seed: 5, topK: 16 }, detect: { maxLen: 24 } };
/** What a GPU in software, which takes its time, is spared; the part that infilling hides fixes the size itself. */
const LESS = { webgpu: { imageSize: 64, maxLen: 5 }, cpu: {} };
const optionsOf = (task, device) => {
  const { imageSize, maxLen } = LESS[device];
  const draws = task === "image_gen" && device === "webgpu" && { numBeams: 1, topK: 2 };
  return { ...OPTIONS[task], ...draws, ...(maxLen && { maxLen }), ...(imageSize && seesImage.has(task) && task !== "infill_image" && { imageSize }) };
};
const many = (length) => Array.from({ length }, (_, index) => `${index % 20} ${["red", "blue", "green"][index % 3]} cars ${index}`);
/** Ways to answer beyond a task's own: the trie under a beam, all of many candidates, draws, answers that are cut off. */
const ways = (device) => ({
  "beams in a trie": ["vqa", { text: "how many cars?", answers: many(40) }, { numBeams: 4 }],
  "all candidates": ["vqa", { text: "how many cars?", answers: many(device === "cpu" ? 1000 : 30) }, {}],
  "draws from the likeliest": ["caption", {}, { topK: 9, seed: 3, numBeams: 3 }],
  "draws from the likeliest that make a probability": ["vqa", { text: "what is it?" }, { topP: device === "cpu" ? 0.9 : 0.2, seed: 4, temperature: 0.7, numBeams: 3 }],
  "a list of objects that is cut off": ["detect", {}, { maxLen: 2 }],
  "another prompt": ["vqa", { text: "what is it?", promptType: "prev_output" }, { maxLen: 6 }],
});
const FLAGS = { imageSize: "image-size", numBeams: "num-beams", maxLen: "max-len", topK: "top-k", topP: "top-p", seed: "seed", temperature: "temperature" };
const INPUTS = { text: "text", text2: "text2", caption: "caption", region: "region", promptType: "prompt-type" };

let browser, server, page, directory;
before(async () => {
  directory = mkdtempSync(join(tmpdir(), "ofa-tasks-"));
  browser = await startBrowser();
  server = await startServer();
  page = await openBlank(browser, server);
});
after(async () => {
  await browser.close();
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

const seesImage = new Set();
const TASKS = [...readFileSync(join(www, "src/tasks.gen.ts"), "utf8").matchAll(/Given: (.*)\. \*\/\n {2}(\w+):/g)].map(([, given, task]) => {
  if (given.split(", ").includes("image")) seesImage.add(task);
  return task;
});

/** The same question to the native binary. */
function askNative(task, inputs, options = {}) {
  const args = [task, "--model", testBundle];
  if (seesImage.has(task)) args.push("--image", join(goldens, PICTURE));
  for (const name of inputs.objects ?? []) args.push("--objects", name);
  if (inputs.answers) {
    const file = join(directory, `answers-${inputs.answers.length}.txt`);
    writeFileSync(file, inputs.answers.join("\n"));
    args.push("--answers", file);
  }
  for (const [name, flag] of Object.entries(INPUTS)) if (name in inputs) args.push(`--${flag}`, String(inputs[name]));
  for (const [name, flag] of Object.entries(FLAGS)) if (name in options) args.push(`--${flag}`, String(options[name]));
  const { timings, device, ...answer } = native(args);
  return answer;
}

const load = (device) => page.evaluate(async (device) => { window.ofa = await OFA.load("/bundle/", { device }); }, device);
const dispose = () => page.evaluate(() => window.ofa.dispose());
const ask = (task, inputs, options = {}) =>
  page.evaluate(async ([task, picture, inputs, options]) => {
    const { timings, ...answer } = await window.ofa.run(task, picture, inputs, options);
    return answer;
  }, [task, seesImage.has(task) ? `/golden/${PICTURE}` : undefined, inputs, options]);

test("the table's tasks are all asked", () => assert.deepEqual(TASKS, Object.keys(ASKED)));

for (const device of ["cpu", "webgpu"]) {
  test(`every task answers on ${device} as natively`, { timeout: 1_200_000 }, async (context) => {
    await load(device);
    for (const task of TASKS) {
      await context.test(task, async () => {
        const options = optionsOf(task, device);
        alike(await ask(task, ASKED[task], options), askNative(task, ASKED[task], options));
      });
    }
    for (const [name, [task, inputs, options]] of Object.entries(ways(device))) {
      await context.test(name, async () => alike(await ask(task, inputs, options), askNative(task, inputs, options)));
    }
    await dispose();
  });
}

test("what a model writes wrong is told and never thrown", async () => {
  await load("cpu");
  const cut = await ask("detect", {}, { maxLen: 2 });
  await dispose();
  assert.equal(cut.kind, "objects");
  assert.match(cut.malformed, /bins where four make a box|without a name/);
});

test("many questions of one picture, asked at once, are answered as one by one", async () => {
  await load("cpu");
  const found = await page.evaluate(async (picture) => {
    const image = await window.ofa.encodeImage(picture);
    const questions = ["what is it?", "what colour is it?", "is it raining?", "how many cars?"];
    const together = await Promise.all(questions.map((question) => window.ofa.vqa(image, question)));
    const batch = await window.ofa.runAll("vqa", image, questions.map((text) => ({ text })));
    const closed = await window.ofa.runAll("match", image, questions.map((text) => ({ text })));
    const apart = [];
    for (const question of questions) apart.push(await window.ofa.vqa(picture, question));
    const stopped = await window.caught(window.ofa.runAll("vqa", image, [{ text: "a" }, { text: "b" }], { signal: AbortSignal.timeout(1) }));
    const wrong = await window.caught(window.ofa.runAll("vqa", image, [{ text: "a" }, { text: " " }]));
    await image.free();
    return { tokens: [together, batch, apart].map((answers) => answers.map(({ tokens }) => tokens)), closed: closed.map(({ kind }) => kind), stopped, wrong };
  }, `/golden/${PICTURE}`);
  await dispose();
  const [together, batch, apart] = found.tokens;
  assert.deepEqual(together, apart);
  assert.deepEqual(batch, apart);
  assert.deepEqual(found.closed, Array(4).fill("labels"));
  assert.equal(found.stopped.code, "aborted");
  assert.equal(found.wrong.code, "task");
});

test("where the model looked is told as natively", async () => {
  await load("cpu");
  const found = await page.evaluate(async (picture) => {
    const answer = await window.ofa.caption(picture);
    return window.ofa.attention("caption", picture, {}, answer);
  }, `/golden/${PICTURE}`);
  await dispose();
  const { attention } = native(["caption", "--model", testBundle, "--image", join(goldens, PICTURE), "--attention"]);
  alike(found, attention);
  assert.ok(found.words.length > 1);
  for (const { weights } of found.words) {
    assert.equal(weights.length, found.columns ** 2);
    const sum = weights.reduce((a, b) => a + b, 0);
    assert.ok(sum > 0 && sum <= 1.0001, `the shares of the picture are ${sum} together`);
  }
});
