import { OfaError } from "ofa-web";

/** The element with this id; the page and this script belong together. */
export function el<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

/** A new element with these properties and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function show(id: string, visible: boolean): void {
  el(id).hidden = !visible;
}

/** Tells what failed, beside what it is about, until that is tried again. Work that somebody ended did not fail. */
export function tell(place: "error" | "picture-error" | "ask-error", error: unknown): void {
  const { code, message } = OfaError.from(error);
  if (code === "aborted") return;
  el(place).textContent = `${message} (${code})${navigator.onLine ? "" : ". There is no network now"}`;
  show(place, true);
  el(place).scrollIntoView({ block: "nearest" });
}

/** Says that a button does nothing now. One that is disabled would lose the focus of whoever pressed it. */
export function rest(button: HTMLElement, resting: boolean): void {
  button.ariaDisabled = String(resting);
}

/** Has screen readers say a line. */
export function say(line: string): void {
  el("said").textContent = line;
}

export function bytes(count: number): string {
  return count < 1e6 ? `${Math.round(count / 1e3)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

export function milliseconds(time: number): string {
  if (time >= 1000) return `${(time / 1000).toFixed(1)} s`;
  return `${time.toFixed(time < 10 ? 1 : 0)} ms`;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(share > 0 && share < 0.01 ? 1 : 0)} %`;
}

/** A canvas that shows an image pixel by pixel. */
export function canvasOf(image: ImageData): HTMLCanvasElement {
  const canvas = make("canvas", { width: image.width, height: image.height });
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return canvas;
}
