import { make, milliseconds } from "./dom";

/** A stretch of time; `note` says what it consists of. */
export interface Stretch {
  name: string;
  time: number;
  note?: string;
}

/** What follows one another, as a bar whose parts are as long as they take, and each part in words. */
export function timeline(title: string, stretches: Stretch[]): HTMLElement {
  const total = stretches.reduce((sum, { time }) => sum + time, 0);
  // The list says the same.
  const track = make("div", { className: "track", ariaHidden: "true" });
  const parts = make("ul");
  stretches.forEach(({ name, time, note }, at) => {
    // With a coarse clock all may take no time.
    const share = (100 * time) / Math.max(total, Number.MIN_VALUE);
    const [stretch, swatch] = [make("i", { title: name }), make("i")];
    stretch.style.flexGrow = String(share);
    for (const coloured of [stretch, swatch]) coloured.dataset.hue = String(at + 1);
    const part = make("li", {}, swatch, `${name} `, make("b", {}, milliseconds(time)), ` ${share.toFixed(0)} %`);
    if (note) part.append(make("small", {}, note));
    track.append(stretch);
    parts.append(part);
  });
  return make("figure", { className: "timeline" }, make("figcaption", {}, `${title}: ${milliseconds(total)}`), track, parts);
}
