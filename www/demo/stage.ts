import type { Corners } from "ofa-web";
import { canvasOf, el, make, show } from "./dom";

/** A box on the picture: left, top, right, bottom from 0 to 1, and what is in it. */
export interface Mark {
  place: Corners;
  label: string;
}

/** Sides of the square in the middle that infilling hides. */
const MIDDLE: Corners = [0.25, 0.25, 0.75, 0.75];

/** The picture and what is drawn over it. */
export class Stage {
  readonly frame = el("frame");
  private readonly image = el<HTMLImageElement>("preview");
  private readonly heat = el<HTMLCanvasElement>("heat");
  private readonly over = el("marks");

  show(picture: Blob, name: string): void {
    URL.revokeObjectURL(this.image.src);
    this.image.src = URL.createObjectURL(picture);
    this.image.alt = name;
    show("frame", true);
    this.clear();
  }

  /** Takes away all that an answer drew. */
  clear(): void {
    this.over.replaceChildren();
    this.look(undefined);
  }

  /** Draws boxes; `linked` are the words for each, which light up together with it. */
  boxes(marks: Mark[], linked: HTMLElement[]): void {
    this.clear();
    marks.forEach(({ place, label }, index) => {
      // Names stand above their boxes, within at the top, and grow away from the nearer edge.
      const edges = `${place[0] > 0.6 ? " rightmost" : ""}${place[1] < 0.1 ? " topmost" : ""}`;
      const mark = this.box(place, `mark colour-${index % 6}${edges}`);
      if (label) mark.append(make("span", { textContent: label }));
      const word = linked[index];
      const light = (on: boolean) => [mark, word].forEach((one) => one?.classList.toggle("lit", on));
      for (const one of [mark, word]) {
        one?.addEventListener("pointerenter", () => light(true));
        one?.addEventListener("pointerleave", () => light(document.activeElement === word));
      }
      word?.classList.add(`colour-${index % 6}`);
      word?.addEventListener("focus", () => light(true));
      word?.addEventListener("blur", () => light(false));
      // Safari gives pressed buttons no focus.
      word?.addEventListener("click", () => word.focus());
    });
  }

  /** Shows the square that infilling hides, and what was drawn of it. */
  middle(drawn: ImageData | undefined): void {
    this.clear();
    const square = this.box(MIDDLE, "middle");
    if (!drawn) return;
    const canvas = canvasOf(drawn);
    // What is still missing below stays hidden.
    canvas.style.aspectRatio = `${drawn.width} / ${drawn.height}`;
    square.append(canvas);
  }

  /** Shows where the model looked: a weight for each patch of the grid. */
  look(weights: readonly number[] | undefined, columns = 1): void {
    this.heat.hidden = !weights;
    if (!weights) return;
    const most = Math.max(...weights, Number.MIN_VALUE);
    const image = new ImageData(columns, Math.ceil(weights.length / columns));
    weights.forEach((weight, patch) => image.data.set([255, 90, 0, Math.round((210 * weight) / most)], 4 * patch));
    Object.assign(this.heat, { width: image.width, height: image.height });
    this.heat.getContext("2d")?.putImageData(image, 0, 0);
  }

  /** A box over the picture, hidden from screen readers: the words that go with it tell them. */
  box(place: Corners, className: string): HTMLElement {
    const box = make("div", { className, ariaHidden: "true" });
    put(box, place);
    this.over.append(box);
    return box;
  }
}

/** Moves a box over the picture. */
export function put(box: HTMLElement, [left, top, right, bottom]: Corners): void {
  Object.assign(box.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
}
