import type { Corners } from "ofa-web";
import { make, percent } from "./dom";
import { put, type Stage } from "./stage";

const SIDES = ["Left", "Top", "Right", "Bottom"];
/** The narrowest region, so that there is something in it. */
const LEAST = 0.02;
const WHOLE: Corners = [0.25, 0.25, 0.75, 0.75];

/** A region of the picture, dragged over it or moved side by side with sliders. */
export class Region {
  private corners = WHOLE;
  private box: HTMLElement | undefined;
  private sliders: HTMLInputElement[] = [];
  private active = false;

  constructor(private readonly stage: Stage) {
    const { frame } = stage;
    let start: [number, number] | undefined;
    const at = ({ clientX, clientY }: PointerEvent): [number, number] => {
      const { left, top, width, height } = frame.getBoundingClientRect();
      const inside = (value: number) => Math.min(1, Math.max(0, value));
      return [inside((clientX - left) / width), inside((clientY - top) / height)];
    };
    frame.addEventListener("pointerdown", (event) => {
      if (!this.active || event.button !== 0) return;
      event.preventDefault();
      frame.setPointerCapture(event.pointerId);
      start = at(event);
    });
    frame.addEventListener("pointermove", (event) => {
      if (!start) return;
      const [[x0, y0], [x1, y1]] = [start, at(event)];
      this.set([Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)]);
    });
    for (const end of ["pointerup", "pointercancel"] as const) frame.addEventListener(end, () => (start = undefined));
  }

  get value(): Corners {
    return this.corners;
  }

  set([left, top, right, bottom]: Corners): void {
    const apart = (low: number, high: number): [number, number] => {
      const start = Math.min(low, 1 - LEAST);
      return [start, Math.max(high, start + LEAST)];
    };
    const [[x0, x1], [y0, y1]] = [apart(left, right), apart(top, bottom)];
    this.corners = [x0, y0, x1, y1].map((side) => Math.round(side * 1000) / 1000) as Corners;
    if (this.box) put(this.box, this.corners);
    this.corners.forEach((side, index) => {
      const slider = this.sliders[index];
      if (slider) Object.assign(slider, { valueAsNumber: side, ariaValueText: percent(side) });
    });
  }

  /** Shows the region and its sliders in `place`, or, without one, hides it. */
  use(place: HTMLElement | undefined): void {
    this.active = place !== undefined;
    this.stage.frame.classList.toggle("dragging", this.active);
    this.box = undefined;
    this.sliders = [];
    if (!place) return;
    this.show();
    this.sliders = SIDES.map((side, index) => {
      const slider = make("input", { type: "range", min: "0", max: "1", step: "0.01" });
      slider.addEventListener("input", () => {
        const corners: Corners = [...this.corners];
        corners[index] = slider.valueAsNumber;
        this.set(corners);
      });
      place.append(make("label", {}, side, slider));
      return slider;
    });
    this.set(this.corners);
  }

  /** Draws the box again, after another picture took its place. */
  show(): void {
    if (!this.active) return;
    this.stage.clear();
    this.box = this.stage.box(this.corners, "region");
  }
}
