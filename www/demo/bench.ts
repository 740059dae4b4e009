import { OFA, OfaError, type Counters, type DeviceChoice, type TextAnswer } from "ofa-web";
import { el, make, milliseconds, show } from "./dom";
import { timeline, type Stretch } from "./timeline";
import { ways } from "./ways";

interface Run {
  stemMs: number;
  encoderMs: number;
  decodeMs: number;
  steps: number;
  msPerToken: number;
  counters: { stem: Counters; encoder: Counters; step: Counters };
}

const address = new URLSearchParams(location.search);
const PICTURE = "samples/house.png";
/** Long enough that a step's time is an average. */
const LENGTH = 12;

const rounded = (_: string, value: unknown) => (typeof value === "number" ? Math.round(value * 100) / 100 : value);
const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

async function main(): Promise<void> {
  const url = address.get("model") ?? "models/seeded/";
  const device = (["webgpu", "cpu"].find((kind) => kind === address.get("device")) ?? "auto") as DeviceChoice;
  const runs = Math.max(1, Number(address.get("runs")) || 3);
  const ofa = await OFA.load(url, {
    device,
    counters: true,
    cache: "none",
    onProgress: ({ phase, loaded, total }) => {
      el("status").textContent = `${phase} ${Math.round((100 * loaded) / Math.max(total, 1))} %`;
    },
  });
  const { counters: atLoad, loading } = ofa.info;
  el("status").textContent = "Answering …";
  const started = performance.now();
  await ofa.caption(PICTURE);
  const firstAnswer = performance.now() - started;
  const cold = (await ofa.refreshInfo()).counters;
  const greedy: Run[] = [];
  const beam5: Run[] = [];
  for (let run = 0; run < runs; run++) {
    greedy.push(await answer(ofa, 1));
    beam5.push(await answer(ofa, 5));
  }
  const others = address.has("ways") ? await ways(ofa, PICTURE) : {};
  const { device: used, precision, parameters, bytes } = ofa.info;
  await ofa.dispose();
  const [one, five] = [stages(greedy), stages(beam5)];
  const both = stages([...greedy, ...beam5]);
  const { downloadMs: download, uploadMs: upload, compileMs: compile, buildMs: build } = loading;
  const taken = {
    download, upload, compile, build, firstAnswer,
    stem: both.stem, encoder: both.encoder, greedyToken: one.token, beam5Token: five.token,
    ...others,
  };
  const result = {
    model: url, device: used, precision, parameters, bytes, runs, userAgent: navigator.userAgent,
    milliseconds: taken,
    counters: { load: atLoad, firstAnswer: cold, greedy: greedy.at(-1)?.counters, beam5: beam5.at(-1)?.counters },
  };
  const text = JSON.stringify(result, rounded, 2);
  el("result").textContent = text;
  const save = el<HTMLAnchorElement>("save");
  save.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  show("save", true);
  el("timelines").replaceChildren(
    timeline("From nothing to the first answer", [
      { name: "compile wasm", time: compile },
      { name: "download", time: download, note: [`${(bytes / 1e6).toFixed(1)} MB`, ...compiled(atLoad)].join(", ") },
      { name: "upload", time: upload },
      { name: "build", time: build },
      { name: "answer", time: firstAnswer, note: compiled(cold).join() },
    ]),
    timeline(`A warm answer of ${LENGTH} tokens, greedy`, answered(one, greedy)),
    timeline(`A warm answer of ${LENGTH} tokens, five beams`, answered(five, beam5)),
  );
  draw(others);
  el("status").textContent = `${used.kind === "webgpu" ? "WebGPU" : "CPU"} · ${precision} · done`;
}

/** What WebGPU compiled, if anything. */
function compiled(counters: Counters | undefined): string[] {
  return counters?.pipelines ? [`${counters.pipelines} pipelines`] : [];
}

interface Stages {
  stem: number;
  encoder: number;
  token: number;
}

/** Medians of runs, in milliseconds. */
function stages(runs: Run[]): Stages {
  const of = (pick: (run: Run) => number) => median(runs.map(pick));
  return { stem: of((run) => run.stemMs), encoder: of((run) => run.encoderMs), token: of((run) => run.msPerToken) };
}

function answered({ stem, encoder, token }: Stages, runs: Run[]): Stretch[] {
  const counters = runs.at(-1)?.counters;
  const dispatches = (stage?: Counters) => (stage?.dispatches ? `${stage.dispatches} dispatches` : "");
  const steps = dispatches(counters?.step);
  return [
    { name: "stem", time: stem, note: dispatches(counters?.stem) },
    { name: "encoder", time: encoder, note: dispatches(counters?.encoder) },
    { name: "tokens", time: LENGTH * token, note: `${LENGTH} × ${milliseconds(token)}${steps && `, each ${steps}`}` },
  ];
}

async function answer(ofa: OFA, numBeams: number): Promise<Run> {
  const taken = async () => (await ofa.refreshInfo()).counters as Counters;
  await taken();
  const image = await ofa.encodeImage(PICTURE);
  const stem = await taken();
  const short = await ofa.caption(image, { numBeams, maxLen: 1 });
  const few = await taken();
  const { timings }: TextAnswer = await ofa.caption(image, { numBeams, minLen: LENGTH, maxLen: LENGTH });
  const many = await taken();
  await image.free();
  // The two answers differ in nothing but steps.
  const steps = Math.max(1, timings.steps - short.timings.steps);
  const step = combined(few, many, (few, many) => Math.round((many - few) / steps));
  const encoder = combined(few, step, (few, step) => few - short.timings.steps * step);
  return { ...timings, msPerToken: timings.decodeMs / timings.steps, counters: { stem, encoder, step } };
}

function combined(a: Counters, b: Counters, of: (a: number, b: number) => number): Counters {
  const names = Object.keys(a) as (keyof Counters)[];
  return Object.fromEntries(names.map((name) => [name, of(a[name], b[name])])) as unknown as Counters;
}

/** Times that are beside one another, not after. */
function draw(ways: Record<string, number>): void {
  show("ways", Object.keys(ways).length > 0);
  const longest = Math.max(...Object.values(ways), Number.MIN_VALUE);
  el("ways-bars").replaceChildren(...Object.entries(ways).map(([name, time]) => {
    const bar = make("i");
    bar.style.width = `${(100 * time) / longest}%`;
    const label = make("span", { role: "cell" }, name.replace(/[A-Z]|\d+/g, " $&").toLowerCase());
    return make("div", { role: "row" }, label, bar, make("span", { role: "cell" }, milliseconds(time)));
  }));
}

main().catch((error: unknown) => {
  const { code, message } = OfaError.from(error);
  el("error").textContent = `${message} (${code})`;
  el("status").textContent = "failed";
  show("error", true);
});
