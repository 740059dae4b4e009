import { TASK_IMAGES, type TaskName } from "ofa-web";
import { showAnswer } from "./answers";
import { Asking, type Answer } from "./asking";
import { canvasOf, el, make, rest, say, show, tell } from "./dom";
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
const model = new ModelCard(modelChanged);
const pictures = new Pictures(pictureChanged);
const tabs = new Tabs(el("tabs"), el("panel"), PANELS.map(({ id, tab }) => ({ id, label: tab })), panelOpened);

function panel(): Panel {
  return PANELS.find(({ id }) => id === tabs.current) ?? (PANELS[0] as Panel);
}

function modelChanged(): void {
  cancel();
  asking = undefined;
  // What the model before said is not this one's.
  clearAnswer();
}

function pictureChanged(): void {
  const picture = pictures.current;
  if (!picture) return;
  stage.show(picture.blob, picture.name);
  asking?.forget();
  asking = undefined;
  el("history").replaceChildren();
  show("history-section", false);
  for (const id of ["picture-error", "ask-error"]) show(id, false);
  suggest(new Set(picture.questions));
  // What does not look at pictures goes on.
  if (!panel().picture) return update();
  following = Boolean(picture.live && !picture.untouched) && (following || Boolean(last ?? running));
  running?.abort();
  if (!following) return clearAnswer();
  resetStage();
  void ask();
}

/** Questions to begin with, each a button. */
function suggest(questions: ReadonlySet<string>): void {
  el("suggested").replaceChildren(...[...questions].map((text) => {
    const button = make("button", { type: "button", textContent: text });
    button.addEventListener("click", async () => {
      if (!model.ofa) return;
      tabs.select("ask");
      form.write({ task: "vqa", inputs: { text }, options: {} });
      update();
      cancel();
      await ended;
      void ask();
    });
    return button;
  }));
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
  for (const id of ["answer", "look", "words", "share", "ask-error"]) show(id, false);
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
  show("ask-error", false);
  update();
  try {
    await body(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) {
      following = false;
      tell("ask-error", error);
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
    for (const name of ["more", "look", "words", "share", "gallery", "malformed"]) show(name, false);
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
    share(question, model.origin, onPicture ? pictures : undefined);
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
  for (const id of ["run", "look"]) rest(el(id), Boolean(running));
  const suggested = [...el("suggested").children] as HTMLElement[];
  for (const button of suggested) rest(button, !model.ofa);
  show("suggested", suggested.length > 0 && picture);
  el("stage").classList.toggle("unused", !picture);
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
  void restore();
});
tabs.select((PANELS[0] as Panel).id);
void restore();
// What the page lists is small or was asked for by the address: it is loaded without another click.
void model.list().then((any) => (any ? model.load() : undefined));
