// Answers as a person reads them, linked to the picture.
import type { BoxesAnswer, Corners, DrawingsAnswer, LabelsAnswer, ObjectsAnswer, TextAnswer } from "ofa-web";
import type { Answer } from "./asking";
import { canvasOf, el, make, milliseconds, percent, show } from "./dom";
import type { Stage } from "./stage";

/** Where an answer leads to. */
export interface Shown {
  stage: Stage;
  /** A drawing becomes the picture to ask about. */
  useDrawing: (image: ImageData) => void;
}

/** Shows an answer, and says it in one line. */
export function showAnswer(answer: Answer, shown: Shown): string {
  const line = el("text");
  const more = el("alternatives");
  more.replaceChildren();
  show("gallery", false);
  const malformed = "malformed" in answer ? answer.malformed : undefined;
  el("malformed").textContent = malformed ? `Not all of the answer could be read: ${malformed}.` : "";
  show("malformed", Boolean(malformed));
  const nodes = nodesOf(answer, more, shown);
  line.replaceChildren(...nodes);
  showTimings(answer);
  show("more", true);
  return line.textContent ?? "";
}

function nodesOf(answer: Answer, more: HTMLElement, shown: Shown): (Node | string)[] {
  switch (answer.kind) {
    case "text":
      return text(answer, more);
    case "labels":
      return labels(answer, more);
    case "boxes":
      return boxes(answer, more, shown.stage);
    case "objects":
      return objects(answer, more, shown.stage);
    case "codes":
      return drawings(answer as DrawingsAnswer, shown);
  }
}

function text({ text, alternatives }: TextAnswer, more: HTMLElement): (Node | string)[] {
  more.append(...alternatives.map((other) => make("li", {}, other.text || "(empty)", make("span", { textContent: other.score.toFixed(3) }))));
  return [text || "(an empty answer)"];
}

function labels({ label, probability, alternatives }: LabelsAnswer, more: HTMLElement): (Node | string)[] {
  more.append(...alternatives.map((other) => {
    const bar = make("meter", { max: 1, value: other.probability, ariaLabel: `Probability of ${other.label}` });
    return make("li", {}, other.label, bar, make("span", { textContent: percent(other.probability) }));
  }));
  return [label || "(no answer)", make("small", { textContent: ` ${percent(probability)}` })];
}

/** A word that lights up together with its box, reached with Tab. */
function linked(label: string): HTMLButtonElement {
  return make("button", { type: "button", className: "linked", textContent: label });
}

function whereabouts([left, top, right, bottom]: Corners): string {
  return `from ${percent(left)} to ${percent(right)} across, ${percent(top)} to ${percent(bottom)} down`;
}

function boxes({ phrase, boxes }: BoxesAnswer, more: HTMLElement, stage: Stage): (Node | string)[] {
  const [best] = boxes;
  if (!best) return [`no place for “${phrase}”`];
  const word = linked(phrase);
  stage.boxes([{ place: best.normalized, label: phrase }], [word]);
  more.append(...boxes.map((other) => make("li", {}, whereabouts(other.normalized), make("span", { textContent: other.score.toFixed(3) }))));
  return [word, ` ${whereabouts(best.normalized)}`];
}

function objects({ objects }: ObjectsAnswer, more: HTMLElement, stage: Stage): (Node | string)[] {
  if (!objects.length) return ["no objects"];
  const words = objects.map(({ label }) => linked(label));
  stage.boxes(objects.map(({ label, normalized }) => ({ place: normalized, label })), words);
  more.append(...objects.map(({ label, normalized }) => make("li", {}, `${label}, ${whereabouts(normalized)}`)));
  return words.flatMap((word, index) => (index ? [", ", word] : [word]));
}

function drawings({ drawings }: DrawingsAnswer, { stage, useDrawing }: Shown): (Node | string)[] {
  show("growing", false);
  if (!drawings.length) return ["nothing was drawn"];
  const inPlace = stage.frame.querySelector(".middle") !== null;
  if (inPlace) stage.middle(drawings[0]?.image);
  el("gallery").replaceChildren(...drawings.map(({ image, fit, score }, index) => {
    const canvas = canvasOf(image);
    canvas.role = "img";
    canvas.ariaLabel = `Drawing ${index + 1} of ${drawings.length}`;
    const use = make("button", { type: "button", textContent: "Ask about it" });
    use.addEventListener("click", () => useDrawing(image));
    const note = fit === undefined ? `score ${score.toFixed(2)}` : `fits ${percent(fit)}`;
    return make("figure", {}, canvas, make("figcaption", {}, make("span", { textContent: note }), use));
  }));
  show("gallery", true);
  return [drawings.length === 1 ? "one drawing" : `${drawings.length} drawings, the best first`];
}

function showTimings({ timings: { stemMs, encoderMs, decodeMs, steps } }: Answer): void {
  const rows = [
    ...(stemMs > 0 ? [["Stem, once a picture", milliseconds(stemMs)]] : []),
    ["Encoder", milliseconds(encoderMs)],
    ["Decoder", `${milliseconds(decodeMs)}, ${steps} ${steps === 1 ? "step" : "steps"}, ${milliseconds(decodeMs / Math.max(steps, 1))} each`],
  ];
  el("timings").replaceChildren(...rows.flatMap(([name = "", value = ""]) => [
    make("dt", { textContent: name }), make("dd", { textContent: value }),
  ]));
}
