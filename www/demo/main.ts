import { OFA, OfaError, type BundleInput, type CallOptions, type DeviceChoice, type EncodedImage, type Progress, type TextAnswer } from "ofa-web";
import { bytes, el, milliseconds, numberIn, show } from "./dom";
import { choosePictures } from "./picture";

interface Listed {
  name: string;
  url: string;
  size: string;
  note?: string;
}

const PHASES: Record<Progress["phase"], string> = {
  compile: "Compiling", download: "Downloading", verify: "Building the model", upload: "Uploading", ready: "Ready",
};
/** Choices of the picker that are not in the list. */
const FROM_URL = "url";
const FROM_FOLDER = "folder";
const NOTES: Record<string, string> = {
  [FROM_URL]: "The folder of a bundle on a server that allows other sites to read it (CORS).",
  [FROM_FOLDER]: "The folder that ofa convert or ofa export wrote. It is read in this tab and not uploaded.",
};

let ofa: OFA | undefined;
let loading: AbortController | undefined;
let running: AbortController | undefined;
let picture: Blob | undefined;
/** The picture after the stem, and for which size. */
let encoded: { image: EncodedImage; size: number | undefined } | undefined;
let listed: Listed[] = [];

const model = el<HTMLSelectElement>("model");
const device = el<HTMLSelectElement>("device");
const question = el<HTMLInputElement>("question");
const address = new URLSearchParams(location.search);

function fail(error: unknown): void {
  const { code, message } = OfaError.from(error);
  if (code === "aborted") return;
  el("error").textContent = `${message} (${code})`;
  show("error", true);
  // On a phone it is far above the button that was pressed.
  el("error").scrollIntoView({ block: "nearest" });
}

function clearError(): void {
  show("error", false);
}

function task(): "caption" | "vqa" {
  return document.querySelector<HTMLInputElement>("input[name=task]:checked")?.value === "vqa" ? "vqa" : "caption";
}

// ---- model --------------------------------------------------------------------------------------

async function listModels(): Promise<void> {
  listed = (await (await fetch("models.json")).json()) as Listed[];
  model.append(
    ...listed.map(({ name, size }, index) => new Option(`${name} (${size})`, String(index))),
    new Option("From an address …", FROM_URL),
    new Option("From a folder …", FROM_FOLDER),
  );
  const wanted = address.get("model");
  if (wanted) {
    const index = listed.findIndex(({ url }) => url === wanted);
    model.value = index < 0 ? FROM_URL : String(index);
    if (index < 0) el<HTMLInputElement>("url").value = wanted;
  }
  device.value = ["webgpu", "cpu"].find((kind) => kind === address.get("device")) ?? "auto";
  modelChosen();
}

function modelChosen(): void {
  show("url-label", model.value === FROM_URL);
  show("folder-label", model.value === FROM_FOLDER);
  el("model-note").textContent = NOTES[model.value] ?? listed[Number(model.value)]?.note ?? "";
}

function bundle(): BundleInput {
  if (model.value === FROM_URL) {
    const url = el<HTMLInputElement>("url").value.trim();
    if (!url) throw new OfaError("option", "Enter the address of a bundle: the folder that holds manifest.json");
    return url;
  }
  if (model.value === FROM_FOLDER) {
    const files = el<HTMLInputElement>("folder").files;
    if (!files?.length) throw new OfaError("option", "Choose the folder of a bundle: it holds manifest.json");
    return { files };
  }
  return listed[Number(model.value)]?.url ?? "";
}

async function load(): Promise<void> {
  loading?.abort();
  const controller = (loading = new AbortController());
  clearError();
  await ofa?.dispose();
  ofa = encoded = undefined;
  show("badge", false);
  show("reason", false);
  busy();
  try {
    const loaded = await OFA.load(bundle(), {
      device: device.value as DeviceChoice,
      signal: controller.signal,
      onProgress: progressShown(),
    });
    ofa = loaded;
    const { device: found, precision, parameters, bytes: size } = loaded.info;
    el("badge").textContent = `${found.kind === "webgpu" ? "WebGPU" : "CPU"} · ${precision} · ${(parameters / 1e6).toFixed(1)} M parameters · ${bytes(size)}`;
    el("badge").title = found.name;
    show("badge", true);
    el("reason").textContent = found.reason ? `Running on the CPU: ${found.reason}.` : "";
    show("reason", Boolean(found.reason));
  } catch (error) {
    fail(error);
  } finally {
    if (loading === controller) loading = undefined;
    busy();
  }
}

/** Half of the bar is what arrived, half what reached the device: shards go up while others are on their way. */
function progressShown(): (progress: Progress) => void {
  const done = { download: 0, upload: 0 };
  return ({ phase, loaded, total, file }) => {
    const moving = phase === "download" || phase === "upload";
    if (moving) done[phase] = loaded / total;
    el<HTMLProgressElement>("bar").value = phase === "verify" ? 1 : (done.download + done.upload) / 2;
    const amount = moving ? `${bytes(loaded)} of ${bytes(total)}` : "";
    el("progress-text").textContent = [PHASES[phase], amount, file].filter(Boolean).join(" · ");
  };
}

// ---- asking -------------------------------------------------------------------------------------

function options(signal: AbortSignal): CallOptions {
  const [numBeams, maxLen] = [numberIn("beams"), numberIn("max-len")];
  return {
    signal,
    onToken: ({ text }) => (el("text").textContent = text),
    ...(numBeams !== undefined && { numBeams }),
    ...(maxLen !== undefined && { maxLen }),
  };
}

async function encodedPicture(model: OFA, signal: AbortSignal): Promise<EncodedImage> {
  const size = numberIn("image-size");
  if (encoded && encoded.size === size) return encoded.image;
  await encoded?.image.free();
  encoded = undefined;
  const image = await model.encodeImage(picture as Blob, size === undefined ? { signal } : { signal, imageSize: size });
  encoded = { image, size };
  return image;
}

async function ask(): Promise<void> {
  if (!ofa || !picture || running) return;
  const controller = (running = new AbortController());
  const { signal } = controller;
  clearError();
  el("text").textContent = "";
  el("text").classList.add("growing");
  show("answer", true);
  show("more", false);
  busy();
  try {
    const image = await encodedPicture(ofa, signal);
    const answers = el<HTMLInputElement>("answers").value.split(",").map((text) => text.trim()).filter(Boolean);
    const answer =
      task() === "caption"
        ? await ofa.caption(image, options(signal))
        : await ofa.vqa(image, question.value, { ...options(signal), ...(answers.length && { answers }) });
    showAnswer(answer);
  } catch (error) {
    // After a crash the model is loaded again, without this picture.
    if (["internal", "device"].includes(OfaError.from(error).code)) encoded = undefined;
    el("text").textContent = signal.aborted ? "Cancelled." : "";
    show("answer", signal.aborted);
    fail(error);
  } finally {
    running = undefined;
    el("text").classList.remove("growing");
    busy();
  }
}

function showAnswer({ text, alternatives, timings }: TextAnswer): void {
  el("text").textContent = text || "(an empty answer)";
  el("alternatives").replaceChildren(...alternatives.map((other) => {
    const item = document.createElement("li");
    const score = document.createElement("span");
    item.textContent = other.text || "(empty)";
    score.textContent = other.score.toFixed(3);
    item.append(score);
    return item;
  }));
  const { stemMs, encoderMs, decodeMs, steps } = timings;
  const rows = [
    ["Stem, once a picture", milliseconds(stemMs)],
    ["Encoder", milliseconds(encoderMs)],
    ["Decoder", `${milliseconds(decodeMs)}, ${steps} steps, ${milliseconds(decodeMs / Math.max(steps, 1))} each`],
  ];
  el("timings").replaceChildren(...rows.flatMap(([name = "", value = ""]) => {
    const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    detail.textContent = value;
    return [term, detail];
  }));
  show("more", true);
  const item = document.createElement("li");
  const asked = document.createElement("q");
  asked.textContent = task() === "caption" ? "what does the image describe?" : question.value;
  item.append(asked, ` ${text}`);
  el("history").prepend(item);
  show("history-section", true);
}

/** Shows what can be done now. */
function busy(): void {
  show("progress", Boolean(loading));
  show("cancel-load", Boolean(loading));
  show("cancel-run", Boolean(running));
  const asksNothing = task() === "vqa" && !question.value.trim();
  const run = el<HTMLButtonElement>("run");
  run.disabled = !ofa || !picture || Boolean(running) || asksNothing;
  run.textContent = task() === "vqa" ? "Ask" : "Describe";
  const missing = loading ? "The model is loading" : !ofa ? "Load a model first" : !picture ? "Choose a picture first" : asksNothing ? "Type a question first" : "";
  el("hint").textContent = running ? "" : missing;
  el<HTMLButtonElement>("load").disabled = Boolean(loading);
  for (const id of ["question-label", "answers-label"]) show(id, task() === "vqa");
}

// ---- wiring -------------------------------------------------------------------------------------

model.addEventListener("change", modelChosen);
el("model-form").addEventListener("submit", (event) => {
  event.preventDefault();
  void load();
});
el("cancel-load").addEventListener("click", () => loading?.abort());
el("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  void ask();
});
el("ask-form").addEventListener("input", busy);
el("cancel-run").addEventListener("click", () => running?.abort());
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") (running ?? loading)?.abort();
});
choosePictures((chosen) => {
  picture = chosen;
  running?.abort();
  encoded?.image.free().catch(() => undefined);
  encoded = undefined;
  el("history").replaceChildren();
  for (const id of ["history-section", "answer"]) show(id, false);
  clearError();
  busy();
}, fail);
if (address.get("task") === "vqa") el<HTMLInputElement>("ask-form").querySelector<HTMLInputElement>("[value=vqa]")?.click();
busy();
// What the page lists is small or was asked for by the address: it is loaded without another click.
listModels().then(load).catch(fail);
