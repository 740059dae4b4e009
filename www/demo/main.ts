import { OfaError, TASK_IMAGES, type TaskName } from "ofa-web";
import { showAnswer } from "./answers";
import { Asking, type Answer } from "./asking";
import { canvasOf, el, make, rest, say, show } from "./dom";
import { Form } from "./form";
import { fromHash } from "./link";
import { showAttention } from "./looking";
import { ModelCard, inWords } from "./model";
import { PANELS, panelOf, type Panel, type Question } from "./panels";
import { Pictures } from "./pictures";
import { Region } from "./region";
import { share } from "./sharing";
import { Stage } from "./stage";
import { Tabs } from "./tabs";

let running: AbortController | undefined;
/** When the last piece of work has ended. */
let ended: Promise<void> = Promise.resolve();
let asking: Asking | undefined;
/** Whether the question is asked again of every picture, while somebody moves what is on it. */
let following = false;
/** What was answered last. */
let last: { question: Question; answer: Answer } | undefined;

const stage = new Stage();
const region = new Region(stage);
const form = new Form(region);
const model = new ModelCard(modelChanged, fail);
const pictures = new Pictures(pictureChanged, fail);
const tabs = new Tabs(el("tabs"), el("panel"), PANELS.map(({ id, tab }) => ({ id, label: tab })), panelOpened);

function panel(): Panel {
  return PANELS.find(({ id }) => id === tabs.current) ?? (PANELS[0] as Panel);
}

function fail(error: unknown): void {
  const { code, message } = OfaError.from(error);
  if (code === "aborted") return;
  el("error").textContent = `${message} (${code})`;
  show("error", true);
  // On a phone it is far above the button that was pressed.
  el("error").scrollIntoView({ block: "nearest" });
}

function modelChanged(): void {
  running?.abort();
  asking = undefined;
  update();
}

function pictureChanged(): void {
  const picture = pictures.current;
  if (!picture) return;
  stage.show(picture.blob, picture.name);
  asking?.forget();
  asking = undefined;
  el("history").replaceChildren();
  show("history-section", false);
  show("error", false);
  suggest(picture.questions ?? []);
  // What does not look at pictures goes on.
  if (!panel().picture) return update();
  following = Boolean(picture.live) && (following || Boolean(last ?? running));
  running?.abort();
  if (!following) return clearAnswer();
  resetStage();
  void ask();
}

/** Questions to begin with, each a button. */
function suggest(questions: readonly string[]): void {
  el("suggested").replaceChildren(...questions.map((text) => {
    const button = make("button", { type: "button", textContent: text });
    button.addEventListener("click", async () => {
      tabs.select("ask");
      form.write({ task: "vqa", inputs: { text }, options: {} });
      update();
      cancel();
      await ended;
      void ask();
    });
    return button;
  }));
  show("suggested", questions.length > 0);
}

function cancel(): void {
  following = false;
  running?.abort();
}

function panelOpened(): void {
  cancel();
  form.open(panel());
  clearAnswer();
}

/** Takes the last answer away and shows what the panel needs on the picture. */
function clearAnswer(): void {
  last = undefined;
  for (const id of ["answer", "words", "share"]) show(id, false);
  resetStage();
  update();
}

function resetStage(): void {
  stage.clear();
  region.show();
  if (panel().id === "infill") stage.middle(undefined);
}

/** One piece of work at a time, which Cancel and Escape end. */
function work(body: (signal: AbortSignal) => Promise<void>): Promise<void> {
  return running ? Promise.resolve() : (ended = worked(body));
}

async function worked(body: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = (running = new AbortController());
  show("error", false);
  update();
  try {
    await body(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) {
      following = false;
      fail(error);
    } else if (!following) el("status").textContent = "Cancelled.";
  } finally {
    running = undefined;
    el("text").classList.remove("growing");
    show("growing", false);
    update();
    // The picture changed under it.
    if (following && controller.signal.aborted) void ask();
  }
}

function ask(): Promise<void> {
  return work(async (signal) => {
    const { ofa } = model;
    if (!ofa) return;
    const { picture: onPicture, draws, id } = panel();
    const question = form.read();
    asking ??= new Asking(ofa, pictures.current?.blob);
    last = undefined;
    resetStage();
    // While an answer follows a picture, the one before stands until words of the next one come.
    if (!following) el("text").replaceChildren();
    el("text").classList.add("growing");
    el("status").textContent = "";
    say("");
    show("answer", true);
    for (const name of ["more", "words", "share", "gallery", "malformed"]) show(name, false);
    const answer = await asking.ask(question, TASK_IMAGES[question.task], {
      signal,
      onText: (text) => (el("text").textContent = text),
      onProgress: (progress) => (el("status").textContent = progress.phase === "ready" ? "" : `Image codes: ${inWords(progress)}`),
      onPicture: (image) => {
        el("status").textContent = "Drawing …";
        if (id === "infill") return stage.middle(image);
        el("growing").replaceChildren(canvasOf(image));
        show("growing", true);
      },
    });
    el("status").textContent = "";
    last = { question, answer };
    const said = showAnswer(answer, { stage, useDrawing });
    say(said);
    const asked = question.inputs.text ?? question.inputs.answers?.join(", ") ?? panel().verb.toLowerCase();
    el("history").prepend(make("li", {}, make("q", { textContent: asked }), ` ${said}`));
    show("history-section", true);
    share(question, onPicture ? pictures : undefined);
    show("look", onPicture && !draws);
  });
}

function look(): Promise<void> {
  return work(async (signal) => {
    if (!last || !asking) return;
    const sees = TASK_IMAGES[last.question.task];
    if (sees) showAttention(await asking.attention(last.question, sees, last.answer, signal), stage);
  });
}

function useDrawing(image: ImageData): void {
  canvasOf(image).toBlob((blob) => {
    if (!blob) return;
    void pictures.choose({ blob, name: "drawing", file: "drawing.png" });
    tabs.select("ask");
  });
}

/** Shows what can be done now. */
function update(): void {
  const { picture, verb, about, tasks } = panel();
  const untaught = model.tasks && tasks.every(({ task }) => !model.tasks?.includes(task));
  el("about").textContent = untaught ? `${about} This model was not taught this task.` : about;
  const missing = model.busy ? "The model is loading" : !model.ofa ? "Load a model first" : picture && !pictures.current ? "Choose a picture first" : form.missing() || form.wrong();
  const run = el<HTMLButtonElement>("run");
  run.textContent = verb;
  run.disabled = Boolean(missing);
  for (const id of ["run", "look"]) rest(id, Boolean(running));
  el("hint").textContent = running ? "" : missing;
  const outside = picture && pictures.current && !pictures.current.ofScenes ? model.world : undefined;
  el("world-note").textContent = outside ?? "";
  show("world-note", Boolean(outside));
  show("example", !running && form.missing() !== "");
  show("cancel-run", Boolean(running));
}

/** Opens what a link asks for. */
async function restore(): Promise<void> {
  const linked = fromHash(location.hash);
  await pictures.restore(linked?.picture);
  if (!linked) return;
  tabs.select(panelOf(linked.question.task as TaskName)?.id ?? "");
  form.write(linked.question);
  update();
}

el("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  void ask();
});
el("ask-form").addEventListener("input", update);
el("example").addEventListener("click", () => {
  form.useExamples();
  el("run").focus();
});
el("look").addEventListener("click", () => void look());
el("cancel-run").addEventListener("click", () => {
  cancel();
  el("run").focus();
});
document.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape") return;
  if (running) cancel();
  else model.cancel();
});
addEventListener("hashchange", () => {
  restore().catch(fail);
});
tabs.select((PANELS[0] as Panel).id);
restore().catch(fail);
// What the page lists is small or was asked for by the address: it is loaded without another click.
model.list().then(() => model.load()).catch(fail);
