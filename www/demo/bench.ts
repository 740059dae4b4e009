import { OFA, OfaError, type Counters, type DeviceChoice, type TextAnswer } from "ofa-web";
import { el, milliseconds, show } from "./dom";

interface Run {
  stemMs: number;
  encoderMs: number;
  decodeMs: number;
  steps: number;
  msPerToken: number;
  counters: { stem: Counters; encoderAndDecoder: Counters; perStep: Partial<Counters> };
}

const address = new URLSearchParams(location.search);
const PICTURE = "samples/house.png";

const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

async function main(): Promise<void> {
  const url = address.get("model") ?? "models/seeded/";
  const device = (["webgpu", "cpu"].find((kind) => kind === address.get("device")) ?? "auto") as DeviceChoice;
  const runs = Math.max(1, Number(address.get("runs") ?? 3));
  const marks: Record<string, number> = {};
  const started = performance.now();
  const ofa = await OFA.load(url, {
    device,
    counters: true,
    cache: "none",
    onProgress: ({ phase, loaded, total }) => {
      marks[phase] = performance.now() - started;
      el("status").textContent = `${phase} ${Math.round((100 * loaded) / Math.max(total, 1))} %`;
    },
  });
  const atLoad = ofa.info.counters;
  el("status").textContent = "Answering …";
  const cold = await answer(ofa, 1);
  const greedy: Run[] = [];
  const beam5: Run[] = [];
  for (let run = 0; run < runs; run++) {
    greedy.push(await answer(ofa, 1));
    beam5.push(await answer(ofa, 5));
  }
  const { device: used, precision, parameters, bytes } = ofa.info;
  await ofa.dispose();
  const of = (list: Run[], pick: (run: Run) => number) => median(list.map(pick));
  const both = [...greedy, ...beam5];
  const stages = {
    // Shards are uploaded while others are on their way, so that the two overlap.
    compileAndSmallFiles: (marks.download ?? 0),
    downloadAndUpload: (marks.upload ?? 0) - (marks.download ?? 0),
    build: (marks.ready ?? 0) - (marks.upload ?? 0),
    firstAnswer: cold.stemMs + cold.encoderMs + cold.decodeMs,
    stem: of(both, (run) => run.stemMs),
    encoder: of(both, (run) => run.encoderMs),
    greedyToken: of(greedy, (run) => run.msPerToken),
    beam5Token: of(beam5, (run) => run.msPerToken),
  };
  const result = {
    model: url, device: used, precision, parameters, bytes, runs, userAgent: navigator.userAgent,
    milliseconds: stages,
    counters: { load: atLoad, cold: cold.counters, greedy: greedy.at(-1)?.counters, beam5: beam5.at(-1)?.counters },
  };
  const text = JSON.stringify(result, null, 2);
  el("result").textContent = text;
  const save = el<HTMLAnchorElement>("save");
  save.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  show("save", true);
  draw(stages);
  el("status").textContent = `${used.kind === "webgpu" ? "WebGPU" : "CPU"} · ${precision} · done`;
}

async function answer(ofa: OFA, numBeams: number): Promise<Run> {
  await ofa.refreshInfo();
  const image = await ofa.encodeImage(PICTURE);
  const stem = (await ofa.refreshInfo()).counters as Counters;
  const { timings }: TextAnswer = await ofa.caption(image, { numBeams });
  const rest = (await ofa.refreshInfo()).counters as Counters;
  await image.free();
  const perStep = Object.fromEntries(Object.entries(rest).map(([name, count]) => [name, Math.round(count / timings.steps)]));
  return { ...timings, msPerToken: timings.decodeMs / timings.steps, counters: { stem, encoderAndDecoder: rest, perStep } };
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
