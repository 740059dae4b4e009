import { OFA, OfaError, type Counters, type DeviceChoice, type TextAnswer } from "ofa-web";
import { el, milliseconds, show } from "./dom";
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
  const runs = Math.max(1, Number(address.get("runs") ?? 3));
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
  // Here WebGPU compiles its pipelines.
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
  const of = (list: Run[], pick: (run: Run) => number) => median(list.map(pick));
  const both = [...greedy, ...beam5];
  const stages = {
    download: loading.downloadMs,
    upload: loading.uploadMs,
    compile: loading.compileMs,
    build: loading.buildMs,
    firstAnswer,
    stem: of(both, (run) => run.stemMs),
    encoder: of(both, (run) => run.encoderMs),
    greedyToken: of(greedy, (run) => run.msPerToken),
    beam5Token: of(beam5, (run) => run.msPerToken),
    ...others,
  };
  const result = {
    model: url, device: used, precision, parameters, bytes, runs, userAgent: navigator.userAgent,
    milliseconds: stages,
    counters: { load: atLoad, firstAnswer: cold, greedy: greedy.at(-1)?.counters, beam5: beam5.at(-1)?.counters },
  };
  const text = JSON.stringify(result, rounded, 2);
  el("result").textContent = text;
  const save = el<HTMLAnchorElement>("save");
  save.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  show("save", true);
  draw(stages);
  el("status").textContent = `${used.kind === "webgpu" ? "WebGPU" : "CPU"} · ${precision} · done`;
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

function draw(stages: Record<string, number>): void {
  const longest = Math.max(...Object.values(stages));
  el("stages").replaceChildren(...Object.entries(stages).map(([name, time]) => {
    const row = document.createElement("div");
    row.setAttribute("role", "row");
    const label = document.createElement("span");
    const bar = document.createElement("i");
    const value = document.createElement("span");
    for (const cell of [label, value]) cell.setAttribute("role", "cell");
    label.textContent = name.replace(/([A-Z5])/g, " $1").toLowerCase();
    bar.style.width = `${(100 * time) / longest}%`;
    value.textContent = milliseconds(time);
    row.append(label, bar, value);
    return row;
  }));
}

main().catch((error: unknown) => {
  const { code, message } = OfaError.from(error);
  el("error").textContent = `${message} (${code})`;
  el("status").textContent = "failed";
  show("error", true);
});
